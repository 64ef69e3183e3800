"""The curve of a router: how much of the strong model's lead is recovered at each share of strong calls.

Measures as in the RouteLLM paper (arXiv 2406.18665): PGR is (quality − weak) ÷ (strong − weak), APGR the mean of PGR
over all shares, CPT(x) the smallest share at which PGR reaches x %.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from msgspec import Struct

from benchmarks.routing.answers import Graded


class Point(Struct, frozen=True):
    """A share of strong calls with the share of right answers there."""

    share: float
    quality: float


class Curve(Struct, frozen=True):
    """Points from no strong call to all of them, joined by lines."""

    points: tuple[Point, ...]

    @property
    def recovered(self) -> tuple[Point, ...]:
        """The same with PGR for quality."""
        weak, strong = self.points[0].quality, self.points[-1].quality
        return tuple(Point(each.share, (each.quality - weak) / (strong - weak)) for each in self.points)

    def area(self) -> float:
        """APGR."""
        points = self.recovered
        pairs = pairwise(points)
        return sum((after.share - before.share) * (after.quality + before.quality) / 2 for before, after in pairs)

    def threshold(self, percent: float) -> float:
        """CPT: the smallest share of strong calls that recovers so many per cent."""
        return _first(self.recovered, percent / 100)

    def keeping(self, part: float) -> float:
        """The smallest share of strong calls that keeps this part of the strong model's quality."""
        return _first(self.points, part * self.points[-1].quality)


def curve(rows: Sequence[Graded], scores: Sequence[float]) -> Curve:
    """Ask the strong model in order of falling score. Among equal scores the order is random, and the line between two
    scores is its expectation."""
    points = [Point(0.0, sum(row.weak_correct for row in rows) / len(rows))]
    ranked = sorted(zip(scores, rows, strict=True), key=lambda pair: -pair[0])
    asked, right = 0, sum(row.weak_correct for row in rows)
    for _, group in groupby(ranked, key=lambda pair: pair[0]):
        for _, row in group:
            asked += 1
            right += row.strong_correct - row.weak_correct
        points.append(Point(asked / len(rows), right / len(rows)))
    return Curve(tuple(points))


def _first(points: Sequence[Point], quality: float) -> float:
    for before, after in pairwise(points):
        if after.quality >= quality - 1e-12:
            if after.quality == before.quality:
                return before.share
            part = max(0.0, (quality - before.quality) / (after.quality - before.quality))
            return before.share + part * (after.share - before.share)
    return 1.0
