"""The command `asahi`. Commands import what they need when they run, so that `--help` stays fast."""

from __future__ import annotations

import sys

import click

from asahi_kernel.cli.benchmarking import benchmark
from asahi_kernel.cli.caching import cache
from asahi_kernel.cli.inferring import infer
from asahi_kernel.cli.inspecting import check, models, plugins, schema
from asahi_kernel.cli.pricing import prices
from asahi_kernel.cli.reporting import metrics, report
from asahi_kernel.cli.serving import serve
from asahi_kernel.errors import AsahiError, ConfigError, PluginError
from asahi_kernel.plugins import load_plugins

CONFIGURATION = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="asahi-kernel", prog_name="asahi")
def cli() -> None:
    """Asahi, the LLM gateway that cuts the model bill and can prove it.

    Exit codes: 0 good, 1 negative finding, 2 usage, 3 configuration, 4 unreachable.
    """


for command in (serve, infer, benchmark, models, prices, cache, metrics, report, plugins, check, schema):
    cli.add_command(command)
cli.add_command(serve, "api")


def main() -> None:
    """Entry point: plugins add their commands, and every error becomes one line and an exit code."""
    try:
        load_plugins(tolerant=True).manager.hook.register_commands(cli=cli)
    except Exception as error:  # noqa: BLE001 - one plugin's commands must not take the others with them
        click.echo(f"asahi: a plugin's commands are left out: {type(error).__name__}: {error}", err=True)
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ConfigError, PluginError) as error:
        click.echo(f"asahi: {error.message}", err=True)
        sys.exit(CONFIGURATION)
    except AsahiError as error:
        click.echo(f"asahi: {error.message}", err=True)
        sys.exit(1)
