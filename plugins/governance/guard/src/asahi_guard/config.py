"""The options of the policies that have any."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config, Secret


class InjectionConfig(Config, frozen=True):
    """`canaries` are words planted in system prompts, of 8 or more printable ASCII characters: no answer may hold one.
    A request whose score reaches `threshold` is one that looks like an injection."""

    canaries: tuple[Secret, ...] = ()
    threshold: Annotated[float, Meta(gt=0, le=1)] = 0.7
