"""Rates, quotas and budgets in one process: who is refused, with what words, and what is charged."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.kernel.kit import ask, events_of, faults
from tests.plugins.limits.kit import DOLLAR, allot, limited, rule

import asahi_limits
from asahi_kernel import clock
from asahi_kernel.errors import Exhausted, NoRoute, ProviderFailed, Unavailable
from asahi_kernel.repositories.budgets import Ask
from asahi_kernel.repositories.people import Tenant
from asahi_kernel.testing import ASK, HERE, THERE, PolicyContract
from asahi_kernel.types import Completion, Message, Request, Usage
from asahi_limits.calendar import end_of, start_of
from asahi_limits.leasing import leases_of

pytestmark = pytest.mark.anyio
RATE, QUOTA, BUDGET = asahi_limits.register_policies()
ANN = msgspec.structs.replace(HERE, key_id="k1")
BOB = msgspec.structs.replace(HERE, user="bob", key_id="k2")
PRICED = [{"name": "m", "provider": "one", "cost_per_1k_input_tokens": 1.0, "cost_per_1k_output_tokens": 1.0}]


@pytest.fixture
def moving():
    with clock.moving():
        yield


class TestRate(PolicyContract):
    factory = RATE


class TestQuota(PolicyContract):
    factory = QUOTA


class TestBudget(PolicyContract):
    factory = BUDGET


class One:
    """A model whose answers are as long as it is told."""

    def __init__(self, tokens=10):
        self.tokens, self.calls, self.gate = tokens, 0, None

    async def complete(self, model, request):
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        return Completion(text="word " * self.tokens, model=model.name, usage=Usage(10, self.tokens))


def costly(one, **tree):
    return {"models": PRICED, "providers": {"one": {"max_retries": 0}}, "kinds": {"providers": ("one", one)}, **tree}


def today(budget, window="day"):
    return Ask(budget_id=budget.budget_id, window_start=start_of(window, datetime.now(UTC)), limit=None)


def question(text="?", **fields):
    return Request(messages=(Message("user", text),), max_tokens=10, **fields)


async def test_a_key_may_ask_so_often_a_minute():
    async with limited("rate", api={"rate_limit_per_minute": 2}) as gateway:
        for _ in range(2):
            await ask(gateway, principal=ANN)
        with pytest.raises(Exhausted) as refused:
            await ask(gateway, principal=ANN)
        assert (refused.value.status, refused.value.code) == (429, "rate_limited")
        assert 0 < refused.value.retry_after <= 60
        assert refused.value.details["limit"] == refused.value.details["used"] == 2
        await ask(gateway, principal=BOB)


async def test_an_orgs_requests_a_minute_count_over_its_keys():
    async with limited("rate", policy={"max_requests_per_minute": 2}) as gateway:
        for principal in (ANN, BOB):
            await ask(gateway, principal=principal)
        with pytest.raises(Exhausted, match="organisation 'here' may use 2 requests"):
            await ask(gateway, principal=ANN)
        await ask(gateway, principal=THERE)


async def test_zero_is_no_limit():
    async with limited("rate", api={"rate_limit_per_minute": 0}) as gateway:
        for number in range(150):
            await ask(gateway, question(str(number)), ANN)


async def test_tokens_beyond_the_estimate_count_too():
    one = One(tokens=900)
    async with limited("rate", policy={"max_tokens_per_minute": 1_000}, **costly(one)) as gateway:
        await ask(gateway, question())
        while gateway._tasks:
            await asyncio.gather(*gateway._tasks)
        with pytest.raises(Exhausted, match="1000 tokens a minute"):
            await ask(gateway, question("another " * 100))


async def test_a_counter_of_this_worker_alone_allows_its_share():
    async with limited("rate", api={"rate_limit_per_minute": 8, "workers": 4}) as gateway:
        for _ in range(2):
            await ask(gateway, principal=ANN)
        with pytest.raises(Exhausted):
            await ask(gateway, principal=ANN)


async def test_a_broken_counter_lets_nobody_through():
    async with limited("rate") as gateway:

        async def broken(*given):
            raise OSError("away")

        gateway.counter.take = broken
        with pytest.raises(Unavailable):
            await ask(gateway)


async def test_hits_count_towards_the_quota():
    """PL-2, BU-5: ten requests a day, all but the first from the cache; the eleventh is refused."""
    async with limited("quota", policy={"max_requests_per_day": 10}) as gateway:
        answers = [await ask(gateway) for _ in range(10)]
        assert sum(answer.hit is not None for answer in answers) == 9
        with pytest.raises(Exhausted) as refused:
            await ask(gateway)
        assert refused.value.code == "quota_exceeded"
        assert refused.value.details["resets_at"] == end_of("day", datetime.now(UTC)).isoformat()
        await ask(gateway, principal=THERE)


@pytest.mark.parametrize(("enforced", "passed"), [(True, 3), (False, 5)])
async def test_a_plan_bounds_what_a_policy_allows(enforced, passed):
    """10.11: the smaller of both, where plans are enforced."""
    plans = {"tiny": {"requests_per_day": 3, "models": 1, "users": 1}}
    tenants = {"enforce_plans": enforced, "plans": plans}
    async with limited("quota", policy={"max_requests_per_day": 5}, tenants=tenants) as gateway:
        now = datetime.now(UTC)
        tenant = Tenant(org_id="here", name="Here", created_at=now, updated_at=now, plan="tiny")
        await gateway.storage.repositories.tenants.create(tenant)
        gateway.standings.forget("here")
        got = [await admitted(gateway) for _ in range(6)]
    assert got.count(True) == passed


async def admitted(gateway):
    try:
        await gateway.policies["quota"].admit(ASK, HERE)
    except Exhausted:
        return False
    return True


async def test_a_large_quota_is_met_exactly_though_it_is_taken_in_bundles():
    async with limited("quota", policy={"max_requests_per_day": 1_010}) as gateway:
        policy = gateway.policies["quota"]
        got = await asyncio.gather(*[policy.admit(ASK, HERE) for _ in range(1_200)], return_exceptions=True)
        assert sum(isinstance(each, Request) for each in got) == 1_010
        assert {type(each) for each in got} == {Request, Exhausted}


async def test_the_next_day_has_a_quota_of_its_own(moving):
    async with limited("quota", policy={"max_requests_per_day": 1}) as gateway:
        await ask(gateway)
        with pytest.raises(Exhausted):
            await ask(gateway)
        clock.move(clock.now() + timedelta(days=1))
        await ask(gateway)


async def test_a_request_that_does_not_fit_is_refused_and_told_why():
    one = One()
    async with limited("budget", **costly(one)) as gateway:
        await allot(gateway, DOLLAR // 100)
        with pytest.raises(Exhausted) as refused:
            await ask(gateway, question())
        assert (refused.value.code, refused.value.details["limit"]) == ("budget_exceeded", 0.01)
        assert refused.value.details["needed"] > 0.01
        assert one.calls == 0
        (event,) = await events_of(gateway)
        assert (event.status, event.cost) == ("denied", 0)


async def test_what_was_billed_is_charged_and_nothing_stays_held():
    async with limited("budget", **costly(One())) as gateway:
        kept = await allot(gateway, DOLLAR)
        for number in range(5):
            await ask(gateway, question(str(number)))
        (window,) = await leases_of(gateway).windows("here", [today(kept)])
        events = await events_of(gateway)
        assert (window.spent, window.held) == (sum(event.cost for event in events), 0)
        assert window.spent == 5 * 20 * DOLLAR // 1_000


@pytest.mark.parametrize(("level", "subject"), [("org", "here"), ("user", "ann"), ("key", "k1")])
async def test_budgets_nest_and_bind_whom_they_name(level, subject):
    """BU-2, A5: the smallest cap decides, and a refusal leaves nothing held in the others."""
    async with limited("budget", **costly(One())) as gateway:
        wide = await allot(gateway, 1_000 * DOLLAR, "org", "here", window="month")
        await allot(gateway, DOLLAR // 100, level, subject)
        with pytest.raises(Exhausted, match=f"{'organisation' if level == 'org' else level} '{subject}'"):
            await ask(gateway, question(), ANN)
        (window,) = await leases_of(gateway).windows("here", [today(wide, "month")])
        assert (window.spent, window.held) == (0, 0)
        if level != "org":
            await ask(gateway, question(), BOB)
        await ask(gateway, question(), THERE)


async def test_the_money_limits_of_a_policy_are_budgets():
    async with limited("budget", policy={"max_cost_per_day": DOLLAR // 20}, **costly(One())) as gateway:
        await ask(gateway, question("a"))
        with pytest.raises(Exhausted, match=r"budget of organisation 'here' for a day is \$0\.05"):
            await asyncio.gather(*[ask(gateway, question(str(number))) for number in range(5)])
        await rule(gateway, max_cost_per_request=DOLLAR // 1_000)
        with pytest.raises(Exhausted, match=r"for a request is \$0\.001"):
            await ask(gateway, question("c"))


async def test_hits_need_no_budget():
    async with limited("budget", **costly(One())) as gateway:
        await ask(gateway, question())
        await allot(gateway, 1)
        assert (await ask(gateway, question())).hit is not None


async def test_a_warning_never_refuses_and_raises_an_alert_once():
    async with limited("budget", **costly(One()), policies={"budget": {"alert_s": 0.001}}) as gateway:
        await allot(gateway, DOLLAR // 50, action="warn", alert_at=(0.5, 1.0))
        for number in range(4):
            await ask(gateway, question(str(number)))
            await asyncio.sleep(0.002)
        while gateway._tasks:
            await asyncio.gather(*gateway._tasks)
        alerts = await gateway.storage.repositories.alerts.of_org("here")
        assert [each.severity for each in alerts] == ["critical"]
        assert "has spent $0.02 of $0.02: 100% reached" in alerts[0].message


async def test_a_model_without_a_price_is_refused_only_where_a_budget_binds():
    unpriced = {"models": [{"name": "m", "provider": "one"}]}
    async with limited("budget", **{**costly(One()), **unpriced}) as gateway:
        await ask(gateway, question())
        await allot(gateway, DOLLAR)
        with pytest.raises(NoRoute) as refused:
            await ask(gateway, question("b"))
        assert refused.value.code == "price_unknown"
        await ask(gateway, question("b"), THERE)


async def test_a_reply_longer_than_held_is_charged_and_counted():
    """BU-3, A7: three times max_tokens."""
    async with limited("budget", **costly(One(tokens=300))) as gateway:
        kept = await allot(gateway, DOLLAR // 10)
        await ask(gateway, question())
        (window,) = await leases_of(gateway).windows("here", [today(kept)])
        assert window.spent == 310 * DOLLAR // 1_000
        assert gateway.faults["budget.overshoot"] == 1
        with pytest.raises(Exhausted):
            await ask(gateway, question("b"))


async def test_a_failed_request_gives_back_what_it_held():
    async with limited("budget", **faults({"status": 500}, max_retries=0)) as gateway:
        kept = await allot(gateway, DOLLAR)
        with pytest.raises(ProviderFailed):
            await ask(gateway, question())
        (window,) = await leases_of(gateway).windows("here", [today(kept)])
        assert window.held == 0


async def test_a_window_that_is_met_late_starts_from_the_books():
    """A budget of today that is made at noon knows what the morning cost; a counter that lost all learns it again."""
    async with limited("budget", **costly(One())) as gateway:
        await ask(gateway, question("a"))
        await gateway.journal.flush()
        kept = await allot(gateway, DOLLAR)
        await ask(gateway, question("b"))
        (window,) = await leases_of(gateway).windows("here", [today(kept)])
        assert window.spent == 2 * 20 * DOLLAR // 1_000


async def test_a_reset_gives_nothing_away(moving):
    """BU-4, A14: requests on both sides of midnight; each window keeps its cap."""
    async with limited("budget", **costly(One())) as gateway:
        kept = await allot(gateway, DOLLAR)
        policy = gateway.policies["budget"]
        await policy.admit(ASK, HERE)
        days = []
        for offset in (timedelta(0), timedelta(days=1)):
            clock.move(clock.now() + offset)
            ids = [f"{offset.days}-{number}" for number in range(250)]
            got = await asyncio.gather(
                *[policy.reserve(each, HERE, DOLLAR // 10) for each in ids], return_exceptions=True
            )
            days.append(sum(each is None for each in got))
            for each, taken in zip(ids, got, strict=True):
                if taken is None:
                    await policy.settle(each, HERE, DOLLAR // 10)
        assert days == [10, 10]
        now = datetime.now(UTC)
        starts = [start_of("day", now), start_of("day", now + timedelta(days=1))]
        windows = await leases_of(gateway).windows(
            "here", [Ask(budget_id=kept.budget_id, window_start=start, limit=None) for start in starts]
        )
        assert [window.spent for window in windows] == [DOLLAR, DOLLAR]


async def test_budgets_that_cannot_be_looked_up_let_nobody_through_whom_nobody_knows():
    async with limited("budget", **costly(One())) as gateway:

        async def dead(org):
            raise OSError("away")

        gateway.storage.budgets.of_org = dead
        with pytest.raises(Unavailable) as refused:
            await ask(gateway, question())
        assert (refused.value.status, refused.value.code) == (503, "storage_unavailable")


def test_windows_end_with_the_utc_calendar():
    late = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert start_of("month", late) == datetime(2026, 12, 1, tzinfo=UTC)
    assert end_of("month", late) == end_of("day", late) == datetime(2027, 1, 1, tzinfo=UTC)
    assert end_of("request", late) is None
