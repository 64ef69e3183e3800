"""What several commands say alike: their results, how far they are, and who sits at the command line."""

from __future__ import annotations

import getpass
import sys
import time
from typing import Any

import click


def tell(told: dict[str, Any], as_json: bool) -> None:
    """One line for each name, or all of it as JSON."""
    import msgspec

    if as_json:
        click.echo(msgspec.json.encode(told))
        return
    for name, value in told.items():
        shown = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else value
        click.echo(f"{name}: {shown}")


def operator_name() -> str:
    """Who sits at the command line, as the audit log names them: no user of an org can be called so."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


class Progress:
    """A bar on the terminal's standard error, once the run has taken a second; nothing anywhere else."""

    def __init__(self, steps: int, label: str) -> None:
        self._steps = steps
        self._label = label
        self._done = 0
        self._start = time.monotonic() + 1.0
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def tick(self, steps: int = 1) -> None:
        """So many steps more are done."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
        elif sys.stderr.isatty() and time.monotonic() > self._start:
            self._bar = click.progressbar(length=self._steps, label=self._label, file=sys.stderr)
            self._bar.update(self._done)
