"""The collector of OpenTelemetry that the environment names, and who we are to it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


def named(signal: Literal["traces", "metrics"], environment: Mapping[str, str]) -> bool:
    """Whether there is one for these, and nobody switched them off."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp") not in {"", "otlp"}:
        return False
    return any(environment.get(f"OTEL_EXPORTER_OTLP_{name}ENDPOINT") for name in (f"{signal.upper()}_", ""))


@cache
def ourselves() -> Resource:
    """This process: an instance of its own among the workers, or their numbers would be taken for one another's."""
    from opentelemetry.sdk.resources import Resource

    told = {"service.version": version("asahi-kernel"), "service.instance.id": str(uuid.uuid4())}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        told["service.name"] = "asahi"
    return Resource.create(told)
