"""Options that several commands share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from asahi_kernel.settings import Settings

config_option = click.option(
    "--config",
    "config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The YAML file; else ASAHI_CONFIG, else config/config.yaml if present.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
mock_option = click.option("--mock", is_flag=True, help="Answer from the mock provider, whatever is configured.")


def load(config: Path | None, *, mock: bool = False, overrides: dict[str, Any] | None = None) -> Settings:
    """The settings in force, with the command line's overrides, also for worker processes started later."""
    from asahi_kernel import serving
    from asahi_kernel.envfile import read_env_file

    read_env_file(Path(".env"), os.environ)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    if mock:
        given["providers"] = {"mock": {}}
        given |= {"models": None, "aliases": {}, "pricing.baseline_model": None}
    if config is not None:
        os.environ["ASAHI_CONFIG"] = str(config)
    os.environ[serving.OVERRIDES] = json.dumps(given)
    return serving.settings()


def source() -> str:
    """The configuration file in force, after `load`; its absence in words."""
    from asahi_kernel.config import DEFAULT_PATH

    if named := os.environ.get("ASAHI_CONFIG"):
        return named
    return str(DEFAULT_PATH) if DEFAULT_PATH.is_file() else "no file, the defaults"
