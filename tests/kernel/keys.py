"""Data keys in memory, which count what they are asked, and can be away or frozen."""

import asyncio
from collections import Counter

from asahi_kernel.builtins.memory_records import MemoryRows
from asahi_kernel.errors import Unavailable
from asahi_kernel.repositories.work import DataKeys


class Store(DataKeys):
    def __init__(self):
        super().__init__(MemoryRows())
        self.asked = Counter()
        self.away = self.frozen = False

    async def get(self, org, subject, version=None):
        return await self._told("get", await super().get(org, subject, version))

    async def named(self, org, name):
        return await self._told("named", await super().named(org, name))

    async def _told(self, what, found):
        """It was read; what is told is heard later."""
        self.asked[what] += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("away")
        if self.frozen:
            await asyncio.Event().wait()
        return found


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now
