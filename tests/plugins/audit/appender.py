"""A process that appends to the audit log of a storage: `python -m tests.plugins.audit.appender TREE COUNT`."""

import asyncio
import json
import sys

from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings


async def main(tree, count):
    settings = decode(tree, Settings, "test")
    async with running(Gateway(settings), load_plugins()) as gateway:
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

        async def append(number):
            actor = Actor(org=f"org{number % 5}", user="ann")
            await gateway.audit.record(entry_of(actor, "policy_update", "policy", {"n": number}))

        await asyncio.gather(*[append(number) for number in range(count)])


asyncio.run(main(json.loads(sys.argv[1]), int(sys.argv[2])))
