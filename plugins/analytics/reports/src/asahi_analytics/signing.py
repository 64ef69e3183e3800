"""The checkpoint service: while the gateway runs, one of its workers signs the ledger's heads as they grow."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from asahi_analytics.checkpoints import FILE, Checkpoint, Signer, open_signer, read
from asahi_analytics.config import CheckpointsConfig
from asahi_kernel.background import running
from asahi_kernel.signing import append as append_line

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.settings import Settings

log = logging.getLogger("asahi.checkpoints")

_TICK_S = 5.0


@asynccontextmanager
async def open_checkpoints(config: CheckpointsConfig, gateway: Gateway) -> AsyncIterator[None]:
    """Sign every `savings.checkpoint_every` entries, every `savings.checkpoint_s` seconds, and at the end."""
    if gateway.storage.name == "memory":
        yield None
        return
    signer = _signer(gateway.settings, config.key.reveal() if config.key else None)
    path = Path(gateway.settings.governance.audit_dir) / FILE
    async with running(_sign(gateway, signer, path)):
        yield None


def signer_of(settings: Settings) -> Signer:
    """The signer that these settings give the service."""
    return _signer(settings, settings.services.get("checkpoints", {}).get("key"))


def _signer(settings: Settings, own: str | None) -> Signer:
    shared = settings.encryption.checkpoint_key
    return open_signer(Path(settings.encryption.dir), own or (shared.reveal() if shared else None))


async def _sign(gateway: Gateway, signer: Signer, path: Path) -> None:
    savings = gateway.settings.savings
    signed, last = 0, time.monotonic()
    try:
        while True:
            await asyncio.sleep(min(_TICK_S, savings.checkpoint_s))
            due = time.monotonic() - last >= savings.checkpoint_s
            size = await attempt(gateway, signer, path, signed, 1 if due else savings.checkpoint_every)
            if size > signed:
                signed, last = size, time.monotonic()
    finally:
        await asyncio.shield(attempt(gateway, signer, path, signed, 1))


async def attempt(gateway: Gateway, signer: Signer, path: Path, signed: int, step: int) -> int:
    """Sign if the ledger has grown by `step` entries; how far it is signed now. Fails open: a later one covers it."""
    try:
        heads = await gateway.storage.ledger.heads()
        size = sum(head.seq for head in heads.values())
        if size < signed + step:
            return signed
        checkpoint = signer.sign(heads)
        if await asyncio.to_thread(append, path, checkpoint):
            log.info(
                "savings checkpoint: size %d root %s key %s signature %s",
                checkpoint.size,
                checkpoint.root,
                checkpoint.key_id,
                checkpoint.signature,
            )
    except Exception as error:  # noqa: BLE001 - the next one covers the same entries
        gateway.faults["checkpoints"] += 1
        log.warning("no savings checkpoint could be made (%s)", type(error).__name__)
        return signed
    return size


def append(path: Path, checkpoint: Checkpoint) -> bool:
    """Add a checkpoint to the file, unless another worker was faster."""

    def known(file: BinaryIO) -> bool:
        last = _last(file)
        return last is not None and last.size >= checkpoint.size

    return append_line(path, msgspec.json.encode(checkpoint), known)


def _last(file: BinaryIO) -> Checkpoint | None:
    found = read(file)
    return found[-1] if found else None
