"""The paid vendors as the tests of all providers see them: the same suite holds for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

import asahi_anthropic
import asahi_cohere
import asahi_openai
from asahi_anthropic.failures import AnthropicDialect
from asahi_cohere.failures import CohereDialect
from asahi_kernel import Factory, Message, Model, Request
from asahi_kernel.config import decode
from asahi_kernel.gateway import Gateway
from asahi_kernel.http.call import Dialect
from asahi_kernel.settings import Settings
from asahi_kernel.testing import ABILITIES
from asahi_openai.failures import OpenAIDialect

KEY = "sk-canary-0123456789abcdef"


class Vendor(Struct, frozen=True, kw_only=True):
    """A provider and how it is pointed at the fake upstream. `cannot` is what its contract lists."""

    name: str
    factory: Factory[Any, Any]
    suffix: str = ""
    path: str
    price: str = "3,15,0.3,3.75"
    dialect: Callable[[str], Dialect]
    table: Mapping[str, Any] = {}
    cannot: Mapping[str, str] = {}

    @property
    def model(self) -> Model:
        """A model under another name than the vendor has for it."""
        return Model(name="registered", provider=self.factory.name, api_model=f"{self.factory.name}-test")

    @property
    def prices(self) -> str:
        """The price of that model for the fake upstream."""
        return f"{self.factory.name}-test={self.price}"

    def config(self, url: str, **fields: Any) -> Any:
        """Its configuration for the fake upstream at an address; `fields` are taken as they are."""
        table = {"api_key": KEY, "base_url": url + self.suffix, **self.table}
        return msgspec.structs.replace(decode(table, self.factory.config, self.name), **fields)

    @asynccontextmanager
    async def open(self, url: str, **fields: Any) -> AsyncIterator[Any]:
        """The open provider."""
        gateway = Gateway(Settings(profile="development"))
        async with self.factory.open(self.config(url, **fields), gateway) as provider:
            yield provider


OPENAI = Vendor(
    name="openai",
    factory=next(iter(asahi_openai.register_providers())),
    suffix="/v1",
    path="/v1/chat/completions",
    dialect=OpenAIDialect,
    table={"batches": True},
    cannot={
        "count tokens": "the wire has no call for it",
    },
)
ANTHROPIC = Vendor(
    name="anthropic",
    factory=next(iter(asahi_anthropic.register_providers())),
    path="/v1/messages",
    dialect=AnthropicDialect,
    cannot={
        "embed texts": "the vendor has no embeddings",
        "hear audio": "the vendor takes none",
        "read files": "the wire wants documents, which OpenAI's file parts do not say enough of",
        "answer in any JSON": "the wire knows schemas only",
        "give several answers": "the wire gives one",
        "take a seed": "the wire knows none",
        "take a temperature of 2": "the wire takes one of at most 1",
        "tell speakers apart": "the wire has no names",
    },
)
COHERE = Vendor(
    name="cohere",
    factory=next(iter(asahi_cohere.register_providers())),
    path="/v2/chat",
    dialect=CohereDialect,
    cannot={
        "answer in batches": "the vendor has batches of embeddings only",
        "count tokens": "the vendor counts words of a text, not of a chat",
        "call the named tool": "the wire can only ask for some tool, or none",
        "call one tool at a time": "the wire has no word for it",
        "hold one tool to its schema": "the wire holds all of them or none",
        "answer by a JSON Schema or call tools": "the wire takes one of the two",
        "hear audio": "the vendor takes none",
        "read files": "the vendor takes none",
        "give several answers": "the wire gives one",
        "take a top_p of 1": "the wire takes one of at most 0.99",
        "tell speakers apart": "the wire has no names",
    },
)
OPENAI_SDK = msgspec.structs.replace(OPENAI, name="openai-sdk", table={**OPENAI.table, "transport": "sdk"})
ANTHROPIC_SDK = msgspec.structs.replace(ANTHROPIC, name="anthropic-sdk", table={"transport": "sdk"})
VENDORS = (OPENAI, ANTHROPIC, COHERE, OPENAI_SDK, ANTHROPIC_SDK)


def ask(text: str, **fields: Any) -> Request:
    """A question; a directive for the fake upstream is written `[[fakeup: …]]`."""
    return Request(messages=(Message("user", text),), **fields)


def abilities_table() -> str:
    """What each vendor's provider can do, as the table of docs/providers.md."""
    shown = (OPENAI, ANTHROPIC, COHERE)
    rows = [["it can", *(f"`{vendor.name}`" for vendor in shown)], ["---"] * (1 + len(shown))]
    for ability in ABILITIES:
        told = (f"no: {vendor.cannot[ability]}" if ability in vendor.cannot else "yes" for vendor in shown)
        rows.append([ability, *told])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
