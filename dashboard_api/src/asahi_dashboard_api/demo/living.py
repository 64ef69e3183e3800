"""Living through the month: the clock goes from moment to moment, and in each the company asks."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_dashboard_api.demo.calendar import Hour, hours
from asahi_dashboard_api.demo.company import PEOPLE, Person
from asahi_dashboard_api.demo.door import Door, Reply
from asahi_dashboard_api.demo.questions import Body, Questions
from asahi_dashboard_api.demo.story import Story
from asahi_dashboard_api.demo.weather import Weather, Weathered
from asahi_kernel import clock
from asahi_kernel.background import repeat_now
from asahi_kernel.benchmark.standing_in import TRUTH
from asahi_kernel.errors import AsahiError, ConfigError
from asahi_kernel.gateway import Gateway
from asahi_kernel.plugins import load_plugins

if TYPE_CHECKING:
    from asahi_dashboard_api.demo.folder import Mark
    from asahi_kernel.records import Totals
    from asahi_kernel.settings import Settings

_BOOTSTRAP = "ASAHI_BOOTSTRAP_ADMIN_KEY"
_MINUTE = timedelta(minutes=1)
_FEEDBACK = 0.05
#: Which model a script is pointed at by mistake; the first is forbidden after that.
_DEAR = {"dear": "claude-opus-4", "dear again": "gpt-4-turbo"}


class Lived(Struct, frozen=True, kw_only=True):
    """What was asked, by how it was answered, and what the gateway's books say of it, in nUSD."""

    asked: int
    answered: dict[str, int]
    recorded: int
    cost: int
    baseline: int
    saved: int
    admin_key: str


class Unsound(AsahiError):
    """The books do not hold what was asked."""

    code = "demo_unsound"


async def live(settings: Settings, mark: Mark, tick: Callable[[int], None]) -> Lived:
    """The whole month, until a minute ago; `tick` is told of the requests of each hour. The process's clock is moved
    meanwhile."""
    from asahi_kernel.app import create_app

    end = (clock.now() - _MINUTE).replace(microsecond=0)
    draw, weather = random.Random(mark.seed), Weather(mark.seed)
    calendar = hours(end, mark.days, mark.requests, draw)
    gateway, bootstrap = Gateway(settings), secrets.token_urlsafe(32)
    plugins = Weathered(load_plugins(), weather)
    with clock.moving(), _bootstrapping(bootstrap):
        clock.move(calendar[0].start - timedelta(minutes=5))
        front = create_app(settings, plugins, gateway)
        # The application's own task group would wrap an error that passes through it.
        failure: AsahiError | None = None
        async with front.app.lifespan():
            try:
                await _refuse_history(gateway)
                door = Door(front)
                story = Story(door, bootstrap, calendar[0].start, mark.days)
                await story.begin()
                month = _Month(gateway, door, story, weather, draw)
                await month.live(calendar, tick)
                totals = await _totals(gateway)
            except AsahiError as error:
                failure = error
        if failure is not None:
            raise failure
    return _audited(month, totals, story)


@contextmanager
def _bootstrapping(key: str) -> Iterator[None]:
    """A first key, for as long as the month lasts."""
    os.environ[_BOOTSTRAP] = key
    try:
        yield
    finally:
        del os.environ[_BOOTSTRAP]


async def _refuse_history(gateway: Gateway) -> None:
    """The folder's mark is one lock, this is the other: not one entry may be there before the first."""
    if await gateway.storage.ledger.heads():
        raise ConfigError("this storage has a ledger already: a demonstration is never poured into one")


async def _totals(gateway: Gateway) -> list[Totals]:
    await gateway.journal.flush()
    return [await gateway.storage.events.totals(org, None) for org in await gateway.storage.retention.orgs()]


def _audited(month: _Month, totals: list[Totals], story: Story) -> Lived:
    recorded, asked = sum(each.requests for each in totals), month.admitted
    if recorded != asked:
        raise Unsound(
            f"{asked:,} requests were admitted, but the books hold {recorded:,}: this is a bug, please report"
        )
    return Lived(
        asked=sum(month.answers.values()),
        answered=dict(month.answers),
        recorded=recorded,
        cost=sum(each.cost + each.overhead_cost for each in totals),
        baseline=sum(each.baseline_cost for each in totals),
        saved=sum(each.saved for each in totals),
        admin_key=story.keys["ana's laptop"],
    )


class _Month:
    def __init__(self, gateway: Gateway, door: Door, story: Story, weather: Weather, draw: random.Random) -> None:
        self._gateway, self._door, self._story, self._weather = gateway, door, story, weather
        self._draw = draw
        self._questions = Questions(draw)
        self._askers = [each for each in PEOPLE if each.desk is not None]
        self.answers: Counter[str] = Counter()
        self.admitted = 0

    async def live(self, calendar: list[Hour], tick: Callable[[int], None]) -> None:
        spells = _spells(calendar)
        for hour in calendar:
            spell = spells.get(hour.start, "")
            self._weather.failing = 0.95 if spell == "outage" else 0.0
            self._weather.slow_s = 0.1 if spell == "slow" else 0.0
            for moment in hour.moments:
                await self._story.until(moment.at)
                _forward(moment.at)
                await asyncio.gather(*[self._one(hour, _DEAR.get(spell)) for _ in range(moment.count)])
            _forward(hour.start + timedelta(hours=1))
            await self._gateway.journal.flush()
            if hour.moments and not hour.night:
                await repeat_now()
            tick(hour.count)

    async def _one(self, hour: Hour, dear: str | None) -> None:
        person = self._asker(hour)
        if dear and person.desk != "reviews" and self._draw.random() < 0.6:
            person, body = next(each for each in PEOPLE if each.key == "editor plugin"), self._questions.dear(dear)
        else:
            body = self._questions.of(person)
        TRUTH.set(self._questions.answer(body))
        reply = await self._ask(person, body)
        self.answers[_kind(reply.status)] += 1
        self.admitted += reply.status != 401
        if reply.status == 200 and self._draw.random() < _FEEDBACK:
            await self._judge(person, reply)

    def _asker(self, hour: Hour) -> Person:
        shares = [each.nightly if hour.night else each.share for each in self._askers]
        return self._draw.choices(self._askers, shares)[0]

    async def _ask(self, person: Person, body: Body) -> Reply:
        return await self._door.ask("POST", "/infer", self._story.keys[person.key], body, address=person.address)

    async def _judge(self, person: Person, reply: Reply) -> None:
        rating = min(5.0, max(1.0, round(self._draw.gauss(4.2, 0.6), 1)))
        body = {"request_id": reply.request_id, "rating": rating}
        await self._gateway.journal.flush()
        await self._door.ask("POST", "/feedback", self._story.keys[person.key], body, address=person.address)


def _spells(calendar: list[Hour]) -> dict[datetime, str]:
    """The bad hours: each the busiest that people work of the three days that it falls on; and the last hour, so that
    something is open."""
    found = {calendar[-1].start: "dear again"}
    for share, name in ((0.38, "slow"), (0.58, "dear"), (0.84, "outage")):
        first = int(len(calendar) * share)
        awake = [hour for hour in calendar[first : first + 72] if not hour.night and hour.start not in found]
        found[max(awake or calendar, key=lambda hour: hour.count).start] = name
    return found


def _kind(status: int) -> str:
    return {200: "answered", 403: "denied", 422: "denied", 429: "over a limit"}.get(status, "failed")


def _forward(to: datetime) -> None:
    if to > clock.now():
        clock.move(to)
