"""The addresses that clouds have for the same wires."""

from __future__ import annotations

import json
import re

import msgspec

from asahi_kernel.testing.fakeup import anthropic, openai
from asahi_kernel.testing.fakeup.connection import Ask
from asahi_kernel.testing.fakeup.wire import Wire

_AZURE = re.compile(r"/openai/deployments/([^/]+)/chat/completions")
_VERTEX = re.compile(r"/v1/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/([^/:]+):(raw|streamRaw)Predict")


def find(ask: Ask) -> tuple[Wire, Ask] | None:
    """The wire of a cloud's address, and the call as the vendor itself would have got it."""
    if (found := _AZURE.fullmatch(ask.path)) is not None:
        return openai, ask
    if (found := _VERTEX.fullmatch(ask.path)) is not None:
        told = json.loads(ask.body)
        streaming = found.group(2) == "streamRaw"
        if told.pop("anthropic_version", None) != "vertex-2023-10-16" or "model" in told:
            return anthropic, msgspec.structs.replace(ask, body=b"{}")
        if bool(told.get("stream")) is not streaming:
            return anthropic, msgspec.structs.replace(ask, body=b"{}")
        return anthropic, msgspec.structs.replace(ask, body=json.dumps({**told, "model": found.group(1)}).encode())
    return None
