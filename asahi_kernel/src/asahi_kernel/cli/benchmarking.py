"""`asahi benchmark`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load, mock_option

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Report
    from asahi_kernel.benchmark.running import Plan
    from asahi_kernel.settings import Settings

_file = click.Path(dir_okay=False, path_type=Path)
_readable = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@config_option
@click.option("--trace", type=_readable, help="JSON lines of /infer or chat bodies; else the built-in workload.")
@click.option("--requests", type=click.IntRange(1), help="Replay only the first N.")
@click.option(
    "--concurrency", type=click.IntRange(1, 1_000), help="Requests under way; 1 without a paid provider, else 8."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Order of the workload, and of resampling.")
@click.option("--report", type=_file, help="Also write the JSON report to this file.")
@click.option("--yes", is_flag=True, help="Spend real money without asking.")
@mock_option
@json_option
def benchmark(config: Path | None, mock: bool, as_json: bool, **asked: Any) -> None:
    """Replay a workload with and without Asahi, and print both bills.

    Exit code 1 means a false hit, books that do not agree, or nothing to compare.
    """
    import msgspec

    from asahi_kernel.benchmark.recording import BadTrace
    from asahi_kernel.benchmark.table import render

    target: Path | None = asked["report"]
    if target is not None and not target.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(target.parent)!r}", param_hint="'--report'")
    try:
        found = _replay(load(config, mock=mock), asked)
    except BadTrace as error:
        raise click.BadParameter(error.message, param_hint="'--trace'") from None
    encoded = msgspec.json.format(msgspec.json.encode(found), indent=2)
    click.echo(encoded if as_json else render(found))
    if target is not None:
        target.write_bytes(encoded + b"\n")
    sys.exit(0 if found.good else 1)


def _replay(settings: Settings, asked: dict[str, Any]) -> Report:
    from asahi_kernel.benchmark.contestants import is_mock
    from asahi_kernel.benchmark.recording import read
    from asahi_kernel.benchmark.running import Plan, run
    from asahi_kernel.benchmark.workload import built_in
    from asahi_kernel.plugins import load_plugins

    trace, mock = asked["trace"], is_mock(settings)
    cases = read(trace) if trace else built_in(asked["seed"])
    plan = Plan(
        settings=settings,
        plugins=load_plugins(),
        cases=cases[: asked["requests"]],
        source=trace.name if trace else "built-in workload",
        seed=asked["seed"],
        concurrency=asked["concurrency"] or (1 if mock else 8),
    )
    if not mock and not asked["yes"]:
        _consent(plan)
    with _Progress(2 * len(plan.cases)) as progress:
        return asyncio.run(run(plan, progress.tick))


def _consent(plan: Plan) -> None:
    """Tell the cost of the run and ask; anything but yes aborts."""
    from asahi_kernel.benchmark.estimating import estimate
    from asahi_kernel.money import plain

    found = asyncio.run(estimate(plan))
    told = (
        f"This run sends up to {found.requests:,} paid requests to your providers. Expected cost: "
        f"${plain(found.expected)}; with the longest answers allowed: ${plain(found.most)}."
    )
    if found.unpriced:
        told += f" The price of {found.unpriced:,} of them is unknown and comes on top."
    click.echo(f"{told}\nWith --mock nothing is paid; --yes skips the question.", err=True)
    click.confirm("Spend it?", abort=True, err=True)


class _Progress:
    """A bar on the terminal's standard error, once the run has taken a second; nothing anywhere else."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._start = time.monotonic() + 1.0
        self._bar: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def tick(self) -> None:
        self._done += 1
        if self._bar is not None:
            self._bar.update(1)
        elif sys.stderr.isatty() and time.monotonic() > self._start:
            self._bar = click.progressbar(length=self._steps, label="replaying", file=sys.stderr)
            self._bar.update(self._done)
