"""A routing rule: models marked as dear stay out of the night shift."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

from asahi_kernel import Config, Factory, Verdict, hookimpl


class OfficeConfig(Config, frozen=True):
    opens: int = 7
    closes: int = 19
    day_only: tuple[str, ...] = ()


class OfficeHours:
    def __init__(self, config):
        self.config = config

    async def rank(self, request, principal, candidates):
        if self.config.opens <= datetime.now(UTC).hour < self.config.closes:
            return candidates
        closed = {each.name: "answers in office hours only" for each in candidates if each.name in self.config.day_only}
        return Verdict(tuple(each for each in candidates if each.name not in closed), closed)


@asynccontextmanager
async def open_office(config, gateway):
    yield OfficeHours(config)


@hookimpl
def register_rules():
    yield Factory("office_hours", OfficeConfig, open_office)
