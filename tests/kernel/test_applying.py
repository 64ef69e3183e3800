"""What a dead process left is told to sinks once, whether it had been applied before or not."""

import asyncio
from collections import Counter

import pytest

from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.journal.applying import Applier
from asahi_kernel.records import Settled
from asahi_kernel.testing.samples import decision, event

pytestmark = pytest.mark.anyio


class Told:
    def __init__(self):
        self.ids = []

    async def write(self, events):
        self.ids += [each.request_id for each in events]


def settled(**fields):
    made = event(**fields)
    return Settled(made, decision(made))


@pytest.fixture
def applier():
    told = Told()
    return told, Applier(MemoryStorage(1_000), {"told": told}, Counter(), lambda letters: None)


async def test_sinks_are_told_only_what_storage_had_not(applier):
    told, applier = applier
    known, unheard, late = [settled(), settled()], settled(status="unknown"), settled()
    await applier.apply(known)
    await asyncio.sleep(0)
    told.ids.clear()
    assert await applier.apply_again([known[0], unheard, known[1], late])
    await asyncio.sleep(0)
    assert sorted(told.ids) == sorted([unheard.event.request_id, late.event.request_id])


async def test_what_is_known_altogether_is_told_to_nobody(applier):
    told, applier = applier
    batch = [settled() for _ in range(5)]
    await applier.apply(batch)
    await asyncio.sleep(0)
    assert await applier.apply_again(batch)
    await asyncio.sleep(0)
    assert len(told.ids) == 5


async def test_a_batch_that_is_tried_again_is_told_whole(applier):
    """Storage had taken it, but nobody heard: the sinks were not told yet."""
    told, applier = applier
    batch = [settled()]
    await applier.storage.books.post(batch)
    assert await applier.apply(batch)
    await asyncio.sleep(0)
    assert told.ids == [batch[0].event.request_id]
