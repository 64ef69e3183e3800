"""Actions: what is done about personal data for an org now, by its policy, its preferences, and what it must comply
with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from msgspec import Struct

from asahi_kernel.preferences import Action, InjectionAction

if TYPE_CHECKING:
    from asahi_kernel.standing import Standing


_ACTIONS: dict[str, Action] = {each: each for each in get_args(Action)}
_HYGIENE: dict[str, InjectionAction] = {each: each for each in get_args(InjectionAction)}
_NONE: frozenset[str] = frozenset()
_CARDS = frozenset({"card"})


class Treatment(Struct, frozen=True):
    """`action` is for everything found; kinds in `always` are redacted whatever it says, unless it says `block`."""

    action: Action
    always: frozenset[str] = _NONE

    def redacted(self, kinds: Sequence[str]) -> Sequence[str]:
        """Those of the kinds that may not pass, in answers too."""
        if self.action in {"redact", "block"}:
            return kinds
        return [kind for kind in kinds if kind in self.always]

    def sought(self, kinds: Sequence[str]) -> Sequence[str]:
        """Those that are looked for in requests."""
        return kinds if self.action != "off" else [kind for kind in kinds if kind in self.always]


def treatment(standing: Standing) -> Treatment:
    """HIPAA refuses what it does not redact, CCPA and a profile with detection at least flag, PCI-DSS redacts cards."""
    wanted = standing.policy.pii_action or standing.preferences.privacy.pii_action
    action: Action = _ACTIONS.get(wanted, "block")
    frameworks = standing.frameworks
    detects = standing.profile is not None and standing.profile.pii_detection_enabled
    if action == "off" and (detects or "ccpa" in frameworks):
        action = "flag"
    if "hipaa" in frameworks and action != "redact":
        action = "block"
    return Treatment(action, _CARDS if "pci_dss" in frameworks else _NONE)


def hygiene(standing: Standing) -> InjectionAction:
    """What is done about a prompt that scores as an injection. A word that nobody knows is the strictest one."""
    wanted = standing.policy.injection_action or standing.preferences.privacy.injection_action
    return _HYGIENE.get(wanted, "block")
