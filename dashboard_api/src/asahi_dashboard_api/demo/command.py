"""`asahi demo`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import json_option

if TYPE_CHECKING:
    from asahi_dashboard_api.demo.folder import Folder, Mark
    from asahi_dashboard_api.demo.living import Lived

DEFAULT = Path("data/demo")
#: Variables that would lay something else over the folder's own configuration.
_FOREIGN = ("ASAHI_", "DATABASE_URL", "REDIS_URL", "PORT", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "COHERE_API_KEY")


@click.command()
@click.option("--days", type=click.IntRange(1, 90), default=30, show_default=True, help="How long the month is.")
@click.option("--requests", type=click.IntRange(100, 200_000), default=20_000, show_default=True, help="In all of it.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed makes another month.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT,
    show_default=True,
    help="The demonstration's own data; a folder with other data is refused.",
)
@click.option("--semantic", is_flag=True, help="With the semantic cache tier, which is off by default.")
@click.option("--again", is_flag=True, help="Make it anew in place of the one that is there.")
@click.option("--serve", is_flag=True, help="Show it on the dashboard; it is made first where there is none.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Where --serve listens.")
@json_option
def demo(folder: Path, serve: bool, port: int, as_json: bool, again: bool, semantic: bool, **asked: Any) -> None:
    """Fill a folder of its own with a month of an invented company's traffic, to see what the dashboard shows.

    Every request goes through the real pipeline: keys, policies, caches, routing, ledger and audit log. Only the vendor
    is not real: the mock provider answers, at reference prices, and nothing is paid. All of it says so.
    """
    from asahi_dashboard_api.demo.folder import Folder, new_mark

    for name in [each for each in os.environ if each.startswith(_FOREIGN) and each != "ASAHI_PLUGINS"]:
        del os.environ[name]
    place = Folder(folder)
    known = place.mark
    if again or not serve or known is None or not known.complete:
        mark = new_mark(asked["days"], asked["requests"], asked["seed"])
        place.begin(mark, again=again, semantic=semantic)
        lived = _live(place, mark)
        place.end(mark, lived.admin_key)
        click.echo(_json(place, lived) if as_json else _words(place, lived))
    if serve:
        sys.exit(_serve(place, port))


def _live(place: Folder, mark: Mark) -> Lived:
    import logging

    from asahi_dashboard_api.demo.living import live
    from asahi_kernel.cli.telling import Progress
    from asahi_kernel.serving import settle_memory

    # What goes wrong in the month is on the dashboard: here it would only look as if the command had failed.
    logging.getLogger("asahi").setLevel(logging.ERROR)
    logging.getLogger("asahi_kernel").setLevel(logging.ERROR)
    settle_memory()
    with place.hurried() as settings, Progress(mark.requests, f"living through {mark.days} days") as progress:
        return asyncio.run(live(settings, mark, progress.tick))


def _serve(place: Folder, port: int) -> int:
    import json

    from asahi_kernel import serving

    os.environ["ASAHI_CONFIG"] = str(place.config)
    os.environ[serving.OVERRIDES] = json.dumps({"api.port": port})
    click.echo(f"Demonstration data: every answer is the mock provider's. Log in with {place.admin_key()}", err=True)
    return serving.serve(serving.settings())


def _json(place: Folder, lived: Lived) -> bytes:
    import msgspec

    told = msgspec.to_builtins(lived) | {"folder": str(place.path), "config": str(place.config), "mock": True}
    return msgspec.json.encode(told)


def _words(place: Folder, lived: Lived) -> str:
    from asahi_kernel.money import plain

    answers = ", ".join(f"{count:,} {kind}" for kind, count in sorted(lived.answered.items()))
    shown = "" if place.path == DEFAULT.absolute() else f" --folder {place.path}"
    return "\n".join(
        (
            f"{lived.asked:,} requests of an invented company: {answers}. All by the mock provider: nothing was paid.",
            f"Reference prices: ${plain(lived.cost)} instead of ${plain(lived.baseline)}: saved ${plain(lived.saved)}.",
            "",
            f"  asahi demo --serve{shown}    shows it on http://127.0.0.1:8000/dashboard/",
            f"  asahi savings verify --config {place.config}",
            f"  asahi audit verify --config {place.config}",
            "",
            f"The login asks for a key: {lived.admin_key} (kept in {place.path / 'admin.key'})",
        )
    )
