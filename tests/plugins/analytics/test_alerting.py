"""Alerts: raised once however many processes look, told to the operator, resolved after a quiet quarter of an hour."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import msgspec
import pytest
from tests.plugins.analytics import kit

from asahi_analytics import open_alerts, register_services
from asahi_analytics.alerting import Watch
from asahi_analytics.config import AlertsConfig
from asahi_analytics.telling import Teller
from asahi_analytics.webhook import open_webhook
from asahi_kernel import Secret
from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.errors import ConfigError
from asahi_kernel.identity import new_id
from asahi_kernel.ledger import Book
from asahi_kernel.money import Prices
from asahi_kernel.records import Attempt, Considered, Settled
from asahi_kernel.repositories.audit import AUDIT, AuditEntry
from asahi_kernel.testing import ServiceContract
from asahi_kernel.testing.samples import decision, event
from asahi_kernel.types import Usage

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC).replace(second=30, microsecond=0)
ALERTS = next(each for each in register_services() if each.name == "alerts")


class TestAlerts(ServiceContract):
    factory = ALERTS
    config: ClassVar[dict[str, Any]] = {"interval_s": 0.05}


#: A token costs 100 nUSD.
BOOK = Book(version="t", effective_from="2026-01-01", source="test", prices={"model-a": Prices(input=10**11, output=0)})


def settled(minutes_ago: float, org: str = "here", cost: int = 1_000, **fields) -> Settled:
    """A request whose money adds up, and whose estimate was right."""
    usage = Usage(cost // 100, 0)
    call = Attempt(n=1, provider="mock", model="model-a", outcome="ok", usage=usage, cost=cost, billed=True)
    values = {"cost": cost, "baseline_cost": cost, "saved": 0, "saved_by": {}, "latency_ms": 100.0} | fields
    values |= {"attempts": (call,), "price_version": "t", "request_id": new_id()}
    made = event(org, timestamp=NOW - timedelta(minutes=minutes_ago), **values)
    return Settled(made, estimated(made, cost))


def estimated(made, cost: int):
    candidates = (Considered(name="model-a", quality=4.0, latency_ms=1, cost=cost),)
    return msgspec.structs.replace(decision(made), candidates=candidates)


def day(org: str = "here") -> list[Settled]:
    return [settled(61 + each * 10, org) for each in range(144)]


def spike(org: str = "here", ago: float = 1, **fields) -> list[Settled]:
    return [settled(ago + each / 10, org, **({"cost": 10_000} | fields)) for each in range(30)]


async def filled(*batches, storage=None):
    storage = storage or MemoryStorage(10_000)
    await storage.prices.save(BOOK)
    for batch in batches:
        await storage.books.post(batch)
    return storage


def watch(storage, **tree) -> Watch:
    return Watch(kit.gateway_of(storage, **tree), storage)


async def kinds(storage, org="here") -> Counter:
    return Counter(alert.anomaly_type for alert in await storage.repositories.alerts.of_org(org))


async def test_an_alert_is_raised_once_and_only_for_its_org(caplog):
    storage = await filled(day(), spike(), day("there"), spike("there", cost=1_000))
    one = watch(storage)
    with caplog.at_level(logging.WARNING, "asahi.alerts"):
        await one.look(NOW)
        await one.look(NOW + timedelta(seconds=20))
    assert await kinds(storage) == {"cost_spike": 1}
    assert await kinds(storage, "there") == {}
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["alert raised"]
    (alert,) = await storage.repositories.alerts.unresolved("here")
    assert alert.current_value == pytest.approx(1e-5)
    assert alert.expected_value == pytest.approx(1e-6)
    assert alert.severity == "critical"


@pytest.mark.parametrize("engine", ["memory", "sqlite", "postgres"])
async def test_two_workers_raise_one_alert(engine, tmp_path, request):
    url = request.getfixturevalue("fresh_database_url") if engine == "postgres" else None
    async with kit.stored(engine, tmp_path, url) as storage:
        await filled(day(), spike(latency_ms=900.0), storage=storage)
        if engine == "memory":
            others = [watch(storage) for _ in range(4)]
            await asyncio.gather(*(each.look(NOW) for each in others))
        else:
            async with kit.stored(engine, tmp_path, url) as second:
                others = [watch(each) for each in (storage, second, storage, second)]
                await asyncio.gather(*(each.look(NOW) for each in others))
        assert await kinds(storage) == {"cost_spike": 1, "latency_spike": 1}


async def test_a_quiet_quarter_of_an_hour_resolves_and_less_does_not():
    storage = await filled(day(), spike())
    await watch(storage).look(NOW)
    # The spike leaves the last hour 60 minutes after its last request.
    await watch(storage).look(NOW + timedelta(minutes=65))
    assert len(await storage.repositories.alerts.unresolved("here")) == 1
    await watch(storage).look(NOW + timedelta(minutes=76))
    assert await storage.repositories.alerts.unresolved("here") == []
    (alert,) = await storage.repositories.alerts.of_org("here")
    assert alert.resolved_at == NOW + timedelta(minutes=76)


async def test_what_gets_worse_is_revised_and_not_raised_again():
    storage = await filled(day(), spike(cost=2_500))
    one = watch(storage)
    await one.look(NOW)
    (alert,) = await storage.repositories.alerts.unresolved("here")
    assert alert.severity == "warning"
    await filled(spike(ago=0.5, cost=9_000), storage=storage)
    await one.look(NOW)
    (worse,) = await storage.repositories.alerts.of_org("here")
    assert (worse.alert_id, worse.severity) == (alert.alert_id, "critical")


async def test_a_broken_ledger_is_told_and_stays_told():
    storage = await filled(day())
    one = watch(storage)
    await one.look(NOW)
    assert "ledger_mismatch" not in await kinds(storage)
    await filled(spike(cost=1_000), storage=storage)
    chain = storage.ledger._chains["here"]
    chain[-1] = msgspec.structs.replace(chain[-1], cost=1)
    await one.look(NOW)
    await one.look(NOW + timedelta(hours=1))
    (alert,) = [each for each in await storage.repositories.alerts.unresolved("here") if "ledger" in each.anomaly_type]
    assert alert.severity == "critical"
    assert "hash" in alert.message


async def test_a_ledger_that_lost_its_end_is_told():
    storage = await filled(day())
    one = watch(storage)
    await one.look(NOW)
    storage.ledger._heads["here"] = type(storage.ledger._heads["here"])(3, "0" * 64)
    await one.look(NOW)
    assert (await kinds(storage))["ledger_mismatch"] == 1


async def test_a_gap_in_the_audit_log_is_told():
    storage = await filled(day())

    async def note(action):
        entry = AuditEntry(entry_id=new_id(), timestamp=NOW, org_id="here", user_id="a", action=action, resource="x")
        async with storage.together() as repositories:
            await repositories.audit.append([entry])

    for action in ("one", "two", "three"):
        await note(action)
    await watch(storage).look(NOW)
    assert "audit_gap" not in await kinds(storage)
    rows = storage.repositories.audit._entries
    await rows.remove("here", {"action": "two"})
    await watch(storage).look(NOW)
    assert (await kinds(storage))["audit_gap"] == 1
    assert AUDIT.table == "audit_entries"


async def test_more_tokens_than_estimated_are_told():
    right = [settled(each, cost=1_000) for each in range(1, 13)]
    over = [Settled(each.event, estimated(each.event, 800)) for each in right]
    costs = [1_000] * 10 + [4_000] * 2
    chance = [settled(each, cost=cost) for each, cost in enumerate(costs, 1)]
    chance = [Settled(each.event, estimated(each.event, 1_000)) for each in chance]
    assert sum(costs) > 1.2 * 12_000
    for batch, wanted in ((right, 0), (over, 1), (over[:9], 0), (chance, 0)):
        storage = await filled(batch)
        await watch(storage).look(NOW)
        assert (await kinds(storage))["token_overrun"] == wanted


class Wrong:
    """A tier that breaks its bound."""

    def __init__(self, state):
        self.state = state

    def precision(self, org):
        class Precision:
            task, labels, labelled_hits, false_hits, max_error_rate = "faq", 100, 50, 5, 0.01
            state = self.state

        return [Precision()] if org == "here" else []


async def test_a_cache_beyond_its_error_bound_is_told_and_resolved_by_who_saw_it():
    storage = await filled(day(), day("there"))
    one = watch(storage)
    one._gateway.tiers = {"semantic": Wrong("breached")}
    await one.look(NOW)
    assert (await kinds(storage), await kinds(storage, "there")) == ({"false_hits": 1}, {})
    other = watch(storage)
    await other.look(NOW)
    await other.look(NOW + timedelta(minutes=10))
    one._gateway.tiers = {"semantic": Wrong("serving")}
    await one.look(NOW + timedelta(minutes=14))
    assert len(await storage.repositories.alerts.unresolved("here")) == 1
    await one.look(NOW + timedelta(minutes=16))
    assert await storage.repositories.alerts.unresolved("here") == []


async def test_a_resting_provider_is_told_to_the_operator():
    class Resting:
        def health(self):
            return "resting"

    storage = await filled(day())
    one = watch(storage)
    one._gateway.upstreams = {"openai": Resting()}
    await one.look(NOW)
    assert (await kinds(storage, "default"), await kinds(storage)) == ({"provider_down": 1}, {})


@asynccontextmanager
async def receiver(status: str = "200 OK", headers: str = ""):
    """A loopback server that keeps what it is sent."""
    got: list[tuple[str, dict]] = []

    async def serve(reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(
                next(line for line in head.lower().split("\r\n") if line.startswith("content-length")).split(":")[1]
            )
            got.append((head.split("\r\n")[0], json.loads(await reader.readexactly(length))))
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n{headers}\r\n".encode())
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", got


async def until(condition, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_webhook_is_told_when_raised_and_when_resolved():
    storage = await filled(day(), spike())
    async with receiver() as (url, got):
        config = AlertsConfig(webhook_url=Secret(f"{url}/hook?token=1"))
        gateway = kit.gateway_of(storage)
        async with open_webhook(config, gateway.faults) as webhook:
            one = Watch(gateway, storage, Teller(gateway.faults, webhook))
            await one.look(NOW)
            await one.look(NOW + timedelta(minutes=76))
            await until(lambda: len(got) == 2)
    assert [line for line, _ in got] == ["POST /hook?token=1 HTTP/1.1"] * 2
    assert [(body["state"], body["anomaly_type"], body["org_id"]) for _, body in got] == [
        ("raised", "cost_spike", "here"),
        ("resolved", "cost_spike", "here"),
    ]


async def test_no_redirect_is_followed():
    storage = await filled(day(), spike())
    async with (
        receiver() as (elsewhere, stolen),
        receiver("307 Elsewhere", f"location: {elsewhere}/\r\n") as (url, got),
    ):
        gateway = kit.gateway_of(storage)
        async with open_webhook(AlertsConfig(webhook_url=Secret(url)), gateway.faults) as webhook:
            await Watch(gateway, storage, Teller(gateway.faults, webhook)).look(NOW)
            await until(lambda: gateway.faults["alerts.webhook"] >= 1)
        assert got
        assert stolen == []


async def test_a_dead_webhook_harms_nothing():
    storage = await filled(day(), spike())
    gateway = kit.gateway_of(storage)
    async with open_webhook(AlertsConfig(webhook_url=Secret("http://127.0.0.1:9/")), gateway.faults) as webhook:
        one = Watch(gateway, storage, Teller(gateway.faults, webhook))
        async with asyncio.timeout(2):
            await one.look(NOW)
            for _ in range(300):
                one._teller.tell("raised", (await storage.repositories.alerts.unresolved("here"))[0])
        await until(lambda: gateway.faults["alerts.webhook"] >= 1)
    assert await kinds(storage) == {"cost_spike": 1}


@pytest.mark.parametrize("url", ["ftp://host/", "http://", "hook", "http://u:p@host/", "http://host/a b"])
async def test_an_address_that_is_none_stops_the_start(url):
    with pytest.raises(ConfigError, match="webhook_url"):
        async with open_webhook(AlertsConfig(webhook_url=Secret(url)), Counter()):
            pass


async def test_the_service_looks_by_itself():
    now = datetime.now(UTC)
    storage = await filled()
    shift = now - NOW
    moved = [
        Settled(msgspec.structs.replace(each.event, timestamp=each.event.timestamp + shift), each.decision)
        for each in [*day(), *spike()]
    ]
    await storage.books.post(moved)
    async with open_alerts(AlertsConfig(interval_s=0.05), kit.gateway_of(storage)):
        async with asyncio.timeout(5):
            while not await storage.repositories.alerts.unresolved("here"):
                await asyncio.sleep(0.02)


async def test_one_org_that_fails_does_not_keep_the_others_from_being_looked_at():
    storage = await filled(day("aaa"), spike("aaa"), day(), spike())
    one = watch(storage)
    look = one._look_at

    async def broken(org, now):
        if org == "aaa":
            raise RuntimeError
        await look(org, now)

    one._look_at = broken
    await one.look(NOW)
    assert (await kinds(storage, "aaa"), await kinds(storage)) == ({}, {"cost_spike": 1})
    assert one._gateway.faults["alerts"] == 1
