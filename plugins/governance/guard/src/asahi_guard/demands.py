"""Demands: what the frameworks of a profile ask of the gateway, each once, for enforcing and for reporting alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.standing import Standing
    from asahi_kernel.types import Model

Framework: TypeAlias = Literal["hipaa", "soc2", "gdpr", "pci_dss", "ccpa"]
Region: TypeAlias = Literal["us", "eu", "ap"]
#: The longest that GDPR lets requests be remembered here.
LONGEST_DAYS = 365


class Demands(Struct, frozen=True, kw_only=True):
    """All that holds for one org. `region` empty means anywhere, `providers` None any."""

    encryption: bool = False
    audit: bool = False
    detection: bool = False
    agreement: bool = False
    keeps_prompts: bool = True
    region: str = ""
    known_region: bool = False
    providers: frozenset[str] | None = None

    @property
    def nothing(self) -> bool:
        """Whether any model may answer, and nothing else is asked."""
        return self == _NOTHING


_NOTHING = Demands()


def demands_of(standing: Standing) -> Demands:
    """What the org's profile and the residency of its policy ask for."""
    profile, policy = standing.profile, standing.policy
    if profile is None:
        return _NOTHING if not policy.data_residency else Demands(region=policy.data_residency, known_region=True)
    hipaa, gdpr = "hipaa" in profile.frameworks, "gdpr" in profile.frameworks
    region = profile.data_residency or policy.data_residency or ""
    return Demands(
        encryption=profile.encryption_required or hipaa or "pci_dss" in profile.frameworks,
        audit=hipaa or "soc2" in profile.frameworks,
        detection=profile.pii_detection_enabled or hipaa or not {"ccpa", "pci_dss"}.isdisjoint(profile.frameworks),
        agreement=hipaa,
        keeps_prompts=profile.prompt_storage_allowed and not hipaa,
        region=region,
        known_region=bool(region) or gdpr,
        providers=None if profile.allowed_providers is None else frozenset(profile.allowed_providers),
    )


def unfit(gateway: Gateway, demands: Demands, model: Model) -> str:
    """Why a model may not answer this org, or nothing."""
    if demands.known_region and model.region is None:
        return "its region is unknown"
    if demands.region and model.region != demands.region:
        return f"its region is {model.region}, not {demands.region}"
    if demands.providers is not None and model.provider not in demands.providers:
        return f"its provider {model.provider!r} is not allowed"
    if demands.agreement:
        upstream = gateway.upstreams.get(model.provider)
        if upstream is None or not upstream.resilience.agreement:
            return f"there is no agreement with its provider {model.provider!r}"
    return ""


def unmet(gateway: Gateway, demands: Demands) -> Sequence[str]:
    """What this gateway cannot give as it is set up, for the operator to change."""
    told = []
    if demands.encryption and not gateway.vault.configured:
        told.append("an encryption key must be configured (ASAHI_ENCRYPTION_KEY)")
    if demands.audit and not audits(gateway):
        told.append("the storage must keep an audit log")
    if demands.detection and not detects(gateway):
        told.append("the policy 'pii' must be in use")
    return told


def audits(gateway: Gateway) -> bool:
    """Whether there is an audit log to write to."""
    from asahi_kernel.repositories import Governing

    return isinstance(gateway.storage, Governing)


def detects(gateway: Gateway) -> bool:
    """Whether personal data is looked for."""
    from asahi_guard.pii import Personal

    return any(isinstance(policy, Personal) for policy in gateway.policies.values())
