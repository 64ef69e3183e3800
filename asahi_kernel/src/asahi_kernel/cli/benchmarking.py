"""`asahi benchmark`."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load, mock_option, source
from asahi_kernel.cli.telling import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asahi_kernel.benchmark.report import Report
    from asahi_kernel.benchmark.running import Plan
    from asahi_kernel.benchmark.workload import Case
    from asahi_kernel.settings import Settings

_file = click.Path(dir_okay=False, path_type=Path)
_readable = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@config_option
@click.option("--trace", type=_readable, help="JSON lines of /infer or chat bodies; else the built-in workload.")
@click.option("--dataset", type=_readable, help="JSON lines of questions with known truth, see above.")
@click.option("--requests", type=click.IntRange(1), help="Replay only the first N.")
@click.option(
    "--concurrency", type=click.IntRange(1, 1_000), help="Requests under way; 1 without a paid provider, else 8."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Order of the workload, and of resampling.")
@click.option("--semantic", is_flag=True, help="With the semantic tier, also where it is not configured.")
@click.option("--tier", type=click.IntRange(0, 3), help="Only the caches up to 1 exact, 2 semantic, 3 intermediate.")
@click.option(
    "--max-false-rate",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="The share of a learning tier's hits that may be false.",
)
@click.option("--report", type=_file, help="Also write the JSON report to this file.")
@click.option("--html", type=_file, help="Also write the report as a page, in one file that needs no network.")
@click.option("--yes", is_flag=True, help="Spend real money without asking.")
@mock_option
@json_option
@click.pass_context
def benchmark(context: click.Context, /, config: Path | None, mock: bool, as_json: bool, **asked: Any) -> None:
    """Replay a workload with and without Asahi, and print both bills.

    A line of a --dataset is a body of /infer or a chat body, or has `text` in place of `prompt`; with it stands what
    is known of the answer: `group` or `intent` (questions of one group may have one answer), or the `answer` itself;
    and, if you like, `id`, `type` and `expected_output_length`. Or it is a pair: `text_a`, `text_b`, and `label`, 1
    where both ask the same.

    Exit code 1 means a false hit of the exact tier, false hits of another one whose 95 % interval lies above
    --max-false-rate, books that do not agree, or nothing to compare.
    """
    import msgspec

    from asahi_kernel.benchmark.dataset import BadDataSet
    from asahi_kernel.benchmark.page import page
    from asahi_kernel.benchmark.recording import BadTrace
    from asahi_kernel.benchmark.table import render

    _check(asked)
    settings = load(config, mock=mock)
    try:
        found = _replay(settings, asked, again(context))
    except BadDataSet as error:
        raise click.BadParameter(error.message, param_hint="'--dataset'") from None
    except BadTrace as error:
        hint = "'--dataset'" if asked["dataset"] else "'--trace'"
        raise click.BadParameter(error.message, param_hint=hint) from None
    encoded = msgspec.json.format(msgspec.json.encode(found), indent=2)
    click.echo(encoded if as_json else render(found))
    if asked["report"] is not None:
        asked["report"].write_bytes(encoded + b"\n")
    if asked["html"] is not None:
        asked["html"].write_text(page(found), "utf-8")
    sys.exit(0 if found.good else 1)


def again(context: click.Context) -> str:
    """The command line that does this once more, as a shell would read it."""
    words = ["asahi", "benchmark"]
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        words.append(parameter.opts[0])
        if not (isinstance(parameter, click.Option) and parameter.is_flag):
            words.append(str(context.params[name]))
    return shlex.join(words)


def _check(asked: dict[str, Any]) -> None:
    """What would only fail after the run."""
    if asked["trace"] and asked["dataset"]:
        raise click.UsageError("--trace and --dataset are two workloads; replay one at a time")
    for name in ("report", "html"):
        target: Path | None = asked[name]
        if target is not None and not target.parent.is_dir():
            raise click.BadParameter(f"there is no folder {str(target.parent)!r}", param_hint=f"'--{name}'")


def _replay(settings: Settings, asked: dict[str, Any], command: str) -> Report:
    from asahi_kernel.benchmark.contestants import is_mock
    from asahi_kernel.benchmark.limiting import limit, with_semantic
    from asahi_kernel.benchmark.running import Plan, run
    from asahi_kernel.plugins import load_plugins

    mock, plugins = is_mock(settings), load_plugins()
    if asked["semantic"]:
        settings = with_semantic(settings, plugins)
    if asked["tier"] is not None:
        settings = limit(settings, plugins, asked["tier"])
    cases, remarks = _workload(asked)
    file = asked["dataset"] or asked["trace"]
    plan = Plan(
        settings=settings,
        plugins=plugins,
        cases=cases[: asked["requests"]],
        source=file.name if file else "built-in workload",
        built_in=file is None,
        bound=asked["max_false_rate"],
        remarks=remarks,
        seed=asked["seed"],
        concurrency=asked["concurrency"] or (1 if mock else 8),
        configured=source(),
        command=command,
    )
    if not mock and not asked["yes"]:
        _consent(plan)
    with Progress(2 * len(plan.cases), "replaying") as progress:
        return asyncio.run(run(plan, progress.tick))


def _workload(asked: dict[str, Any]) -> tuple[Sequence[Case], tuple[str, ...]]:
    """The requests, and what must be said of them."""
    from asahi_kernel.benchmark import dataset, recording
    from asahi_kernel.benchmark.workload import built_in

    if asked["dataset"]:
        found = dataset.read(asked["dataset"], asked["seed"])
        return found.cases, found.notes
    return (recording.read(asked["trace"]) if asked["trace"] else built_in(asked["seed"])), ()


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
