"""The contracts of the other repositories: labels, quality, feedback, alerts, bodies, data keys, jobs, agents."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from asahi_kernel.errors import Unstorable
from asahi_kernel.identity import first_id
from asahi_kernel.keyring import Erased, Keyring
from asahi_kernel.repositories import alert_rules
from asahi_kernel.repositories.agents import AgentOutput, AgentProfile, AgentState, SwarmRun
from asahi_kernel.repositories.alert_rules import AlertRule
from asahi_kernel.repositories.judgements import Alert, Judgement, Label, Opinion
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.repositories.work import Body, DataKey, Job
from asahi_kernel.testing.contracts import Contract
from asahi_kernel.vault import Unsealable, ephemeral

NOW = datetime(2026, 11, 26, 12, 0, 0, 123_456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


class JudgementsContract(Contract):
    """5.6, 6.3, 3.12, 11."""

    async def test_labels_are_kept_by_org_and_entry(self, subject: Any) -> None:
        labels = subject.repositories.labels
        mine = [
            Label(
                org_id="here", entry_id=f"e{n}", similarity=0.9, correct=n > 0, source="miss", timestamp=NOW + n * DAY
            )
            for n in range(3)
        ]
        await labels.save([*mine, msgspec.structs.replace(mine[0], org_id="there")])
        assert list(await labels.of_org("here")) == mine[::-1]
        assert list(await labels.of_org("here", since=NOW + DAY)) == [mine[2], mine[1]]
        assert await labels.forget("here", "e0") == 1
        assert list(await labels.of_org("here", entry_id="e0")) == []
        assert len(await labels.of_org("there", entry_id="e0")) == 1

    async def test_a_later_judgement_of_one_user_replaces_the_earlier(self, subject: Any) -> None:
        quality = subject.repositories.quality
        first = Judgement(
            org_id="here",
            request_id="r",
            model="m",
            task_type="faq",
            score=2.5,
            source="feedback",
            timestamp=NOW,
            difficulty="easy",
            user_id="ann",
        )
        await quality.save(
            [first, msgspec.structs.replace(first, user_id="bob"), msgspec.structs.replace(first, model="x")]
        )
        better = msgspec.structs.replace(first, score=4.5, timestamp=NOW + DAY)
        async with subject.together() as repositories:
            await repositories.quality.replace(better)
        found = await quality.of_org("here", model="m")
        assert [(each.user_id, each.score) for each in found] == [("ann", 4.5), ("bob", 2.5)]
        assert list(await quality.of_org("there")) == []

    async def test_a_user_has_one_opinion_of_an_answer(self, subject: Any) -> None:
        feedback = subject.repositories.feedback
        first = Opinion(
            org_id="here", request_id="r", user_id="ann", timestamp=NOW, rating=2.0, comment="né\x00".encode()
        )
        await feedback.save(first)
        later = msgspec.structs.replace(first, rating=5.0, thumb="up", cache_wrong=False, comment=None)
        await feedback.save(later)
        await feedback.save(msgspec.structs.replace(first, user_id="bob"))
        assert await feedback.get("here", "r", "ann") == later
        assert await feedback.get("there", "r", "ann") is None
        assert (await feedback.get("here", "r", "bob")).comment == first.comment
        assert await feedback.forget_user("here", "bob") == 1
        assert list(await feedback.of_org("here")) == [later]

    async def test_an_alert_is_resolved_and_acknowledged_once(self, subject: Any) -> None:
        alerts = subject.repositories.alerts
        alert = Alert(
            alert_id="a",
            org_id="here",
            anomaly_type="cost",
            severity="high",
            metric_name="cost",
            message="dear",
            detected_at=NOW,
            current_value=1.5,
        )
        assert await alerts.raise_alert(alert)
        assert not await alerts.raise_alert(alert)
        assert await alerts.open_of("here", "cost") == alert
        assert not await alerts.acknowledge("there", "a", "eve", NOW)
        assert await alerts.acknowledge("here", "a", "ann", NOW)
        assert not await alerts.acknowledge("here", "a", "bob", NOW)
        assert await alerts.resolve("here", "a", NOW + DAY)
        assert await alerts.open_of("here", "cost") is None
        (kept,) = await alerts.of_org("here", since=NOW)
        assert (kept.acknowledged_by, kept.resolved_at) == ("ann", NOW + DAY)

    def rule(self, rule_id: str = "r", org: str = "here", **fields: Any) -> AlertRule:
        """A rule with a value in most fields."""
        given: dict[str, Any] = {"name": "dear", "metric": "cost", "scope": "user", "subject": "ann", "threshold": 0.1}
        given |= {"direction": "over", "created_at": NOW, "updated_at": NOW, "updated_by": "ann", "for_min": 5}
        return AlertRule(rule_id=rule_id, org_id=org, **(given | fields))

    async def test_a_rule_is_its_orgs_own_and_changed_by_who_saw_it_last(self, subject: Any) -> None:
        rules = subject.repositories.alert_rules
        rule = self.rule()
        assert await rules.add(rule)
        assert not await rules.add(rule)
        assert await rules.get("here", "r") == rule
        assert await rules.get("there", "r") is None
        off = msgspec.structs.replace(rule, enabled=False, threshold=2.5, updated_at=NOW + MINUTE)
        saved = await asyncio.gather(*[rules.save(off) for _ in range(4)])
        assert sum(each is not None for each in saved) == 1
        assert list(await rules.of_org("here")) == [msgspec.structs.replace(off, version=2)]
        assert list(await rules.enabled()) == list(await rules.of_org("there")) == []
        assert await rules.save(msgspec.structs.replace(off, org_id="there", version=2)) is None
        assert not await rules.remove("there", "r")
        assert await rules.remove("here", "r")
        assert await rules.get("here", "r") is None

    async def test_an_org_has_at_most_so_many_rules(self, subject: Any) -> None:
        async def add(number: int) -> bool:
            async with subject.together() as repositories:
                told: bool = await repositories.alert_rules.add(self.rule(f"r{number}"))
                return told

        added = await asyncio.gather(*[add(number) for number in range(alert_rules.MOST + 5)])
        assert sum(added) == alert_rules.MOST == len(await subject.repositories.alert_rules.enabled())
        assert await subject.repositories.alert_rules.add(self.rule("other", "there"))


class WorkContract(Contract):
    """9.2, 10.8."""

    async def test_bodies_are_read_by_their_org_and_forgotten(self, subject: Any) -> None:
        bodies = subject.repositories.bodies
        body = Body(
            request_id="r", org_id="here", subject="here:ann", expires_at=NOW, request=b"\x00\xff?", response=None
        )
        assert await bodies.save(body)
        assert not await bodies.save(body)
        assert await bodies.get("here", "r") == body
        assert await bodies.get("there", "r") is None
        assert await bodies.forget("there") == 0
        assert await bodies.forget("here", "here:ann") == 1
        await bodies.save(body)
        assert await bodies.expire(NOW - DAY) == 0
        assert await bodies.expire(NOW) == 1

    async def test_bodies_are_saved_many_at_once_and_forgotten_by_age(self, subject: Any) -> None:
        bodies, days = subject.repositories.bodies, [NOW - number * DAY for number in range(4)]
        saved = [
            Body(request_id=first_id(day), org_id=org, subject=org, expires_at=NOW + DAY, request=b"q")
            for org, at in (("here", days[:3]), ("there", days[3:]))
            for day in at
        ]
        assert not await bodies.holds("here")
        await bodies.save_all(saved)
        assert await bodies.holds("here")
        with pytest.raises(Unstorable):
            await bodies.save_all([msgspec.structs.replace(saved[0], request_id=first_id(NOW + DAY)), saved[1]])
        assert await bodies.get("here", first_id(NOW + DAY)) is None
        assert await bodies.forget_before("here", NOW - DAY) == 1
        assert [await bodies.get(each.org_id, each.request_id) for each in saved] == [*saved[:2], None, saved[3]]
        await bodies.save_all([])

    async def test_an_erased_data_key_is_gone_and_stays_gone(self, subject: Any) -> None:
        keys = subject.repositories.data_keys
        first = DataKey(
            subject="here:ann", org_id="here", key_version=1, kek_id="old", created_at=NOW, wrapped_key=b"\x01\x00"
        )
        first = msgspec.structs.replace(first, key_name="a1")
        assert await keys.save(first)
        assert not await keys.save(msgspec.structs.replace(first, wrapped_key=b"other"))
        second = msgspec.structs.replace(first, key_version=2, key_name="a2", kek_id="new")
        assert await keys.save(second)
        assert await keys.get("here", "here:ann") == second
        assert await keys.get("here", "here:ann", 1) == first
        assert await keys.get("there", "here:ann") is None
        assert (await keys.named("here", "a1"), await keys.named("here", "a2")) == (first, second)
        assert await keys.named("there", "a1") is None
        assert [key async for key in keys.wrapped_by_others("new")] == [first]
        assert await keys.rewrap(first, b"again", "new")
        assert [key async for key in keys.wrapped_by_others("new")] == []
        assert await keys.erase("here", "here:ann", NOW) == 2
        assert not await keys.rewrap(first, b"back", "new")
        assert [(each.wrapped_key, each.erased_at) for each in await keys.of_org("here")] == [(None, NOW)] * 2
        assert await keys.named("here", "a1") == msgspec.structs.replace(
            first, kek_id="new", wrapped_key=None, erased_at=NOW
        )

    async def test_workers_agree_on_the_key_of_a_subject_and_nobody_else_has_it(self, subject: Any) -> None:
        keys, vault = subject.repositories.data_keys, ephemeral()
        workers = [Keyring(vault, keys) for _ in range(6)]
        ann, place = subject_of("here", "ann"), ("here", "feedback", "comment", "1")
        blobs = [
            key.seal(*place, b"fine") for key in await asyncio.gather(*[each.sealing("here", ann) for each in workers])
        ]
        (kept,) = await keys.of_org("here")
        assert {blob[1:13].hex() for blob in blobs} == {kept.key_name}
        for blob, each in zip(blobs, workers[::-1], strict=True):
            assert (await each.opening("here", blob)).unseal(*place, blob) == b"fine"
        others = (
            ("here", subject_of("here")),
            ("here", subject_of("here", "bob")),
            ("there", subject_of("there", "ann")),
        )
        for org, named in others:
            theirs = (await workers[0].sealing(org, named)).seal(org, *place[1:], b"fine")
            assert theirs[1:13] != blobs[0][1:13]
        with pytest.raises(Unsealable, match="not its organisation's"):
            await workers[0].opening("there", blobs[0])

    async def test_what_an_erased_key_sealed_is_dead_also_beside_a_new_key(self, subject: Any) -> None:
        keys, vault = subject.repositories.data_keys, ephemeral()
        ring, ann, place = Keyring(vault, keys), subject_of("here", "ann"), ("here", "feedback", "comment", "1")
        old = (await ring.sealing("here", ann)).seal(*place, b"fine")
        assert await keys.erase("here", ann, NOW) == 1
        ring.forget("here")
        for _ in range(2):
            with pytest.raises(Erased):
                await ring.opening("here", old)
        new = (await ring.sealing("here", ann)).seal(*place, b"fine")
        assert new[1:13] != old[1:13]
        for each in (ring, Keyring(vault, keys)):
            assert (await each.opening("here", new)).unseal(*place, new) == b"fine"
            with pytest.raises(Erased):
                await each.opening("here", old)

    async def test_of_two_workers_one_gets_a_job(self, subject: Any) -> None:
        jobs = subject.repositories.jobs
        job = Job(request_id="r", org_id="here", deadline=NOW, created_at=NOW, request=b"body")
        assert await jobs.add(job)
        assert not await jobs.add(job)
        running = msgspec.structs.replace(job, state="running", provider_batch_id="b")
        got = await asyncio.gather(*[jobs.move(job, running) for _ in range(6)])
        assert sorted(got) == [False] * 5 + [True]
        assert list(await jobs.in_state("running")) == [running]
        done = msgspec.structs.replace(running, state="done", response=b"\x00answer")
        assert await jobs.move(running, done)
        assert await jobs.get("here", "r") == done
        assert await jobs.get("there", "r") is None


class AgentsContract(Contract):
    """12."""

    async def test_an_agent_has_one_state_in_a_workflow(self, subject: Any) -> None:
        agents = subject.repositories.agents
        state = AgentState(
            agent_id="a",
            org_id="here",
            workflow_id="w",
            agent_type="writer",
            status="running",
            created_at=NOW,
            outputs_produced=("o",),
        )
        await agents.save_state(state)
        done = msgspec.structs.replace(state, status="done", total_cost=12, completed_at=NOW + DAY)
        await agents.save_state(done)
        await agents.save_state(msgspec.structs.replace(state, org_id="there"))
        assert list(await agents.states("here", "w")) == [done]

    async def test_outputs_runs_and_profiles_are_the_orgs_own(self, subject: Any) -> None:
        agents = subject.repositories.agents
        output = AgentOutput(
            cache_id="c",
            org_id="here",
            workflow_id="w",
            agent_id="a",
            agent_type="writer",
            task_type="general",
            expires_at=NOW,
            output=b"text\x00",
        )
        assert await agents.save_output(output)
        assert not await agents.save_output(output)
        assert await agents.output("here", "c") == output
        assert await agents.output("there", "c") is None
        assert list(await agents.outputs("here", agent_type="writer")) == [output]
        assert list(await agents.outputs("here", agent_type="reader")) == []
        assert await agents.expire_outputs(NOW) == 1
        run = SwarmRun(workflow_id="w", org_id="here", status="done", created_at=NOW, definition={"agents": [{"n": 1}]})
        await agents.save_run(run)
        await agents.save_run(msgspec.structs.replace(run, total_cost=5, elapsed_ms=1.5))
        assert (await agents.run("here", "w")).total_cost == 5
        assert len(await agents.runs("here")) == 1
        assert await agents.run("there", "w") is None
        profile = AgentProfile(org_id="here", agent_type="writer", created_at=NOW, body={"model": "m"})
        await agents.save_profile(profile)
        assert list(await agents.profiles("here")) == [profile]
