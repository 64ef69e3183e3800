"""What quality to expect of a model for a task of a difficulty: a prior, moved by what people said of its answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import sqrt
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from asahi_kernel.clock import timestamp

if TYPE_CHECKING:
    from asahi_kernel.records import Observation
    from asahi_kernel.types import Model
    from asahi_optimizer.config import EstimateConfig

#: How far between the model's number and 5 (0 for down) a task of that difficulty moves the prior.
SHIFT: Mapping[str, float] = {"easy": 0.3, "medium": 0.0, "hard": -0.5}
#: The standard deviation of one observation in the prior, and the normal quantile of a two-sided 80 % interval.
_SPREAD = 1.0
_QUANTILE = 1.2816
_POOL_CAP = 50.0
_DAILY_CAP = 5
_REMEMBERED = 100_000
_DAY_S = 86_400

Key: TypeAlias = tuple[str, str, str, str]


class Expectation(Struct, frozen=True):
    """The expected quality and its interval of 80 %."""

    quality: float
    interval: tuple[float, float]


class Tally:
    """Weighted sums of observations, as of `day`; older ones count less by half every half-life."""

    __slots__ = ("day", "squares", "total", "weight")

    def __init__(self, day: int) -> None:
        self.day = day
        self.weight = self.total = self.squares = 0.0

    def add(self, quality: float, weight: float) -> None:
        """One observation, or with a negative weight one fewer."""
        self.weight = max(0.0, self.weight + weight)
        self.total += weight * quality
        self.squares += weight * quality * quality

    def age(self, day: int, half_life: float) -> None:
        """Let the days up to `day` pass."""
        if day > self.day:
            kept = 0.5 ** ((day - self.day) / half_life)
            self.weight, self.total, self.squares = self.weight * kept, self.total * kept, self.squares * kept
            self.day = day


class Given(Struct, frozen=True):
    """An observation as it was counted, so that a later one can replace it."""

    key: Key
    day: int
    quality: float
    weight: float


class Qualities:
    """One estimate per org, model, task and difficulty. Time moves in whole days, so that equal requests of one day
    are decided alike."""

    def __init__(self, config: EstimateConfig, clock: Callable[[], float] = timestamp) -> None:
        self._config = config
        self._clock = clock
        self._day = 0
        self._tallies: dict[Key, Tally] = {}
        self._orgs: set[str] = set()
        self._known: dict[Key, tuple[Model, Expectation]] = {}
        self._given: OrderedDict[tuple[str, str | None, str], Given] = OrderedDict()
        self._daily: dict[tuple[str, str | None, str, str, int], int] = {}

    def expect(self, org: str, model: Model, task: str, difficulty: str) -> Expectation:
        """The estimate in force, remembered until the day ends or something is observed."""
        owner = org if org in self._orgs or org in self._config.share_quality else ""
        key = (owner, model.name, task, difficulty)
        known = self._known.get(key)
        if known is None or known[0] is not model:
            known = self._known[key] = model, self._estimate(key, model)
        return known[1]

    def refresh(self) -> None:
        """Called before the estimates of a request: a new day forgets those of the last."""
        day = int(self._clock() // _DAY_S)
        if day != self._day:
            self._day = day
            self._known.clear()
            self._daily = {each: count for each, count in self._daily.items() if each[-1] >= day - 1}

    def observe(self, observation: Observation) -> bool:
        """Count a judgement; False if its user has had a say on this model and task often enough today."""
        if observation.difficulty is None or observation.model == "":
            return False
        self.refresh()
        org, user, model, task = observation.org, observation.user, observation.model, observation.task
        day = int(observation.timestamp.timestamp() // _DAY_S)
        name = (org, user, observation.request_id)
        earlier = self._given.pop(name, None)
        if earlier is not None:
            self._count(earlier, -1)
        elif self._daily.get((org, user, model, task, day), 0) >= _DAILY_CAP:
            return False
        else:
            who = (org, user, model, task, day)
            self._daily[who] = self._daily.get(who, 0) + 1
        given = Given((org, model, task, observation.difficulty), day, observation.quality, observation.weight)
        self._given[name] = given
        self._count(given, 1)
        if len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)
        return True

    def _count(self, given: Given, sign: int) -> None:
        tally = self._tallies.get(given.key)
        if tally is None:
            tally = self._tallies[given.key] = Tally(given.day)
            self._orgs.add(given.key[0])
        half_life = self._config.half_life_days
        tally.age(max(self._day, given.day), half_life)
        aged = given.weight * 0.5 ** ((tally.day - given.day) / half_life)
        tally.add(given.quality, sign * aged)
        self._known.clear()

    def _estimate(self, key: Key, model: Model) -> Expectation:
        task, difficulty = key[2:]
        prior = prior_of(model, task, difficulty)
        weight = self._config.prior_weight
        parts = [(weight, prior * weight, (prior * prior + _SPREAD) * weight), *self._observed(key)]
        whole, total, squares = (sum(column) for column in zip(*parts, strict=True))
        mean = total / whole
        margin = _QUANTILE * sqrt(max(0.0, squares / whole - mean * mean) / whole)
        return Expectation(round(mean, 4), (round(max(0.0, mean - margin), 4), round(min(5.0, mean + margin), 4)))

    def _observed(self, key: Key) -> list[tuple[float, float, float]]:
        """The org's own observations, and those of orgs it shares with, scaled down to at most 50."""
        own = [tally] if (tally := self._tally(key)) is not None else []
        sums = [(tally.weight, tally.total, tally.squares) for tally in own]
        sharing = self._config.share_quality
        if key[0] in sharing:
            others = [self._tally((org, *key[1:])) for org in sharing if org != key[0]]
            found = [(each.weight, each.total, each.squares) for each in others if each is not None]
            weight = sum(each[0] for each in found)
            if weight > 0:
                scale = min(1.0, _POOL_CAP / weight)
                sums += [(each[0] * scale, each[1] * scale, each[2] * scale) for each in found]
        return sums

    def _tally(self, key: Key) -> Tally | None:
        tally = self._tallies.get(key)
        if tally is not None:
            tally.age(self._day, self._config.half_life_days)
        return tally


def prior_of(model: Model, task: str, difficulty: str) -> float:
    """What the model's profile says, moved by the difficulty."""
    start = model.task_quality.get(task, model.quality_score)
    return start + SHIFT[difficulty] * (5.0 - start)
