"""The options of the policies that have any."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config, Secret


class PiiConfig(Config, frozen=True):
    """`detectors` are asked in this order: of what overlaps the first one's kind counts."""

    detectors: Annotated[tuple[str, ...], Meta(min_length=1, max_length=10)] = ("builtin",)


class PresidioConfig(Config, frozen=True):
    """`model` is a spaCy pipeline that is installed, or a path; None leaves names, places and nationalities out.
    `entities` are Presidio's names. `timeout_ms` bounds what one request or answer may take, `threads` how many are
    looked through at a time."""

    language: Annotated[str, Meta(pattern=r"^[a-z]{2}$")] = "en"
    model: str | None = "en_core_web_sm"
    entities: Annotated[tuple[str, ...], Meta(min_length=1)] = ("PERSON", "LOCATION", "NRP")
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.4
    timeout_ms: Annotated[int, Meta(ge=50, le=60_000)] = 5_000
    threads: Annotated[int, Meta(ge=1, le=16)] = 1


class InjectionConfig(Config, frozen=True):
    """`canaries` are words planted in system prompts, of 8 or more printable ASCII characters: no answer may hold one.
    A request whose score reaches `threshold` is one that looks like an injection."""

    canaries: tuple[Secret, ...] = ()
    threshold: Annotated[float, Meta(gt=0, le=1)] = 0.7
