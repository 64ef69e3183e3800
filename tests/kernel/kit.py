"""What the tests of the pipeline share: a gateway with a ready-made plugin, and ways to ask it."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from asahi_kernel import pipeline
from asahi_kernel.config import decode
from asahi_kernel.factory import Config, Factory
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.hookspecs import hookimpl
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.trace import Trace

FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
replace = msgspec.structs.replace


def plugin(**kinds):
    """A plugin registering ready-made backends: kind=(name, backend)."""

    class Plugin:
        pass

    for kind, (name, backend) in kinds.items():

        @asynccontextmanager
        async def opened(config, gateway, backend=backend):
            yield backend

        def register(self, factory=None, name=name, opened=opened):
            return [Factory(name, Config, opened)]

        register.__name__ = f"register_{kind}"
        setattr(Plugin, f"register_{kind}", hookimpl(_named(register, kind, name, opened)))
    return Plugin()


def _named(_register, kind, name, opened):
    def register(self):
        return [Factory(name, Config, opened)]

    register.__name__ = f"register_{kind}"
    return register


@asynccontextmanager
async def gateway_of(tree=None, **kinds):
    plugins = load_plugins()
    if kinds:
        plugins.manager.register(plugin(**kinds), name="test")
    settings = decode({"profile": "development", "storage": "memory", **(tree or {})}, Settings, "test")
    async with running(Gateway(settings), plugins) as gateway:
        yield gateway


async def ask(gateway, request=ASK, principal=HERE):
    return await pipeline.infer(gateway, request, principal, Trace("/infer"))


async def chunks_of(gateway, request=ASK, principal=HERE):
    relay = pipeline.stream(gateway, request, principal, Trace("/infer"))
    items = []
    while batch := await relay.take():
        items += batch
    return items


async def events_of(gateway, org="here"):
    await gateway.journal.flush()
    return [event async for event in gateway.storage.events.between(org, FIRST, LAST)]


def faults(*scripts, **more):
    return {"providers": {"mock": {"faults": list(scripts), "backoff_base_s": 0.001, **more}}}
