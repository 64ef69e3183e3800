"""Routing by the rules in their default order over the built-in catalogue, without a gateway around it."""

from __future__ import annotations

from typing import Any

from asahi_kernel.builtins.rules import Bounds, Cheapest, Explicit
from asahi_kernel.gateway import Gateway
from asahi_kernel.registry import CATALOGUE, Registry, as_model, prices_of
from asahi_kernel.routing import route
from asahi_kernel.settings import Settings
from asahi_kernel.testing import HERE
from asahi_kernel.trace import Trace
from asahi_kernel.types import Message, Model, Request, Terms
from asahi_optimizer.config import AutopilotConfig, EstimateConfig, GuidedConfig
from asahi_optimizer.estimating import Estimate
from asahi_optimizer.modes import Autopilot, Guided

MODELS = tuple(as_model(each, prices_of(each), "reference-1", "reference") for each in CATALOGUE)


def rules(**configs: Any) -> dict[str, Any]:
    return {
        "estimate": Estimate(configs.get("estimate", EstimateConfig())),
        "explicit": Explicit(),
        "bounds": Bounds(),
        "autopilot": Autopilot(configs.get("autopilot", AutopilotConfig())),
        "guided": Guided(configs.get("guided", GuidedConfig())),
        "cheapest": Cheapest(),
    }


async def routed(request: Request, models: tuple[Model, ...] = MODELS, given: dict[str, Any] | None = None) -> Trace:
    """The trace after routing; `ranked` is the outcome."""
    trace = Trace("/infer")
    gateway = Gateway(Settings(profile="development"))
    gateway.registry, gateway.rules = Registry(models, {}, None), given or rules()
    await route(gateway, request, HERE, trace)
    return trace


def ask(text: str, **terms: Any) -> Request:
    return Request(messages=(Message("user", text),), terms=Terms(**terms))


def sized(difficulty: str, tokens: int = 1_000, **terms: Any) -> Request:
    """A request of that difficulty and that many input tokens, whatever its stated task."""
    cues = {"easy": "please", "medium": "explain", "hard": "explain this function"}[difficulty]
    return ask(f"{cues} ".ljust(4 * tokens, "x"), **terms)
