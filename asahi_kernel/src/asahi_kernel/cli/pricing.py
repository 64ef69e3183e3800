"""`asahi prices`: what the registered models cost, and what changed since an earlier list."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load, mock_option

if TYPE_CHECKING:
    from asahi_kernel.settings import Settings

_COLUMNS = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")


@click.group()
def prices() -> None:
    """Prices in dollars per million tokens, with where they come from."""


@prices.command("list")
@config_option
@mock_option
@json_option
def listed(config: Path | None, mock: bool, as_json: bool) -> None:
    """List the price of every registered model."""
    rows = asyncio.run(_rows(load(config, mock=mock)))
    click.echo(json.dumps(rows, indent=2) if as_json else _table(rows))


@prices.command()
@click.argument("earlier", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
@mock_option
@json_option
def diff(earlier: Path, config: Path | None, mock: bool, as_json: bool) -> None:
    """Compare today's prices with EARLIER, the output of `asahi prices list --json`. Exit code 1 if any differ."""
    try:
        before = {row["model"]: row for row in json.loads(earlier.read_text("utf-8"))}
    except (ValueError, TypeError, KeyError) as error:
        raise click.BadParameter(f"{earlier} is not the output of `asahi prices list --json`: {error}") from error
    changes = _changes(before, {row["model"]: row for row in asyncio.run(_rows(load(config, mock=mock)))})
    if as_json:
        click.echo(json.dumps(changes, indent=2))
    else:
        click.echo("\n".join(map(_sentence, changes)) or "no price has changed")
    sys.exit(1 if changes else 0)


async def _rows(settings: Settings) -> list[dict[str, Any]]:
    from asahi_kernel.gateway import Gateway, running
    from asahi_kernel.plugins import load_plugins

    async with running(Gateway(settings), load_plugins()) as gateway:
        return [_row(model) for model in gateway.registry.models]


def _row(model: Any) -> dict[str, Any]:
    from asahi_kernel.money import dollars_per_million

    found = {name: getattr(model.prices, name, None) for name in _COLUMNS}
    return {
        "model": model.name,
        "provider": model.provider,
        **{name: None if price is None else dollars_per_million(price) for name, price in found.items()},
        "tiers": [start for start, _ in model.prices.tiers] if model.prices else [],
        "source": model.price_source,
        "price_version": model.price_version,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'model':<28}{'in':>9}{'out':>9}{'read':>9}{'write':>9}{'write 1h':>9}  source"]
    for row in rows:
        shown = [
            ("unknown" if name in _COLUMNS[:2] else "-") if row[name] is None else f"{row[name]:g}" for name in _COLUMNS
        ]
        tiers = f", other prices above {row['tiers'][0]:,} input tokens" if row["tiers"] else ""
        lines.append(f"{row['model']:<28}" + "".join(f"{each:>9}" for each in shown[:5]) + f"  {row['source']}{tiers}")
    return "\n".join(lines)


def _shown(price: float | None, without: str) -> str:
    return without if price is None else f"{price:g}"


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    changes = []
    for model in sorted(before.keys() | after.keys()):
        for name in _COLUMNS:
            old, new = (side.get(model, {}).get(name) for side in (before, after))
            if old != new:
                changes.append({"model": model, "class": name, "before": old, "after": new})
    return changes


def _sentence(change: dict[str, Any]) -> str:
    old, new = change["before"], change["after"]
    shown = [("unknown" if price is None else f"${price:g}") for price in (old, new)]
    percent = f" ({100 * (new - old) / old:+.1f} %)" if old and new is not None else ""
    return f"{change['model']}: {change['class']} {shown[0]} -> {shown[1]} per million tokens{percent}"
