"""The notary: while the gateway runs, one process of the host follows the log and signs what it comes to."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from asahi_audit.checkpoints import FILE, LOG, keep, path_of, read_file, sign
from asahi_audit.verifying import Verification, disorder
from asahi_kernel.alerting import alert
from asahi_kernel.background import running
from asahi_kernel.repositories import Governing
from asahi_kernel.signing import SigningKey, signing_key

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

log = logging.getLogger("asahi.audit")

_TICK_S = 1.0
_LAST_S = 5.0
_CHECKPOINTS = 100_000


@asynccontextmanager
async def at_work(gateway: Gateway) -> AsyncIterator[None]:
    """Sign every `governance.audit_checkpoint_every` entries, every `audit_checkpoint_s` seconds, and at the end."""
    if gateway.storage.name == "memory" or not isinstance(gateway.storage, Governing):
        yield None
        return
    notary = Notary(gateway, signing_key(gateway.settings))
    try:
        async with running(notary.work()):
            yield None
        await gateway.drain(_LAST_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await notary.attempt(1)
    finally:
        notary.leave()


class Notary:
    """Of the processes of a host one holds the lock, and follows the log; when it goes another takes over.

    It first verifies the whole log against what was signed before, and does not sign one that is not what it was.
    """

    def __init__(self, gateway: Gateway, key: SigningKey) -> None:
        self._gateway = gateway
        self._key = key
        self._path = path_of(gateway.settings)
        self._lock = -1
        self._seen: Verification | None = None
        self._place = self._signed = 0
        self._refused = False
        self._last = time.monotonic()

    async def work(self) -> None:
        """Until cancelled."""
        governance = self._gateway.settings.governance
        while True:
            await asyncio.sleep(min(_TICK_S, governance.audit_checkpoint_s))
            due = time.monotonic() - self._last >= governance.audit_checkpoint_s
            await self.attempt(1 if due else governance.audit_checkpoint_every)

    async def attempt(self, step: int) -> None:
        """Sign if the log has grown by `step` entries. Fails open: a later checkpoint covers the same."""
        if self._refused or not self._leads():
            return
        try:
            size = await self._follow()
            if not self._refused and size >= self._signed + step:
                await asyncio.shield(self._gateway.detach(self._sign()))
        except Exception as error:  # noqa: BLE001 - the next one covers the same entries
            self._gateway.faults["audit.checkpoints"] += 1
            log.warning("no audit checkpoint could be made (%s)", type(error).__name__)

    def leave(self) -> None:
        """Let another process take over."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _leads(self) -> bool:
        if self._lock >= 0:
            return True
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._path.with_name(f"{FILE}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    async def _follow(self) -> int:
        """Take in what was appended; how long the log is."""
        assert isinstance(self._gateway.storage, Governing)
        audit = self._gateway.storage.repositories.audit
        if (seen := self._seen) is None:
            before = await asyncio.to_thread(read_file, self._path)
            kept = await audit.checkpoints(LOG, _CHECKPOINTS)
            seen, self._place = Verification([*before, *kept], self._key.public), 0
            self._signed = before[-1].size if before else 0
            async for place, entry in audit.everything():
                seen.add(entry)
                self._place = place
            self._judge(seen, disorder(before) is not None)
            self._seen = seen
        faults = len(seen.faults)
        async for place, entry in audit.everything(self._place):
            seen.add(entry)
            self._place = place
        if not self._refused and len(seen.faults) > faults:
            self._judge(seen, disordered=False)
        return seen.tree.size

    def _judge(self, seen: Verification, disordered: bool) -> None:
        finding = seen.finding()
        if not finding.faults and not disordered:
            return
        self._refused = True
        told = finding.faults[0].message if finding.faults else "the file of its checkpoints was changed"
        self._gateway.faults["audit.tampered"] += 1
        operator = self._gateway.settings.governance.operator_org
        message = f"the audit log was tampered with, and is not signed any more: {told}"
        alert(self._gateway, operator, "audit_tampered", "audit", message, severity="critical")

    async def _sign(self) -> None:
        assert self._seen is not None
        assert isinstance(self._gateway.storage, Governing)
        checkpoint = sign(self._seen.tree, self._key)
        await asyncio.to_thread(keep, self._path, checkpoint)
        self._signed, self._last = checkpoint.size, time.monotonic()
        log.info(
            "audit checkpoint: size %d root %s key %s signature %s",
            checkpoint.size,
            checkpoint.root,
            checkpoint.key_id,
            checkpoint.signature,
        )
        await self._gateway.storage.repositories.audit.checkpoint(checkpoint)
