"""Runs the fake upstream as a process of its own, so that its CPU is not counted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def upstream(*options: str) -> AsyncIterator[str]:
    """The address of a fake upstream."""
    command = (sys.executable, "-m", "asahi_kernel.testing.fakeup", *options)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        yield line.decode().removeprefix("listening on ").strip()
    finally:
        process.terminate()
        await process.wait()


def body(text: str, *, stream: bool = False) -> bytes:
    """A chat request."""
    flag = b"true" if stream else b"false"
    return b'{"model":"m","stream":%b,"messages":[{"role":"user","content":"%b"}]}' % (flag, text.encode())
