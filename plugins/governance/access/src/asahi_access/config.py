"""The table `auth: {type: keys}`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config, Secret


class KeysConfig(Config, frozen=True):
    """`identity_ttl_s` is how long a key that was looked up is believed: the longest that a revoked one is still
    accepted. When storage is away a known key is believed for `snapshot_max_age_s`. An
    address that fails more than `failed_per_minute` times is told to wait. Sensitive calls by login want the key shown
    within `confirm_after_minutes`; 0 never asks again."""

    peppers: Secret | None = None
    key_expiry_days: Annotated[int, Meta(ge=1, le=365)] = 90
    identity_ttl_s: Annotated[float, Meta(gt=0, le=300)] = 30
    snapshot_max_age_s: Annotated[float, Meta(ge=0, le=3_600)] = 300
    failed_per_minute: Annotated[int, Meta(ge=1, le=10_000)] = 10
    confirm_after_minutes: Annotated[float, Meta(ge=0, le=720)] = 15.0
