"""A provider that answers in capitals: the smallest complete Asahi plugin."""

from contextlib import asynccontextmanager

from asahi_kernel import Completion, Config, Factory, Usage, hookimpl


class ShoutConfig(Config, frozen=True):
    mark: str = "!"


class Shout:
    def __init__(self, mark):
        self.mark = mark

    async def complete(self, model, request):
        said = request.messages[-1].text.upper() + self.mark
        text = said[: 4 * (request.max_tokens or len(said))]
        usage = Usage(len(said) // 4 + 1, -(-len(text) // 4))
        return Completion(text=text, model=model.name, usage=usage, finish_reason="stop" if text == said else "length")


@asynccontextmanager
async def open_shout(config, gateway):
    yield Shout(config.mark)


@hookimpl
def register_providers():
    yield Factory("shout", ShoutConfig, open_shout)
