"""The contracts of what governance keeps: keys, logins, tenants, policies, settings, audit, budgets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from asahi_kernel.identity import new_id
from asahi_kernel.ledger import Head
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.audit import AuditEntry, AuditQuery, Checkpoint, fault
from asahi_kernel.repositories.budgets import Ask, Budget, Settlement
from asahi_kernel.repositories.people import ApiKey, Login, Tenant
from asahi_kernel.repositories.rules import ComplianceProfile, OrgPolicy, SettingsOf
from asahi_kernel.testing.contracts import Contract

NOW = datetime(2026, 11, 26, 12, 0, 0, 123_456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


class KeysContract(Contract):
    """10.1."""

    def key(self, key_id: str = "abc", org: str = "here", **fields: Any) -> ApiKey:
        """A key with a value in most fields."""
        given: dict[str, Any] = {
            "key_hash": "h" * 64,
            "pepper_version": 2,
            "user_id": "ann",
            "scopes": ("infer", "admin"),
            "name": "ci",
        }
        times: dict[str, Any] = {"created_at": NOW, "expires_at": NOW + DAY}
        return ApiKey(key_id=key_id, org_id=org, **(given | times | fields))

    async def test_what_was_stored_is_got_by_its_id_alone(self, subject: Any) -> None:
        assert isinstance(subject, Governing)
        keys = subject.repositories.keys
        assert await keys.store_key(self.key())
        assert not await keys.store_key(self.key(org="there"))
        assert await keys.get_key("abc") == self.key()
        assert await keys.get_key("unknown") is None
        assert await keys.find("there", "abc") is None

    async def test_an_org_lists_its_own_newest_first(self, subject: Any) -> None:
        keys = subject.repositories.keys
        for number in range(4):
            await keys.store_key(self.key(f"k{number}", created_at=NOW + number * MINUTE, user_id=f"u{number % 2}"))
        await keys.store_key(self.key("other", "there"))
        assert await keys.revoke_key("here", "k3", NOW, "ann")
        assert [key.key_id for key in await keys.of_org("here")] == ["k2", "k1", "k0"]
        assert [key.key_id for key in await keys.of_org("here", include_revoked=True, limit=2)] == ["k3", "k2"]
        assert [key.key_id for key in await keys.of_org("here", user="u0", before=NOW + MINUTE)] == ["k0"]

    async def test_a_key_is_revoked_once_by_its_own_org(self, subject: Any) -> None:
        keys = subject.repositories.keys
        await keys.store_key(self.key())
        assert not await keys.revoke_key("there", "abc", NOW, "eve")
        assert await keys.revoke_key("here", "abc", NOW, "ann")
        assert not await keys.revoke_key("here", "abc", NOW + DAY, "bob")
        assert await keys.get_key("abc") == self.key(revoked=True, revoked_at=NOW, revoked_by="ann")

    async def test_use_is_noted_at_most_once_a_minute(self, subject: Any) -> None:
        keys = subject.repositories.keys
        await keys.store_key(self.key())
        assert await keys.touch("here", "abc", NOW)
        assert not await keys.touch("here", "abc", NOW + MINUTE / 2)
        assert await keys.touch("here", "abc", NOW + MINUTE)
        assert await keys.rehash("here", "abc", "new", 3)
        assert (await keys.get_key("abc")).key_hash == "new"


class LoginsContract(Contract):
    """10.3."""

    async def test_a_login_lives_until_it_ends(self, subject: Any) -> None:
        logins = subject.repositories.logins
        login = Login(
            login_hash="h",
            key_id="k",
            org_id="here",
            user_id="ann",
            created_at=NOW,
            expires_at=NOW + DAY,
            last_seen_at=NOW,
        )
        assert await logins.start(login)
        assert not await logins.start(login)
        assert await logins.get("h") == login
        assert await logins.see("here", "h", NOW + MINUTE)
        assert [each.login_hash for each in await logins.of_user("here", "ann")] == ["h"]
        assert await logins.of_user("there", "ann") == await logins.of_user("here", "bob") == []
        assert not await logins.confirm("there", "h", NOW)
        assert await logins.confirm("here", "h", NOW + MINUTE)
        assert (await logins.get("h")).confirmed_at == NOW + MINUTE
        assert not await logins.end("there", "h")
        assert await logins.end_of_key("here", "k") == 1
        assert (await logins.get("h")).revoked
        assert not await logins.see("here", "h", NOW + DAY)
        assert not await logins.confirm("here", "h", NOW + DAY)
        assert await logins.expire(NOW + DAY) == 1
        assert await logins.get("h") is None


class TenantsContract(Contract):
    """10.11."""

    async def test_tenants_are_created_once_and_updated(self, subject: Any) -> None:
        tenants = subject.repositories.tenants
        tenant = Tenant(org_id="here", name="Here Ltd", created_at=NOW, updated_at=NOW, cache_salt=b"\x00salt")
        assert await tenants.create(tenant)
        assert not await tenants.create(msgspec.structs.replace(tenant, name="another"))
        assert await tenants.get("here") == tenant
        suspended = msgspec.structs.replace(tenant, status="suspended", updated_at=NOW + DAY)
        assert await tenants.update(suspended)
        assert not await tenants.update(msgspec.structs.replace(tenant, org_id="nobody"))
        assert list(await tenants.list()) == [suspended]


class RulesContract(Contract):
    """10.4, 10.8, 10.12: versions."""

    async def test_the_highest_version_is_in_force_and_history_stays(self, subject: Any) -> None:
        policies = subject.repositories.policies
        policy = OrgPolicy(org_id="here", updated_at=NOW, allowed_models=("a", "b"), max_cost_per_day=5_000_000_000_000)
        assert (await policies.save_policy(policy)).version == 1
        assert (await policies.save_policy(policy, expected=1)).version == 2
        assert await policies.save_policy(policy, expected=1) is None
        assert await policies.get_policy("here") == msgspec.structs.replace(policy, version=2)
        assert await policies.get_policy("here", 1) == policy
        assert await policies.get_policy("there") is None
        assert (await policies.delete_policy("here", NOW, "ann")).version == 3
        assert await policies.get_policy("here") is None
        assert [each.version for each in await policies.history("here")] == [3, 2, 1]

    async def test_of_many_writers_of_one_version_one_wins(self, subject: Any) -> None:
        policies, settings = subject.repositories.policies, subject.repositories.settings
        policy = OrgPolicy(org_id="here", updated_at=NOW)
        saved = await asyncio.gather(*[policies.save_policy(policy, expected=0) for _ in range(8)])
        assert sum(each is not None for each in saved) == 1
        mine = SettingsOf(org_id="here", updated_at=NOW, body={"general": {"timezone": "UTC", "n": 1}})
        first = await asyncio.gather(*[settings.save(mine, 0) for _ in range(8)])
        second = await asyncio.gather(*[settings.save(mine, 1) for _ in range(8)])
        assert [sum(each is not None for each in saved) for saved in (first, second)] == [1, 1]
        assert await settings.get("here") == msgspec.structs.replace(mine, version=2)
        assert await settings.get("there") is None

    async def test_a_profile_has_its_own_version(self, subject: Any) -> None:
        compliance = subject.repositories.compliance
        profile = ComplianceProfile(org_id="here", updated_at=NOW, frameworks=("hipaa",), allowed_providers=())
        assert await compliance.get("here") is None
        assert (await compliance.save(profile)).version == 1
        assert (await compliance.save(profile)).version == 2
        assert await compliance.get("here") == msgspec.structs.replace(profile, version=2)


class AuditContract(Contract):
    """10.7."""

    def entry(self, org: str = "here", **fields: Any) -> AuditEntry:
        """Something that somebody did."""
        details = {"a": 1, "b": ["x", None]}
        given = {"action": "policy_update", "resource": "policy", "user_id": "ann", "details": details}
        return AuditEntry(entry_id=new_id(), org_id=org, **({"timestamp": NOW} | given | fields))

    async def test_each_org_has_one_chain_that_verifies(self, subject: Any) -> None:
        """AD-4: also under many writers."""

        async def write() -> None:
            async with subject.together() as repositories:
                await repositories.audit.append([self.entry(), self.entry("there"), self.entry()])

        await asyncio.gather(*[write() for _ in range(10)])
        audit = subject.repositories.audit
        for org, size in (("here", 20), ("there", 10)):
            head = Head()
            async for entry in audit.entries(org):
                assert fault(head, entry) == ""
                head = Head(entry.seq, entry.entry_hash)
            assert head.seq == size
            assert await audit.head(org) == head
            assert await audit.verify_chain(org) == ""

    async def test_all_orgs_are_read_in_the_order_of_appending(self, subject: Any) -> None:
        """The leaves of the tree: emptied details and pages change nothing of it."""
        orgs = ["here", "there", "here", "here", "there"]
        for org in orgs:
            async with subject.together() as repositories:
                await repositories.audit.append([self.entry(org), self.entry("third")])
        audit = subject.repositories.audit
        await audit.empty_details("here", NOW + MINUTE)
        found = [(place, entry) async for place, entry in audit.everything()]
        assert [entry.org_id for _, entry in found] == [each for org in orgs for each in (org, "third")]
        assert [place for place, _ in found] == sorted({place for place, _ in found})
        rest = [entry async for _, entry in audit.everything(found[6][0])]
        assert rest == [entry for _, entry in found[7:]]

    async def test_a_change_and_its_entry_are_kept_together_or_not_at_all(self, subject: Any) -> None:
        """AD-3."""
        policy = OrgPolicy(org_id="here", updated_at=NOW)

        async def broken() -> None:
            async with subject.together() as repositories:
                await repositories.policies.save_policy(policy)
                await repositories.audit.append([self.entry()])
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await broken()
        assert await subject.repositories.policies.get_policy("here") is None
        assert await subject.repositories.audit.head("here") == Head()
        async with subject.together() as repositories:
            await repositories.policies.save_policy(policy)
            await repositories.audit.append([self.entry()])
        assert await subject.repositories.policies.get_policy("here") == policy
        assert (await subject.repositories.audit.head("here")).seq == 1

    async def test_pages_are_filtered_and_newest_first(self, subject: Any) -> None:
        entries = [
            self.entry(action=f"a{number % 2}", timestamp=NOW + number * MINUTE, user_id=f"u{number % 3}")
            for number in range(6)
        ]
        async with subject.together() as repositories:
            await repositories.audit.append([*entries, self.entry("there")])
        audit = subject.repositories.audit
        assert await audit.has(entries[0])
        assert not await audit.has(self.entry())

        async def found(**query: Any) -> list[int]:
            return [entry.seq for entry in await audit.query("here", AuditQuery(**query))]

        assert await found(limit=2) == [6, 5]
        assert await found(limit=2, before=5) == [4, 3]
        assert await found(action="a1") == [6, 4, 2]
        assert await found(user_id="u0", result="success") == [4, 1]
        assert await found(start=NOW + MINUTE, end=NOW + 3 * MINUTE) == [3, 2]
        assert await found(result="denied") == []

    async def test_forgotten_details_do_not_break_the_chain(self, subject: Any) -> None:
        """AD-2."""
        async with subject.together() as repositories:
            await repositories.audit.append([self.entry(), self.entry(timestamp=NOW + DAY)])
        audit = subject.repositories.audit
        assert await audit.empty_details("here", NOW + MINUTE) == 1
        assert [entry.details != {} async for entry in audit.entries("here")] == [False, True]
        assert await audit.verify_chain("here") == ""

    async def test_checkpoints_are_kept_once(self, subject: Any) -> None:
        audit = subject.repositories.audit
        first = Checkpoint(log="audit", size=10, root="r", signed_at=NOW, key_id="k", signature="s")
        assert await audit.checkpoint(first)
        assert not await audit.checkpoint(msgspec.structs.replace(first, root="forged"))
        assert await audit.checkpoint(msgspec.structs.replace(first, size=20))
        assert await audit.checkpoint(msgspec.structs.replace(first, log="savings"))
        assert [each.size for each in await audit.checkpoints("audit")] == [20, 10]


class BudgetsContract(Contract):
    """10.5."""

    def budget(self, budget_id: str = "b1", limit: int = 100, **fields: Any) -> Budget:
        """The org's own for a day."""
        given = {"org_id": "here", "level": "org", "subject": "here", "window": "day"}
        return Budget(budget_id=budget_id, limit=limit, **(given | fields))

    def ask(self, budget_id: str = "b1", limit: int | None = 100) -> Ask:
        """Today's window."""
        return Ask(budget_id=budget_id, window_start=NOW.replace(hour=0), limit=limit)

    async def state(self, subject: Any, budget_id: str = "b1") -> tuple[int, int]:
        """Spent and held."""
        (window,) = await subject.budgets.windows("here", [self.ask(budget_id)])
        return window.spent, window.held

    async def test_one_scope_has_one_budget(self, subject: Any) -> None:
        assert await subject.budgets.save(self.budget()) == self.budget()
        kept = await subject.budgets.save(self.budget("b2", 50))
        assert (kept.budget_id, kept.limit) == ("b1", 50)
        assert list(await subject.budgets.of_org("here")) == [kept]
        assert list(await subject.budgets.of_org("there")) == []
        assert not await subject.budgets.remove("there", "b1")
        assert await subject.budgets.remove("here", "b1")

    async def test_a_cap_is_a_cap(self, subject: Any) -> None:
        """BU-1."""
        await subject.budgets.save(self.budget())
        asked = [subject.budgets.reserve("here", new_id(), 10, [self.ask()], NOW + DAY) for _ in range(40)]
        assert sorted(map(str, await asyncio.gather(*asked))) == ["None"] * 10 + ["b1"] * 30
        assert await self.state(subject) == (0, 100)

    async def test_nested_caps_are_all_or_nothing(self, subject: Any) -> None:
        """BU-2."""
        await subject.budgets.save(self.budget())
        await subject.budgets.save(self.budget("b2", 30, level="user", subject="ann"))
        both = [self.ask(), self.ask("b2", 30)]
        assert await subject.budgets.reserve("here", "r1", 20, both, NOW + DAY) is None
        assert await subject.budgets.reserve("here", "r2", 20, both, NOW + DAY) == "b2"
        assert [await self.state(subject, each) for each in ("b1", "b2")] == [(0, 20), (0, 20)]
        assert await subject.budgets.settle("here", "r1", 25) == Settlement(2, 0)
        assert await subject.budgets.settle("here", "r1", 25) == Settlement(0, 0)
        assert [await self.state(subject, each) for each in ("b1", "b2")] == [(25, 0), (25, 0)]

    async def test_a_second_candidate_holds_the_larger_amount(self, subject: Any) -> None:
        await subject.budgets.save(self.budget())
        for amount, held in ((30, 30), (20, 30), (50, 50)):
            assert await subject.budgets.reserve("here", "r1", amount, [self.ask()], NOW + DAY) is None
            assert await self.state(subject) == (0, held)
        assert await subject.budgets.reserve("here", "r1", 101, [self.ask()], NOW + DAY) == "b1"
        assert await subject.budgets.release("here", "r1") == 1
        assert await self.state(subject) == (0, 0)

    async def test_a_dead_holders_lease_expires_and_a_late_charge_counts(self, subject: Any) -> None:
        await subject.budgets.save(self.budget())
        await subject.budgets.reserve("here", "dead", 40, [self.ask()], NOW)
        await subject.budgets.reserve("here", "alive", 40, [self.ask()], NOW + DAY)
        assert await subject.budgets.expire(NOW + MINUTE) == 1
        assert await subject.budgets.expire(NOW + MINUTE) == 0
        assert await self.state(subject) == (0, 40)
        assert await subject.budgets.settle("here", "dead", 7) == Settlement(0, 1)
        assert await subject.budgets.settle("here", "dead", 7) == Settlement(0, 0)
        assert await self.state(subject) == (7, 40)

    async def test_orgs_neither_hold_nor_settle_for_each_other(self, subject: Any) -> None:
        await subject.budgets.save(self.budget())
        assert await subject.budgets.reserve("there", "r1", 1, [self.ask()], NOW + DAY) == "b1"
        assert await subject.budgets.reserve("here", "r1", 9, [self.ask()], NOW + DAY) is None
        assert await subject.budgets.settle("there", "r1", 9) == Settlement(0, 0)
        assert await subject.budgets.release("there", "r1") == 0
        assert list(await subject.budgets.windows("there", [self.ask()])) == []
        assert await self.state(subject) == (0, 9)

    async def test_without_a_limit_nothing_is_refused_and_all_is_counted(self, subject: Any) -> None:
        await subject.budgets.save(self.budget(action="warn"))
        assert await subject.budgets.reserve("here", "r1", 500, [self.ask(limit=None)], NOW + DAY) is None
        assert await self.state(subject) == (0, 500)
