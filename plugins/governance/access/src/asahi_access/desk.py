"""The desk: what the routes of this plugin share with its authenticator once that is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asahi_access.config import KeysConfig
from asahi_access.identifying import Identifier
from asahi_access.issuing import Issuer
from asahi_access.sessions import Sessions
from asahi_kernel.errors import NotFound


class Desk:
    """Empty until `auth: keys` opens; the routes are made before that."""

    def __init__(self) -> None:
        self.config = KeysConfig()
        self._issuer: Issuer | None = None
        self._identifier: Identifier | None = None
        self._sessions: Sessions | None = None
        self._tell: Callable[[], Awaitable[None]] | None = None

    def open(
        self,
        issuer: Issuer,
        identifier: Identifier,
        sessions: Sessions,
        config: KeysConfig,
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        """From now on keys can be made here, and people log in."""
        self._issuer, self._identifier, self._sessions = issuer, identifier, sessions
        self.config, self._tell = config, tell

    @property
    def keeps_keys(self) -> bool:
        """Whether `auth` is `keys`."""
        return self._issuer is not None

    @property
    def issuer(self) -> Issuer:
        """Raises `NotFound` where keys are kept elsewhere."""
        if self._issuer is None:
            raise NotFound("keys are kept elsewhere: `auth` is not `keys` on this gateway")
        return self._issuer

    @property
    def identifier(self) -> Identifier:
        """Raises `NotFound` where keys are kept elsewhere."""
        if self._identifier is None:
            raise NotFound("there is no login here: `auth` is not `keys` on this gateway")
        return self._identifier

    @property
    def sessions(self) -> Sessions:
        """Raises `NotFound` where keys are kept elsewhere."""
        if self._sessions is None:
            raise NotFound("there is no login here: `auth` is not `keys` on this gateway")
        return self._sessions

    async def forget(self, key_id: str) -> None:
        """A key changed: here it is looked up again at once, elsewhere as soon as they are told."""
        if self._identifier is not None:
            self._identifier.forget(key_id)
        if self._tell is not None:
            await self._tell()
