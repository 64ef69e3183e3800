"""Detectors: those that `policies.pii` lists, asked as one; the built-in one among them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from asahi_guard.finding import MARKS, apart, find
from asahi_kernel.detecting import Detected, Detector
from asahi_kernel.errors import AsahiError, ConfigError, PluginError, Unavailable

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

log = logging.getLogger("asahi.guard")

BUILTIN = "builtin"


class Builtin:
    """The detectors of this package: exact, quick, and nothing to be installed."""

    marks: Mapping[str, str] = MARKS

    async def find(self, texts: Sequence[str], kinds: Collection[str]) -> Sequence[Sequence[Detected]]:
        return [find(text, kinds) for text in texts]


class Detectors:
    """`kinds` are those of all, in the order of the detectors. All but the built-in one must be waited for."""

    def __init__(self, gateway: Gateway, names: Sequence[str]) -> None:
        self._gateway = gateway
        self.marks: dict[str, str] = {}
        self._others: dict[str, Detector] = {}
        own = Builtin()
        if BUILTIN not in names or not isinstance(gateway.detectors.get(BUILTIN, own), Builtin):
            raise ConfigError(
                f"policies.pii.detectors: {BUILTIN!r}, that of asahi-guard, must be among them: no other is exact"
            )
        for name in names:
            detector = own if name == BUILTIN else gateway.detectors.get(name)
            if detector is None:
                known = ", ".join(map(repr, gateway.detectors))
                raise ConfigError(
                    f"policies.pii.detectors: there is no detector {name!r}; give it a table detectors.{name}, or use "
                    f"one of {known}"
                )
            if both := sorted(self.marks.keys() & detector.marks.keys()):
                raise ConfigError(f"policies.pii.detectors: two of them find {both[0]!r}")
            self.marks |= detector.marks
            if name != BUILTIN:
                self._others[name] = detector
        self.kinds = tuple(self.marks)
        self._waited = self.marks.keys() - MARKS.keys()

    def waits(self, kinds: Collection[str]) -> bool:
        """Whether one that must be waited for knows any of these kinds."""
        return bool(self._others) and not self._waited.isdisjoint(kinds)

    async def search(self, texts: Collection[str], kinds: Collection[str]) -> dict[str, list[Detected]]:
        """What the others find in each text. Raises `Unavailable` where one of them cannot say."""
        given = [text for text in dict.fromkeys(texts) if text]
        found: dict[str, list[Detected]] = {text: [] for text in given}
        for name, detector in self._others.items():
            own = [kind for kind in kinds if kind in detector.marks]
            for text, told in zip(given, await self._asked(name, detector, given, own), strict=True):
                found[text] += told
        return found

    def look(self, text: str, kinds: Collection[str], searched: Mapping[str, list[Detected]]) -> Sequence[Detected]:
        """What is in a text: what the built-in detector finds now, and the others did before."""
        found = find(text, kinds)
        if more := searched.get(text):
            return apart([*found, *more], self.kinds)
        return found

    async def _asked(
        self, name: str, detector: Detector, texts: Sequence[str], kinds: Sequence[str]
    ) -> Sequence[Sequence[Detected]]:
        try:
            told = await detector.find(texts, kinds)
        except AsahiError:
            self._gateway.faults[f"detector.{name}"] += 1
            raise
        except Exception as error:  # noqa: BLE001 - fails closed, whatever it is
            self._gateway.faults[f"detector.{name}"] += 1
            log.warning("the detector %r failed (%s)", name, type(error).__name__)
            raise Unavailable(
                "personal data cannot be looked for now", code="detector_unavailable", retry_after=5
            ) from None
        sound = len(told) == len(texts) and all(
            0 <= each.start < each.end <= len(text) and each.kind in kinds
            for text, found in zip(texts, told, strict=True)
            for each in found
        )
        if not sound:
            raise PluginError(f"the detector {name!r} told of something that is not in the text, or was not asked for")
        return told
