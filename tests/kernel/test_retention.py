"""CO-6: retention really deletes, for every org, and runs by itself."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.kernel.kit import gateway_of

from asahi_kernel.builtins import retention
from asahi_kernel.builtins.memory_storage import MemoryRetention, MemoryStorage
from asahi_kernel.records import Settled
from asahi_kernel.repositories.work import Body
from asahi_kernel.testing import ServiceContract
from asahi_kernel.testing.samples import decision, event

pytestmark = pytest.mark.anyio


def aged(days, org="here"):
    one = event(org, timestamp=datetime.now(UTC) - timedelta(days=days))
    return Settled(one, decision(one))


async def test_the_service_forgets_what_is_older_than_the_operator_keeps(monkeypatch):
    monkeypatch.setattr(retention, "_FIRST_S", (0.0, 0.01))
    monkeypatch.setattr(retention, "_DAY_S", 0.01)
    async with gateway_of({"governance": {"retention_days": 30}}) as gateway:
        old, new, other = aged(31), aged(29), aged(400, "there")
        await gateway.storage.books.post([old, new, other])
        while await gateway.storage.events.find("here", old.event.request_id):
            await asyncio.sleep(0.01)
        assert await gateway.storage.events.find("there", other.event.request_id) is None
        assert await gateway.storage.events.find("here", new.event.request_id) == new.event
        assert (await gateway.storage.events.totals("here", None)).requests == 2


async def test_a_storage_that_fails_is_swept_another_day(monkeypatch, caplog):
    async def broken(_):
        raise OSError("down")

    monkeypatch.setattr(retention, "_FIRST_S", (0.0, 0.0))
    monkeypatch.setattr(MemoryRetention, "orgs", broken)
    async with gateway_of() as gateway:
        while not gateway.faults["retention"]:
            await asyncio.sleep(0.01)
    assert "retention could not sweep (OSError)" in caplog.text


class TestRetention(ServiceContract):
    factory = retention.RETENTION


async def test_what_has_an_end_of_its_own_is_forgotten_too():
    storage, now = MemoryStorage(10), datetime.now(UTC)
    body = Body(request_id="old", org_id="here", subject="here", expires_at=now)
    later = Body(request_id="new", org_id="here", subject="here", expires_at=now + timedelta(seconds=1))
    await storage.repositories.bodies.save(body)
    await storage.repositories.bodies.save(later)
    assert await retention.sweep(storage, 365, now) == 0
    assert await storage.repositories.bodies.get("here", "old") is None
    assert await storage.repositories.bodies.get("here", "new") == later
