"""The tables `policies.rate`, `policies.quota` and `policies.budget`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config


class RateConfig(Config, frozen=True):
    """The limits themselves are `api.rate_limit_per_minute` and those of an org's policy."""


class QuotaConfig(Config, frozen=True):
    """The quota itself is that of an org's policy."""


class BudgetConfig(Config, frozen=True):
    """`lease_extra_s` is how long money is held beyond the longest call, for a worker that died. `alert_s` is how often
    an org that spends is looked at for alerts."""

    lease_extra_s: Annotated[float, Meta(ge=1, le=3_600)] = 30
    alert_s: Annotated[float, Meta(gt=0, le=3_600)] = 5
