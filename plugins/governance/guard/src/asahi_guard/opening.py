"""Opening: the policies and rules, each over the gateway's standings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from asahi_guard.compliance import Compliant, RegionRule
from asahi_guard.config import InjectionConfig, PiiConfig, PresidioConfig
from asahi_guard.detectors import Builtin, Detectors
from asahi_guard.erasing import at_work
from asahi_guard.injection import Injection
from asahi_guard.leaking import SHORTEST, Canaries
from asahi_guard.models import Permitted, PlanRule, PolicyRule
from asahi_guard.pii import Personal
from asahi_kernel import Config, ConfigError, Factory

if TYPE_CHECKING:
    from asahi_kernel.detecting import Detector
    from asahi_kernel.gateway import Gateway

T = TypeVar("T")


def _over(make: Callable[[Gateway], T]) -> Callable[[Config, Gateway], AbstractAsyncContextManager[T]]:
    @asynccontextmanager
    async def opened(config: Config, gateway: Gateway) -> AsyncIterator[T]:
        yield make(gateway)

    return opened


@asynccontextmanager
async def _injection(config: InjectionConfig, gateway: Gateway) -> AsyncIterator[Injection]:
    words = [each.reveal() for each in config.canaries]
    for number, word in enumerate(words, 1):
        if len(word) < SHORTEST or not (word.isascii() and word.isprintable()) or " " in word:
            raise ConfigError(
                f"policies.injection.canaries: entry {number} must be {SHORTEST} or more printable ASCII characters "
                "without a space; a shorter one would be found where nobody planted it"
            )
    yield Injection(gateway, Canaries(words), config.threshold)


@asynccontextmanager
async def _personal(config: PiiConfig, gateway: Gateway) -> AsyncIterator[Personal]:
    yield Personal(gateway, Detectors(gateway, config.detectors))


@asynccontextmanager
async def _builtin(config: Config, gateway: Gateway) -> AsyncIterator[Builtin]:
    yield Builtin()


@asynccontextmanager
async def _presidio(config: PresidioConfig, gateway: Gateway) -> AsyncIterator[Detector]:
    from asahi_guard.presidio import opened

    with opened(config) as detector:
        yield detector


DETECTORS: tuple[Factory[Detector, Any], ...] = (
    Factory("builtin", Config, _builtin),
    Factory("presidio", PresidioConfig, _presidio),
)
POLICIES = (
    Factory("models", Config, _over(Permitted)),
    Factory("compliance", Config, _over(Compliant)),
    Factory("pii", PiiConfig, _personal),
    Factory("injection", InjectionConfig, _injection),
)
SERVICES: tuple[Factory[None, Config], ...] = (Factory("erasing", Config, at_work),)
RULES = (
    Factory("policy", Config, _over(PolicyRule)),
    Factory("region", Config, _over(RegionRule)),
    Factory("plan", Config, _over(PlanRule)),
)
