"""Which models an org may use: by name, by routing, and on hits."""

import pytest
from tests.kernel.kit import ask, events_of
from tests.plugins.guard.kit import NOW, ORG, Model, asking, given, guarded

from asahi_guard.models import plan_of
from asahi_kernel.errors import Denied, NoRoute
from asahi_kernel.repositories.people import Tenant

pytestmark = pytest.mark.anyio


def named(model, text="Which is the capital of France?"):
    return asking(text, model=model, terms={"mode": "explicit"})


async def test_a_blocked_model_is_refused_by_name_and_wins_over_the_allow_list():
    async with guarded(blocked_models=("large",), allowed_models=("large", "small")) as gateway:
        with pytest.raises(Denied) as refused:
            await ask(gateway, named("large"))
        assert refused.value.code == "model_blocked"
        assert (await ask(gateway, named("small"))).completion.model == "small"
        with pytest.raises(Denied):
            await ask(gateway, named("nowhere"))
        assert not [each for each in gateway.model.asked if each.model in {"large", "nowhere"}]


async def test_routing_goes_around_what_is_blocked():
    async with guarded(blocked_models=("small",)) as gateway:
        assert (await ask(gateway)).completion.model == "nowhere"
        await given(gateway, blocked_models=("small", "nowhere", "large"))
        with pytest.raises(NoRoute):
            await ask(gateway, asking("another question"))


async def test_a_policy_may_name_a_model_by_its_alias():
    async with guarded(tree={"aliases": {"cheap": "small"}}, blocked_models=("cheap",)) as gateway:
        with pytest.raises(Denied):
            await ask(gateway, named("small"))


async def test_a_blocked_models_cached_answer_is_not_served():
    """PL-2."""
    async with guarded(Model("Paris.")) as gateway:
        assert (await ask(gateway)).completion.model == "small"
        assert (await ask(gateway)).hit is not None
        await given(gateway, blocked_models=("small",))
        again = await ask(gateway)
        assert (again.hit, again.completion.model) == (None, "nowhere")


async def test_a_blocked_models_cached_answer_is_403_where_it_is_named():
    """PL-2."""
    async with guarded() as gateway:
        await ask(gateway, named("small"))
        assert (await ask(gateway, named("small"))).hit is not None
        await given(gateway, blocked_models=("small",))
        with pytest.raises(Denied) as refused:
            await ask(gateway, named("small"))
        assert refused.value.status == 403


async def test_other_orgs_are_not_bound():
    from asahi_kernel.testing import THERE

    async with guarded(blocked_models=("small",)) as gateway:
        assert (await ask(gateway, principal=THERE)).completion.model == "small"


async def test_a_refusal_is_an_event_and_is_audited_an_answer_only_where_it_must():
    from asahi_kernel.repositories.audit import AuditQuery

    async with guarded(blocked_models=("large",), require_audit_log=False) as gateway:
        with pytest.raises(Denied):
            await ask(gateway, named("large"))
        await ask(gateway)
        await given(gateway, blocked_models=("large",), require_audit_log=True)
        answer = await ask(gateway, asking("another"))
        events = await events_of(gateway)
        assert [each.status for each in events] == ["denied", "ok", "ok"]
        assert (events[0].error, events[0].attempts) == ("model_blocked", ())
        storage = gateway.storage
    entries = await storage.repositories.audit.query("here", AuditQuery())
    assert [(each.action, each.resource, each.result) for each in entries] == [
        ("inference", answer.request_id, "success"),
        ("inference_denied", events[0].request_id, "denied"),
    ]
    assert entries[1].details["error"] == "model_blocked"


async def test_dead_storage_is_503_for_an_org_that_nobody_knows(monkeypatch):
    from asahi_kernel.errors import Unavailable

    async def dead(org, version=None):
        raise OSError("no route to host")

    async with guarded() as gateway:
        monkeypatch.setattr(gateway.storage.repositories.policies, "get_policy", dead)
        with pytest.raises(Unavailable) as refused:
            await ask(gateway)
        assert (refused.value.status, refused.value.code) == (503, "storage_unavailable")


async def test_hanging_storage_is_503_too(monkeypatch):
    import asyncio

    from asahi_guard import standing
    from asahi_kernel.errors import Unavailable

    async def hanging(org, version=None):
        await asyncio.Event().wait()

    monkeypatch.setattr(standing, "_PATIENCE_S", 0.05)
    async with guarded() as gateway:
        monkeypatch.setattr(gateway.storage.repositories.policies, "get_policy", hanging)
        with pytest.raises(Unavailable):
            await ask(gateway)


async def test_embeddings_are_held_to_it_too():
    from asahi_kernel import embedding
    from asahi_kernel.testing import HERE
    from asahi_kernel.trace import Trace

    async with guarded(blocked_models=("large",)) as gateway:
        with pytest.raises(Denied):
            await embedding.embed(gateway, named("large"), HERE, Trace("/v1/embeddings"), None)


async def of_plan(gateway, plan):
    tenant = Tenant(org_id=ORG, name="Here", created_at=NOW, updated_at=NOW, plan=plan)
    assert await gateway.storage.repositories.tenants.create(tenant)
    gateway.standings.forget(ORG)


PLANS = {"tenants": {"plans": {"tiny": {"requests_per_day": 100, "models": 2, "users": 1}}}}


async def test_a_plan_has_so_many_models_for_each_request_and_those_are_the_cheapest():
    async with guarded(Model("Paris."), tree=PLANS) as gateway:
        await ask(gateway)
        await of_plan(gateway, "tiny")
        await ask(gateway, asking("Which is the capital of Spain?"))
        found = [await gateway.storage.decisions.find(ORG, event.request_id) for event in await events_of(gateway)]
        before, after = found
        assert [note.rule for note in before.rules if note.dropped] == []
        assert [note.rule for note in after.rules if note.dropped] == ["plan"]
        (dropped,) = [note.dropped for note in after.rules if note.rule == "plan"]
        assert dropped == {"large": "the plan 'tiny' has room for 2 for each request"}
        assert (await ask(gateway, named("large"))).completion.model == "large"


async def test_a_request_that_only_the_third_model_suits_is_answered_by_it():
    async with guarded(Model("Paris."), tree=PLANS, blocked_models=("small",)) as gateway:
        await of_plan(gateway, "tiny")
        assert (await ask(gateway)).completion.model == "nowhere"


@pytest.mark.parametrize(("org", "plan", "enforced"), [(ORG, "tiny", False), ("default", "tiny", True)])
async def test_no_plan_binds_the_operator_or_a_gateway_without_plans(org, plan, enforced):
    tree = {"tenants": {**PLANS["tenants"], "enforce_plans": enforced}}
    async with guarded(tree=tree) as gateway:
        tenant = Tenant(org_id=org, name="Here", created_at=NOW, updated_at=NOW, plan=plan)
        assert plan_of(gateway, tenant) is None
