"""Compliance profiles on the request path: of each demand of each framework one request that passes and one that is
refused."""

import pytest
from tests.kernel.kit import ask, chunks_of, events_of
from tests.plugins.guard.kit import MODELS, ORG, Model, asking, given, guarded, profiled, replace

from asahi_kernel.errors import Denied, NoRoute
from asahi_kernel.repositories.audit import AuditQuery
from asahi_kernel.testing import HERE

pytestmark = pytest.mark.anyio
CARD, MAIL = "4111 1111 1111 1111", "ann@example.com"
AGREED = {"providers": {"scripted": {"agreement": True}}}
HIPAA = {"tree": AGREED}


def named(model, text="Which is the capital of France?"):
    return asking(text, model=model, terms={"mode": "explicit"})


async def refused(gateway, request, code="compliance_denied"):
    with pytest.raises(Denied) as error:
        await ask(gateway, request)
    assert (error.value.status, error.value.code) == (403, code)
    return error.value


async def test_an_org_without_a_profile_is_asked_nothing():
    async with guarded() as gateway:
        request = asking("x")
        assert await gateway.policies["compliance"].admit(request, HERE) is request


@pytest.mark.parametrize("framework", ["hipaa", "pci_dss"])
async def test_encryption_needs_a_configured_key(framework):
    """CO-1. HIPAA and PCI-DSS."""
    async with guarded(**HIPAA) as gateway:
        await profiled(gateway, framework)
        error = await refused(gateway, asking("hello"))
        assert "ASAHI_ENCRYPTION_KEY" in error.message
        gateway.vault.configured = True
        assert (await ask(gateway, asking("hello"))).completion.text == "Paris."


async def test_encryption_is_asked_for_by_the_profile_itself_too():
    """CO-1."""
    async with guarded() as gateway:
        await profiled(gateway, encryption_required=True)
        await refused(gateway, asking("hello"))


async def test_hipaa_keeps_prompts_out_of_the_caches(monkeypatch):
    """CO-1. T2 and T3 are off, T1 holds the answer and nothing of the question."""
    kept = []
    async with guarded(**HIPAA) as gateway:
        gateway.vault.configured = True
        tier = gateway.tiers["exact"]
        put = tier.put

        async def spy(key, request, principal, completion):
            kept.append(request.terms)
            await put(key, request, principal, completion)

        monkeypatch.setattr(tier, "put", spy)
        await ask(gateway, asking("a plain question", terms={"semantic_cache": True, "intermediate_cache": True}))
        await profiled(gateway, "hipaa")
        await ask(gateway, asking("a private question", terms={"semantic_cache": True, "intermediate_cache": True}))
        assert [(each.semantic_cache, each.intermediate_cache) for each in kept] == [(True, True), (False, False)]
        rows = [row async for row in tier.rows(ORG)]
        assert {row.query for row in rows} == {"a plain question", ""}
        assert (await ask(gateway, asking("a private question"))).hit is not None


async def test_a_profile_may_forbid_that_prompts_are_stored_without_a_framework():
    """CO-1."""
    async with guarded() as gateway:
        await profiled(gateway, prompt_storage_allowed=False)
        await ask(gateway, asking("a private question"))
        assert [row.query async for row in gateway.tiers["exact"].rows(ORG)] == [""]


@pytest.mark.parametrize("action", [None, "off", "flag", "block"])
async def test_hipaa_refuses_personal_data(action):
    """CO-1. Whatever weaker the policy says."""
    async with guarded(pii_action=action, **HIPAA) as gateway:
        gateway.vault.configured = True
        await profiled(gateway, "hipaa")
        await refused(gateway, asking(f"write to {MAIL}"), "pii_blocked")
        assert (await ask(gateway, asking("write to nobody"))).completion.text
        assert len(gateway.model.asked) == 1


async def test_hipaa_lets_redacted_data_through():
    """CO-1."""
    async with guarded(pii_action="redact", **HIPAA) as gateway:
        gateway.vault.configured = True
        await profiled(gateway, "hipaa")
        await ask(gateway, asking(f"write to {MAIL}"))
        assert gateway.model.asked[0].messages[-1].text == "write to [EMAIL_REDACTED]"


async def test_detection_must_be_there_to_be_demanded():
    """CO-1. HIPAA, PCI-DSS, CCPA."""
    for framework in ("hipaa", "pci_dss", "ccpa"):
        async with guarded(policies=["models", "compliance"], **HIPAA) as gateway:
            gateway.vault.configured = True
            await profiled(gateway, framework)
            assert "'pii'" in (await refused(gateway, asking("hello"))).message


async def test_hipaa_asks_only_providers_with_an_agreement():
    """CO-1. By routing, by name, and on hits."""
    two = [*MODELS["models"], {**MODELS["models"][0], "name": "agreed", "provider": "signed", "quality_score": 4.0}]
    tree = {"providers": {"scripted": {}, "signed": {"type": "scripted", "agreement": True}}, "models": two}
    async with guarded(tree=tree) as gateway:
        gateway.vault.configured = True
        assert (await ask(gateway, named("small"))).hit is None
        await profiled(gateway, "hipaa")
        assert (await ask(gateway, asking("hello"))).completion.model == "agreed"
        error = await refused(gateway, named("small"))
        assert "agreement" in error.message
    async with guarded() as gateway:
        gateway.vault.configured = True
        await ask(gateway)
        await profiled(gateway, "hipaa")
        with pytest.raises(NoRoute, match="agreement"):
            await ask(gateway)


@pytest.mark.parametrize("framework", ["hipaa", "soc2"])
async def test_each_inference_is_in_the_audit_log(framework):
    """CO-1. HIPAA and SOC 2; the others leave it to the policy."""
    async with guarded(**HIPAA) as gateway:
        gateway.vault.configured = True
        await ask(gateway, asking("before"))
        await profiled(gateway, framework)
        answer = await ask(gateway, asking("after"))
        await chunks_of(gateway, asking("after", terms={"stream": True}))
        storage = gateway.storage
    entries = await storage.repositories.audit.query(ORG, AuditQuery(action="inference"))
    assert [each.details["cache_tier"] for each in entries] == [1, 0]
    assert entries[-1].resource == answer.request_id
    assert entries[-1].data_classification == ("restricted" if framework == "hipaa" else "internal")
    assert "after" not in repr(entries)
    assert await storage.repositories.audit.verify_chain(ORG) == ""


async def test_an_audit_log_must_be_there_to_be_demanded(monkeypatch):
    """CO-1. SOC 2."""
    async with guarded() as gateway:
        await profiled(gateway, "soc2")
        await gateway.standings.of(ORG)

        class Bare:
            pass

        monkeypatch.setattr(gateway, "storage", Bare())
        with pytest.raises(Denied, match="audit log"):
            await gateway.policies["compliance"].admit(asking("x"), HERE)


async def test_gdpr_keeps_requests_in_the_region_and_refuses_unknown_ones():
    """CO-1. By routing, by name, and on hits."""
    async with guarded() as gateway:
        first = await ask(gateway, named("large"))
        assert first.completion.model == "large"
        await profiled(gateway, "gdpr", data_residency="eu")
        assert (await ask(gateway, asking("hello"))).completion.model == "small"
        assert "region is us" in (await refused(gateway, named("large"))).message
        assert "unknown" in (await refused(gateway, named("nowhere"))).message
        await given(gateway, blocked_models=("small",))
        with pytest.raises(NoRoute):
            await ask(gateway, asking("another"))


async def test_a_cached_answer_from_another_region_is_a_miss():
    """CO-1, PL-2."""
    async with guarded() as gateway:
        assert (await ask(gateway)).completion.model == "small"
        await profiled(gateway, "gdpr", data_residency="us")
        again = await ask(gateway)
        assert (again.hit, again.completion.model) == (None, "large")


async def test_the_residency_of_the_policy_holds_without_a_profile():
    """CO-1."""
    async with guarded(data_residency="us") as gateway:
        assert (await ask(gateway)).completion.model == "large"
        await refused(gateway, named("small"))


async def test_only_allowed_providers_are_asked():
    """CO-1."""
    async with guarded() as gateway:
        await profiled(gateway, allowed_providers=("scripted",))
        assert (await ask(gateway)).completion.text
        profile = (await gateway.standings.of(ORG)).profile
        await gateway.storage.repositories.compliance.save(replace(profile, allowed_providers=("other",)))
        gateway.standings.forget(ORG)
        with pytest.raises(NoRoute, match="is not allowed"):
            await ask(gateway, asking("another"))
        await refused(gateway, named("small"))


async def test_pci_keeps_card_numbers_from_vendors_and_lets_the_rest_through():
    """CO-1."""
    async with guarded(Model(f"It is {CARD}."), pii_action="off") as gateway:
        gateway.vault.configured = True
        await profiled(gateway, "pci_dss")
        answer = await ask(gateway, asking(f"charge {CARD} of {MAIL}"))
        assert gateway.model.asked[0].messages[-1].text == f"charge [CC_REDACTED] of {MAIL}"
        assert answer.completion.text == "It is [CC_REDACTED]."
        await given(gateway, pii_action="block")
        await refused(gateway, asking(f"charge {CARD}"), "pii_blocked")


async def test_ccpa_detects_where_the_org_would_not():
    """CO-1."""
    async with guarded(pii_action="off") as gateway:
        assert (await ask(gateway, asking(f"to {MAIL}"))).warnings == ()
        await profiled(gateway, "ccpa")
        assert (await ask(gateway, asking(f"to {MAIL}!"))).warnings == ("pii_flagged: email",)


async def test_a_profile_may_ask_for_detection_without_a_framework():
    """CO-1."""
    async with guarded(pii_action="off") as gateway:
        await profiled(gateway, pii_detection_enabled=True)
        assert (await ask(gateway, asking(f"to {MAIL}"))).warnings == ("pii_flagged: email",)


async def test_gdpr_forgets_after_a_year_and_a_profile_may_forget_sooner():
    """CO-1."""
    from datetime import UTC, datetime, timedelta

    from asahi_kernel.builtins.retention import sweep

    async with guarded() as gateway:
        await profiled(gateway, "gdpr", data_residency="eu", retention_days=30)
        await ask(gateway)
        await events_of(gateway)
        assert await sweep(gateway.storage, 365, datetime.now(UTC) + timedelta(days=29)) == 0
        assert await sweep(gateway.storage, 365, datetime.now(UTC) + timedelta(days=31)) == 1
