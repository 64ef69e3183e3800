"""What several commands say alike: their results, and who sits at the command line."""

from __future__ import annotations

import getpass
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
