"""A tally: what was counted, as whole numbers that add up over workers without loss."""

from __future__ import annotations

from bisect import bisect_left
from typing import TypeAlias

import msgspec
from msgspec import Struct

from asahi_telemetry.families import BY_NAME

Labels: TypeAlias = tuple[str, ...]
Series: TypeAlias = dict[Labels, list[int]]
#: More label sets than this of one metric are counted together under `other`: nobody's words fill the memory.
MOST = 2_000


class Gauge(Struct, frozen=True, array_like=True):
    """A value as one worker sees it now. Over workers it is added up where `summed`, else the largest counts."""

    name: str
    labels: Labels
    value: float
    summed: bool = True


class Tally:
    """Series by the name of their metric. Names that are no metric are for what is derived when told."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}

    def add(self, name: str, labels: Labels, amount: int) -> None:
        """Count so many."""
        series = self.series.get(name)
        if series is None:
            series = self.series[name] = {}
        held = series.get(labels)
        if held is None:
            held = _room(series, labels, 1)
        held[0] += amount

    def observe(self, name: str, labels: Labels, value: float) -> None:
        """Put a value into its bucket of a histogram."""
        family = BY_NAME[name]
        series = self.series.get(name)
        if series is None:
            series = self.series[name] = {}
        held = series.get(labels)
        if held is None:
            held = _room(series, labels, family.width)
        held[bisect_left(family.bounds, value)] += 1
        held[-1] += round(value * family.scale)

    def held(self, name: str, labels: Labels) -> list[int]:
        """The numbers of one series, to be added to in place by whoever counts it often."""
        family = BY_NAME[name]
        series = self.series.setdefault(name, {})
        return series.get(labels) or _room(series, labels, family.width)

    def merge(self, other: Tally) -> None:
        """Add another one's numbers. Series of another shape, from another version, are left out."""
        for name, theirs in other.series.items():
            ours = self.series.setdefault(name, {})
            for labels, numbers in theirs.items():
                held = ours.setdefault(labels, [0] * len(numbers))
                if len(held) == len(numbers):
                    for at, number in enumerate(numbers):
                        held[at] += number


class Snapshot(Struct, frozen=True, kw_only=True):
    """A tally and the gauges of one worker as they are shared; `merged` names whose tallies are in it besides."""

    series: dict[str, list[tuple[Labels, list[int]]]] = {}
    gauges: tuple[Gauge, ...] = ()
    merged: tuple[str, ...] = ()

    def tally(self) -> Tally:
        """The numbers, without those of another shape."""
        tally = Tally()
        for name, rows in self.series.items():
            family = BY_NAME.get(name)
            width = family.width if family else 1
            tally.series[name] = {labels: numbers for labels, numbers in rows if len(numbers) == width}
        return tally


def snapshot(tally: Tally, gauges: tuple[Gauge, ...] = (), merged: tuple[str, ...] = ()) -> Snapshot:
    series = {name: list(rows.items()) for name, rows in tally.series.items()}
    return Snapshot(series=series, gauges=gauges, merged=merged)


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Snapshot).decode


def _room(series: Series, labels: Labels, width: int) -> list[int]:
    if len(series) >= MOST:
        labels = ("other",) * len(labels)
    return series.setdefault(labels, [0] * width)
