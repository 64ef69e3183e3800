"""A process that appends to the audit log of a storage: `python -m tests.plugins.audit.appender TREE COUNT`."""

import asyncio
import json
import sys
from collections import Counter

from asahi_kernel.auditing import Actor, AuditWriter, entry_of
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway, storing
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings


async def main(tree, count):
    gateway = Gateway(decode(tree, Settings, "test"))
    async with storing(gateway, load_plugins()) as storage:
        writer = AuditWriter(storage, Counter())
        async with writer.writing():
            print("ready", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

            async def append(number):
                actor = Actor(org=f"org{number % 5}", user="ann")
                await writer.record(entry_of(actor, "policy_update", "policy", {"n": number}))

            for start in range(0, count, 10):
                await asyncio.gather(*[append(number) for number in range(start, start + 10)])


asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2])))
