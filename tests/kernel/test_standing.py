"""What holds for an org: looked up once a second, believed while storage is away, defaults where nothing is kept."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest

from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.errors import Unavailable
from asahi_kernel.preferences import Caching, Preferences, read
from asahi_kernel.repositories.rules import OrgPolicy, SettingsOf
from asahi_kernel.settings import DefaultPolicy
from asahi_kernel.standing import Standings

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 1, tzinfo=UTC)
DEFAULT = DefaultPolicy(max_cost_per_day=2.5, max_requests_per_day=7)


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


class Dead:
    """Stands in for the policies of a storage that cannot be reached."""

    def __init__(self, policies):
        self.policies, self.dead, self.asked = policies, False, 0

    async def get_policy(self, org, version=None):
        self.asked += 1
        if self.dead:
            raise OSError("no route to host")
        return await self.policies.get_policy(org, version)


@pytest.fixture
def kept():
    storage = MemoryStorage(1_000)
    storage.repositories.policies = Dead(storage.repositories.policies)
    clock = Clock()
    return storage, Standings(storage, DEFAULT, Counter(), clock), clock


async def save(storage, **fields):
    policies = storage.repositories.policies.policies
    await policies.save_policy(OrgPolicy(org_id="acme", updated_at=NOW, **fields))


async def test_an_org_without_a_policy_has_the_operators_default(kept):
    _, standings, _ = kept
    policy = (await standings.of("acme")).policy
    assert (policy.version, policy.max_cost_per_day, policy.max_requests_per_day) == (0, 2_500_000_000, 7)


async def test_a_change_is_in_force_within_a_second(kept):
    storage, standings, clock = kept
    await standings.of("acme")
    await save(storage, blocked_models=("m",))
    clock.now += 1.0
    assert (await standings.of("acme")).policy.blocked_models == ("m",)


async def test_it_is_looked_up_once_a_second_however_many_ask(kept):
    storage, standings, _ = kept
    await asyncio.gather(*[standings.of("acme") for _ in range(50)])
    assert storage.repositories.policies.asked == 1


async def test_what_was_changed_here_holds_at_once(kept):
    storage, standings, _ = kept
    await standings.of("acme")
    await save(storage, blocked_models=("m",))
    standings.forget("acme")
    assert (await standings.of("acme")).policy.version == 1


async def test_while_storage_is_away_what_is_known_holds_for_five_minutes_and_no_longer(kept):
    storage, standings, clock = kept
    await save(storage, blocked_models=("m",))
    await standings.of("acme")
    storage.repositories.policies.dead = True
    clock.now += 299
    assert (await standings.of("acme")).policy.blocked_models == ("m",)
    clock.now += 2
    with pytest.raises(Unavailable):
        await standings.of("acme")


async def test_a_stranger_is_refused_while_storage_is_away(kept):
    storage, standings, _ = kept
    storage.repositories.policies.dead = True
    with pytest.raises(Unavailable) as refused:
        await standings.of("acme")
    assert (refused.value.status, refused.value.code) == (503, "storage_unavailable")


async def test_it_comes_back_by_itself(kept):
    storage, standings, clock = kept
    await standings.of("acme")
    storage.repositories.policies.dead = True
    clock.now += 5
    await standings.of("acme")
    storage.repositories.policies.dead = False
    await save(storage, blocked_models=("m",))
    await standings.of("acme")
    await asyncio.sleep(0.01)
    assert (await standings.of("acme")).policy.version == 1


async def test_preferences_are_those_that_were_kept(kept):
    storage, standings, _ = kept
    body = {"cache": {"t2_max_error_rate": 0.05}}
    await storage.repositories.settings.save(SettingsOf(org_id="acme", updated_at=NOW, body=body), 0)
    assert (await standings.of("acme")).preferences == Preferences(cache=Caching(t2_max_error_rate=0.05))
    assert (await standings.of("other")).preferences == Preferences()


def test_a_group_that_cannot_be_read_is_at_its_defaults():
    found = read({"cache": {"no_such_key": 1}, "privacy": {"pii_action": "block"}})
    assert (found.cache, found.privacy.pii_action) == (Caching(), "block")


async def test_a_frozen_storage_keeps_nobody_waiting_for_what_is_known(kept):
    storage, standings, clock = kept
    await save(storage, blocked_models=("m",))
    await standings.of("acme")

    async def frozen(org, version=None):
        await asyncio.sleep(60)

    storage.repositories.policies.get_policy = frozen
    clock.now += 5
    for _ in range(3):
        async with asyncio.timeout(0.9):
            assert (await standings.of("acme")).policy.blocked_models == ("m",)


async def test_a_look_that_began_before_a_change_is_not_kept(kept):
    storage, standings, _ = kept
    policies, read_it, gate = storage.repositories.policies, asyncio.Event(), asyncio.Event()
    get = policies.get_policy

    async def slow(org, version=None):
        found = await get(org, version)
        read_it.set()
        await gate.wait()
        return found

    policies.get_policy = slow
    before = asyncio.create_task(standings.of("acme"))
    await read_it.wait()
    policies.get_policy = get
    await save(storage, blocked_models=("m",))
    standings.forget("acme")
    assert (await standings.of("acme")).policy.version == 1
    gate.set()
    assert (await before).policy.version == 0
    assert (await standings.of("acme")).policy.version == 1
