"""A provider that answers in capitals: the smallest complete Asahi plugin."""

from contextlib import asynccontextmanager

from asahi_kernel import Completion, Config, Factory, Usage, hookimpl


class ShoutConfig(Config, frozen=True):
    mark: str = "!"


class Shout:
    def __init__(self, mark):
        self.mark = mark

    async def complete(self, model, request):
        text = request.messages[-1].text.upper() + self.mark
        return Completion(text=text, model=model.name, usage=Usage(len(text) // 4 + 1, len(text) // 4 + 1))


@asynccontextmanager
async def open_shout(config, gateway):
    yield Shout(config.mark)


@hookimpl
def register_providers():
    yield Factory("shout", ShoutConfig, open_shout)
