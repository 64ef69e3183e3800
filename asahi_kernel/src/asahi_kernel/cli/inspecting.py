"""Commands that look without serving: `plugins`, `check`, `schema`, `models`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load, mock_option

if TYPE_CHECKING:
    from asahi_kernel.settings import Settings


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """List the installed plugins, what they register, and what is wrong with the broken ones."""
    import msgspec

    from asahi_kernel.plugins import load_plugins

    found = load_plugins(tolerant=True)
    sound = {label: found.registered(name) for name, label in found.labels.items()}
    if as_json:
        click.echo(msgspec.json.encode({"plugins": sound, "broken": found.broken}))
    else:
        for label, registered in sound.items():
            click.echo(label)
            for kind, names in registered.items():
                click.echo(f"    {kind}: {', '.join(names) or 'yes'}")
        for label, error in found.broken.items():
            click.echo(f"{label}\n    BROKEN: {error}")
    sys.exit(1 if found.broken else 0)


@click.command()
@config_option
@mock_option
def check(config: Path | None, mock: bool) -> None:
    """Validate the configuration: opens every backend, but no server socket."""
    settings = load(config, mock=mock)
    found = asyncio.run(_opened(settings))
    click.echo(f"the configuration is good: {found}")


async def _opened(settings: Settings) -> str:
    from asahi_kernel.gateway import Gateway, running
    from asahi_kernel.plugins import load_plugins

    async with running(Gateway(settings), load_plugins()) as gateway:
        counts = {"providers": gateway.upstreams, "cache tiers": gateway.tiers, "rules": gateway.rules}
        told = ", ".join(f"{kind} {'/'.join(names) or 'none'}" for kind, names in counts.items())
        return f"{settings.profile} profile, {len(gateway.registry.models)} models, {told}"


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration with all installed plugins."""
    import msgspec

    from asahi_kernel.plugins import KINDS, load_plugins
    from asahi_kernel.settings import Settings

    def hook(kind: type) -> dict[str, Any]:
        return {"type": "string", "format": "password"}

    found = load_plugins()
    tables = {kind: _tables(found.catalogue(kind), hook) for kind in KINDS}
    kernel = msgspec.json.schema(Settings, schema_hook=hook)
    click.echo(msgspec.json.format(msgspec.json.encode(kernel | {"x-plugins": tables}), indent=2))


def _tables(factories: dict[str, Any], hook: Any) -> dict[str, Any]:
    import msgspec

    return {name: msgspec.json.schema(factory.config, schema_hook=hook) for name, factory in factories.items()}


@click.command()
@config_option
@mock_option
@json_option
def models(config: Path | None, mock: bool, as_json: bool) -> None:
    """List the registered models with their prices."""
    asyncio.run(_models(load(config, mock=mock), as_json))


async def _models(settings: Settings, as_json: bool) -> None:
    import msgspec

    from asahi_kernel.api.models import profile
    from asahi_kernel.gateway import Gateway, running
    from asahi_kernel.plugins import load_plugins

    async with running(Gateway(settings), load_plugins()) as gateway:
        rows = [profile(gateway, model) for model in gateway.registry.models]
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    click.echo(f"{'model':<24}{'provider':<12}{'in $/1k':>10}{'out $/1k':>10}{'quality':>9}{'ms':>7}{'context':>10}")
    for row in rows:
        prices = (row["cost_per_1k_input_tokens"], row["cost_per_1k_output_tokens"])
        cost_in, cost_out = ("unknown" if price is None else f"{price:.5g}" for price in prices)
        click.echo(
            f"{row['name']:<24}{row['provider']:<12}{cost_in:>10}{cost_out:>10}{row['quality_score']:>9.2f}"
            f"{row['avg_latency_ms']:>7.0f}{row['max_input_tokens']:>10}"
        )
