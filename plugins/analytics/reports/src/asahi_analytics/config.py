"""The tables of this plugin."""

from __future__ import annotations

from asahi_kernel import Config, Secret


class CheckpointsConfig(Config, frozen=True):
    """`key` is the seed of the Ed25519 key that signs, 64 hexadecimal digits."""

    key: Secret | None = None
