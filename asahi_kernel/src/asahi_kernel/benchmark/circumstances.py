"""The circumstances of a run: on which machine, with which configuration, and how to do it again."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from asahi_kernel.benchmark.report import Configuration, Machine

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

_PROCESSORS = Path("/proc/cpuinfo")


def machine() -> Machine:
    """This one."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=os.cpu_count() or 0,
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def configuration(gateway: Gateway, source: str) -> Configuration:
    """What of the configuration makes a difference to the figures; names and types only, so no secret can be in it."""
    settings = gateway.settings
    return Configuration(
        source=source,
        profile=settings.profile,
        providers=_names(settings.providers) or ["mock"],
        tiers=_names({name: settings.cache_tiers.get(name, {}) for name in gateway.tiers}),
        rules=list(gateway.rules),
        transforms=list(gateway.transforms),
        policies=list(gateway.policies),
        models=len(gateway.registry.by_name),
    )


def _names(tables: Mapping[str, Mapping[str, object]]) -> list[str]:
    return [name if table.get("type", name) == name else f"{name} ({table['type']})" for name, table in tables.items()]


def _processor() -> str:
    try:
        for line in _PROCESSORS.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
