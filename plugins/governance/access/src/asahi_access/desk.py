"""The desk: what the routes of this plugin share with its authenticator once that is open."""

from __future__ import annotations

from collections.abc import Callable

from asahi_access.config import KeysConfig
from asahi_access.issuing import Issuer


class Desk:
    """Empty until `auth: keys` opens; the routes are made before that."""

    def __init__(self) -> None:
        self.issuer: Issuer | None = None
        self.config = KeysConfig()
        self.forget: Callable[[str], None] = _nothing

    def open(self, issuer: Issuer, config: KeysConfig, forget: Callable[[str], None]) -> None:
        """From now on keys can be made here."""
        self.issuer, self.config, self.forget = issuer, config, forget


def _nothing(key_id: str) -> None:
    """No authenticator of ours remembers anybody."""
