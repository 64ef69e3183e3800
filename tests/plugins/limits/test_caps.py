"""A cap is a cap over processes, on each place where money can be held; and dead holders do not keep it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.kernel.kit import ask as ask_model
from tests.kernel.kit import gateway_of
from tests.plugins.limits.kit import DOLLAR, allot, limited, rule
from tests.plugins.redis.kit import fresh

from asahi_kernel.errors import Exhausted, Unavailable
from asahi_kernel.repositories.budgets import Ask
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.types import Message, Request
from asahi_limits.calendar import start_of
from asahi_limits.leasing import leases_of

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
PROCESSES, EACH = 4, 250


def tree_of(place: str, request: pytest.FixtureRequest, folder: Path, **budget) -> dict:
    """A gateway's configuration over one shared place."""
    sqlite = {"type": "sqlite", "path": str(folder / "asahi.db")}
    tree = {
        "storage": sqlite,
        "journal": {"dir": str(folder / "journal"), "mode": "memory"},
        "encryption": {"key": "0123456789abcdef" * 4},
        "governance": {"policies": ["budget"], "audit_dir": str(folder / "audit")},
        "policies": {"budget": budget},
    }
    if place == "postgres":
        tree["storage"] = {"type": "postgres", "url": request.getfixturevalue("fresh_database_url")}
    elif place == "redis":
        url = request.getfixturevalue("redis_url")
        tree["counter"] = {"type": "redis", "url": url, "rate_limit_prefix": fresh(), "timeout_ms": 5_000}
    return tree


async def takers(tree: dict, how: str, count: int = EACH, processes: int = PROCESSES) -> list[int]:
    """What each of several processes got, all asking at one time."""
    command = (sys.executable, "-m", "tests.plugins.limits.taker", json.dumps(tree), str(count), how)
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
    started = [await asyncio.create_subprocess_exec(*command, cwd=ROOT, **pipes) for _ in range(processes)]
    for each in started:
        assert await each.stdout.readline() == b"ready\n", await each.stderr.read()
    told = await asyncio.gather(*[each.communicate(b"\n") for each in started])
    assert {each.returncode for each in started} == {9 if how == "die" else 0}, told
    return [int(out) for out, _ in told]


@pytest.mark.parametrize("place", ["sqlite", "postgres", "redis"])
async def test_a_thousand_requests_of_ten_cents_against_five_dollars(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """BU-1, A4: four processes, at once: fifty get in, and the overshoot is $0.00."""
    tree = tree_of(place, request, tmp_path)
    async with gateway_of(tree) as gateway:
        kept = await allot(gateway, 5 * DOLLAR)
    assert sum(await takers(tree, "settle")) == 50
    async with gateway_of(tree) as gateway:
        ask = Ask(budget_id=kept.budget_id, window_start=start_of("day", datetime.now(UTC)), limit=None)
        (window,) = await leases_of(gateway).windows("here", [ask])
    assert (window.spent, window.held) == (5 * DOLLAR, 0)


@pytest.mark.parametrize("place", ["sqlite", "postgres", "redis"])
async def test_a_reset_gives_nothing_away_over_processes(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A14: in each of four processes it is midnight at another moment; each day keeps its cap."""
    tree = tree_of(place, request, tmp_path)
    async with gateway_of(tree) as gateway:
        kept = await allot(gateway, 2 * DOLLAR)
    assert sum(await takers(tree, "reset", 125)) == 40
    async with gateway_of(tree) as gateway:
        days = [start_of("day", datetime.now(UTC) + timedelta(days=offset)) for offset in (0, 1)]
        asks = [Ask(budget_id=kept.budget_id, window_start=day, limit=None) for day in days]
        windows = await leases_of(gateway).windows("here", asks)
    assert [(window.spent, window.held) for window in windows] == [(2 * DOLLAR, 0)] * 2


@pytest.mark.parametrize("place", ["sqlite", "postgres", "redis"])
async def test_what_a_dead_process_holds_is_free_again(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A6: killed with all fifty holds in its hands; a second after their lease nothing is held."""
    tree = tree_of(place, request, tmp_path, lease_extra_s=1)
    tree["providers"] = {"mock": {"timeout_s": 1, "stream_timeout_s": 1}}
    async with gateway_of(tree) as gateway:
        kept = await allot(gateway, 5 * DOLLAR)
        assert await takers(tree, "die", 50, processes=1) == [50]
        ask = Ask(budget_id=kept.budget_id, window_start=start_of("day", datetime.now(UTC)), limit=None)
        policy = gateway.policies["budget"]
        await policy.admit(ASK, HERE)
        with pytest.raises(Exhausted):
            await policy.reserve("mine", HERE, DOLLAR)
        async with asyncio.timeout(10):
            while (await leases_of(gateway).windows("here", [ask]))[0].held:
                await asyncio.sleep(0.1)
        await policy.reserve("mine", HERE, 5 * DOLLAR)


async def test_a_dead_storage_refuses_who_is_bound_and_charges_later_what_it_missed(tmp_path: Path) -> None:
    tree = {
        "storage": {"type": "sqlite", "path": str(tmp_path / "asahi.db")},
        "journal": {"dir": str(tmp_path / "journal"), "mode": "memory"},
        "encryption": {"key": "0123456789abcdef" * 4},
    }
    async with limited("budget", **tree) as gateway:
        kept = await allot(gateway, 5 * DOLLAR)
        policy, leases, budgets = gateway.policies["budget"], leases_of(gateway), gateway.storage.budgets
        leases = gateway.shared["limits.leases"]
        await policy.admit(ASK, HERE)
        await policy.reserve("one", HERE, DOLLAR)
        settle, reserve = budgets.settle, budgets.reserve

        async def dead(*given):
            raise OSError("away")

        budgets.settle = budgets.reserve = dead
        with pytest.raises(OSError, match="away"):
            await policy.settle("one", HERE, DOLLAR // 2)
        with pytest.raises(Unavailable):
            await policy.reserve("two", HERE, DOLLAR)
        budgets.settle, budgets.reserve = settle, reserve
        await leases.sweep()
        ask = Ask(budget_id=kept.budget_id, window_start=start_of("day", datetime.now(UTC)), limit=None)
        (window,) = await leases.windows("here", [ask])
        assert (window.spent, window.held) == (DOLLAR // 2, 0)


async def test_while_storage_is_away_a_worker_has_a_slice_of_the_limit_which_is_charged_later(tmp_path: Path) -> None:
    """D8: what may be overspent is 2 % of the limit for each worker; nothing of it is forgotten."""
    tree = {
        "storage": {"type": "sqlite", "path": str(tmp_path / "asahi.db")},
        "journal": {"dir": str(tmp_path / "journal"), "mode": "memory"},
        "encryption": {"key": "0123456789abcdef" * 4},
    }
    async with limited("budget", **tree) as gateway:
        kept = await allot(gateway, 5 * DOLLAR)
        policy, budgets = gateway.policies["budget"], gateway.storage.budgets
        leases = gateway.shared["limits.leases"]
        await policy.admit(ASK, HERE)
        await policy.reserve("one", HERE, DOLLAR)
        await policy.settle("one", HERE, 3 * DOLLAR)
        working = budgets.settle, budgets.reserve, budgets.expire

        async def dead(*given):
            raise OSError("away")

        budgets.settle = budgets.reserve = budgets.expire = dead
        leases._answered -= 10
        got = await asyncio.gather(
            *[policy.reserve(f"r{number}", HERE, DOLLAR // 100) for number in range(30)], return_exceptions=True
        )
        assert [type(each) for each in got].count(Unavailable) == 20
        for number, each in enumerate(got):
            if each is None:
                await policy.settle(f"r{number}", HERE, DOLLAR // 100)
        budgets.settle, budgets.reserve, budgets.expire = working
        for _ in range(2):
            await leases.sweep()
        ask = Ask(budget_id=kept.budget_id, window_start=start_of("day", datetime.now(UTC)), limit=None)
        (window,) = await leases.windows("here", [ask])
        assert (window.spent, window.held) == (3 * DOLLAR + DOLLAR // 10, 0)


@pytest.mark.parametrize("place", ["sqlite", "postgres", "redis"])
async def test_a_gateway_that_starts_again_charges_the_day_only_once(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """What the first run charged stands in the books too: the second one must not add it as if nobody had."""
    tree = tree_of(place, request, tmp_path)
    tree["governance"]["policies"] = ["quota", "budget"]
    for run in (1, 2, 3):
        async with gateway_of(tree) as gateway:
            await rule(gateway, max_requests_per_day=4_000)
            kept = await allot(gateway, DOLLAR)
            for number in range(run, run + 2):
                await ask_model(gateway, question(f"{run} {number}"))
            await gateway.journal.flush()
            totals = await gateway.storage.events.totals("here", None)
            start = start_of("day", datetime.now(UTC))
            budgets = await gateway.storage.budgets.of_org("here")
            asks = [Ask(budget_id=each.budget_id, window_start=start, limit=None) for each in budgets]
            windows = {each.budget_id: each.spent for each in await leases_of(gateway).windows("here", asks)}
        assert windows[kept.budget_id] == totals.cost > 0
        assert totals.requests == 2 * run
        # A quota is taken in bundles of 20, and what a run had not used of its last is lost.
        assert windows.get(QUOTA, 0) in {0, 20 * run}


QUOTA = f"q-{hashlib.sha256(b'here').hexdigest()[:24]}"


def question(text: str) -> Request:
    return Request(messages=(Message("user", text),))
