"""`asahi serve`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from asahi_kernel.cli.options import config_option, load, mock_option


@click.command()
@config_option
@click.option("--host", help="Address to bind; the default is 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to bind, 0 for any free one; the default is 8000.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes; the default is 1.")
@mock_option
def serve(config: Path | None, host: str | None, port: int | None, workers: int | None, mock: bool) -> None:
    """Run the gateway.

    Without any configuration: development profile on 127.0.0.1:8000, mock provider, SQLite in ./data, no key needed.
    """
    from asahi_kernel import serving

    settings = load(config, mock=mock, overrides={"api.host": host, "api.port": port, "api.workers": workers})
    sys.exit(serving.serve(settings))
