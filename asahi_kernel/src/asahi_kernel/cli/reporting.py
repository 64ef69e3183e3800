"""`asahi report` and `asahi metrics`: what the API tells, as tables, from storage without a running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load

if TYPE_CHECKING:
    from asahi_kernel.reports import Told
    from asahi_kernel.settings import Settings

_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 40
_POINTS = 60
org_option = click.option("--org", default="default", show_default=True, help="The organisation; '*' for all of them.")


@click.command()
@click.argument("name", required=False)
@click.argument("parameters", nargs=-1, metavar="[PARAMETER=VALUE]...")
@config_option
@org_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def report(
    name: str | None, parameters: tuple[str, ...], config: Path | None, org: str, as_json: bool, as_csv: bool
) -> None:
    """Print a report, as `asahi report trends metric=latency period=hour`; without a NAME, list them all."""
    import msgspec

    from asahi_kernel import csvtext
    from asahi_kernel.reports import Scope, wrapped

    if name is None:
        listed()
        return
    told = asyncio.run(_told(load(config), name, org, _pairs(parameters)))
    if as_json:
        click.echo(msgspec.json.encode(wrapped(told, Scope(org))))
    elif as_csv:
        click.echo(csvtext.table(told.table), nl=False)
    else:
        click.echo(f"{name} of {org}, {told.start:%Y-%m-%d %H:%M} to {told.end:%Y-%m-%d %H:%M} UTC")
        click.echo(shown(told.table) if told.table else "there is nothing yet")


@click.command()
@config_option
@click.option("--org", default="default", show_default=True, help="The organisation.")
@click.option("--period", default="month", show_default=True, help="hour, day, week, month or all.")
@json_option
def metrics(config: Path | None, org: str, period: str, as_json: bool) -> None:
    """Print an org's totals, as `GET /metrics` tells them."""
    import msgspec

    told = asyncio.run(_metrics(load(config), org, period))
    if as_json:
        click.echo(msgspec.json.encode(told))
        return
    width = max(map(len, told))
    for name, value in told.items():
        inner = ", ".join(f"{key} {_cell(each)}" for key, each in value.items()) if isinstance(value, dict) else None
        click.echo(f"{name:<{width}}  {_cell(value) if inner is None else inner or '-'}")


def listed() -> None:
    """Every report with the first sentence of what it tells."""
    from asahi_kernel.plugins import load_plugins

    for name, each in sorted(load_plugins().reports().items()):
        sentence = " ".join((each.run.__doc__ or "").split()).split(". ")[0].rstrip(".")
        click.echo(f"{name:<22}{sentence}")
        click.echo(f"{'':<22}{', '.join(each.params.__struct_encode_fields__)}")


def shown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table. Under a series over time stands each column's course as a sparkline."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[at]) for line in cells)) for at, name in enumerate(names)]
    numeric = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    lines = [_line(names, widths, numeric), _line(["-" * width for width in widths], widths, numeric)]
    lines += [_line(line, widths, numeric) for line in cells]
    if {"timestamp", "date"} & set(names) and "request_id" not in names and len(rows) > 2:
        lines.append("")
        for name, number in zip(names, numeric, strict=True):
            if number and not any(isinstance(row.get(name), bool) for row in rows):
                lines.append(f"{name:<20}{sparkline([row.get(name) for row in rows])}")
    return "\n".join(lines)


def sparkline(values: Sequence[float | None]) -> str:
    """One bar for each value, from the lowest to the highest; a blank where there is none. The last sixty are shown."""
    last = values[-_POINTS:]
    known = [value for value in last if value is not None]
    if not known:
        return ""
    low, span = min(known), (max(known) - min(known)) or 1.0
    return "".join(" " if value is None else _BARS[int((value - low) / span * (len(_BARS) - 1))] for value in last)


async def _told(settings: Settings, name: str, org: str, query: Mapping[str, str]) -> Told:
    from asahi_kernel.config import near
    from asahi_kernel.errors import Invalid
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.plugins import load_plugins
    from asahi_kernel.reports import Scope, ask, reading

    plugins = load_plugins()
    reports = plugins.reports()
    if name not in reports:
        raise Invalid(f"there is no report {name!r}. {near(name, reports)}There are: {', '.join(sorted(reports))}")
    async with reading(Gateway(settings), plugins) as gateway:
        return await ask(gateway, reports[name], Scope(org), query)


async def _metrics(settings: Settings, org: str, period: str) -> dict[str, Any]:
    from asahi_kernel.api.metrics import since_of, tell
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.plugins import load_plugins
    from asahi_kernel.reports import reading

    since = since_of(period)
    async with reading(Gateway(settings), load_plugins()) as gateway:
        told = tell(gateway, await gateway.storage.events.totals(org, since), None)
    return {name: value for name, value in told.items() if name not in {"uptime_seconds", "cache_size"}}


def _pairs(parameters: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in parameters:
        name, equals, value = each.partition("=")
        if not equals or name in found:
            raise click.UsageError(f"parameters are written NAME=VALUE, each once: {each!r}")
        found[name] = value
    return found


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    placed = zip(cells, widths, numeric, strict=True)
    return "  ".join(cell.rjust(width) if number else cell.ljust(width) for cell, width, number in placed).rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:,.2f}"
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
