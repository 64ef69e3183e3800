"""Opening: peppers, the bootstrap key, and a word to an operator whose gateway nobody could call."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from asahi_access.config import KeysConfig
from asahi_access.desk import Desk
from asahi_access.failing import Failures
from asahi_access.identifying import Identifier, key_digest, principal_of
from asahi_access.issuing import Issuer
from asahi_access.revoking import listening, shared_counter, tell
from asahi_access.sessions import Sessions
from asahi_access.tokens import Peppers, read_peppers
from asahi_kernel.api.transport import cors_origins
from asahi_kernel.builtins.local_auth import ROLES
from asahi_kernel.errors import ConfigError
from asahi_kernel.repositories import Governing
from asahi_kernel.secrecy import LEAST, weakness
from asahi_kernel.types import Principal

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

log = logging.getLogger("asahi.access")

BOOTSTRAP = "ASAHI_BOOTSTRAP_ADMIN_KEY"


@asynccontextmanager
async def open_identifier(config: KeysConfig, gateway: Gateway) -> AsyncIterator[Identifier]:
    """The authenticator over the gateway's storage."""
    storage, peppers = governing(gateway), peppers_of(config, gateway)
    settings, shared = gateway.settings, shared_counter(gateway)
    bootstrap = _bootstrap(gateway)
    sessions = Sessions(
        storage,
        principal_of,
        {login_name(digest): principal for digest, principal in bootstrap.items()},
        gateway.vault.derive("login csrf"),
        frozenset(origin.decode() for origin in cors_origins(settings)),
        timedelta(minutes=config.confirm_after_minutes),
    )
    failures = Failures(config.failed_per_minute, shared)
    identifier = Identifier(
        storage.repositories.keys, peppers, config, gateway, bootstrap, failures=failures, sessions=sessions
    )
    issuer = Issuer(storage, peppers, settings.tenants, settings.governance.operator_org)
    desk = gateway.shared.get("access")
    if isinstance(desk, Desk):
        desk.open(issuer, identifier, sessions, config, lambda: tell(shared))
    async with AsyncExitStack() as stack:
        if shared is None:
            gateway.cautions.append(
                f"a revoked key may be accepted for {config.identity_ttl_s:g} s by other workers: a counter on Redis "
                "makes that one second"
            )
        else:
            await stack.enter_async_context(listening(shared, identifier.doubt, gateway))
        yield identifier


def login_name(digest: bytes) -> str:
    """What a login by a key that storage does not know goes by: it ends when the key is another one."""
    return f"boot-{digest.hex()[:11]}"


def governing(gateway: Gateway) -> Governing:
    """The storage, if it keeps keys."""
    if not isinstance(gateway.storage, Governing):
        raise ConfigError(f"auth: keys need a storage that keeps them, and {gateway.storage.name!r} does not")
    return gateway.storage


def peppers_of(config: KeysConfig, gateway: Gateway) -> Peppers:
    """Those of `ASAHI_KEY_PEPPERS`, beside the one that is derived from the encryption key."""
    return read_peppers(config.peppers.reveal() if config.peppers else None, gateway.vault.derive("api keys"))


def _bootstrap(gateway: Gateway) -> dict[bytes, Principal]:
    """The first admin's key, known without storage. It is whatever random text the operator chose."""
    key = os.environ.get(BOOTSTRAP, "")
    if not key:
        log.warning(
            "%s is not set: only keys in storage are accepted; `asahi keys create --admin` makes the first one",
            BOOTSTRAP,
        )
        return {}
    if told := weakness(key):
        raise ConfigError(f"{BOOTSTRAP} {told}; use at least {LEAST} random characters")
    org = gateway.settings.governance.operator_org
    admin = Principal(
        org=org, user="admin", key_id="bootstrap", role="admin", permissions=ROLES["admin"], may_act_for_users=True
    )
    return {key_digest(key): admin}
