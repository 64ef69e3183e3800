"""What the tests of asahi-guard share: a gateway with its policies, whose orgs have what a test gives them."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from tests.kernel.kit import gateway_of

from asahi_kernel.repositories.rules import ComplianceProfile, OrgPolicy
from asahi_kernel.testing import ASK, HERE
from asahi_kernel.types import Chunk, Completion, Message, Usage

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ORG = HERE.org
ALL = ["models", "compliance", "pii", "injection"]
replace = msgspec.structs.replace


class Model:
    """A provider that says what it is told to, in the pieces it is told to, and remembers what it was asked."""

    wire = "*"

    def __init__(self, *pieces, calls=()):
        self.pieces, self.calls, self.asked = pieces, calls, []

    async def complete(self, model, request):
        self.asked.append(request)
        return Completion(text="".join(self.pieces), model=model.name, usage=Usage(10, 5))

    async def stream(self, model, request):
        self.asked.append(request)
        for piece in self.pieces:
            yield piece if isinstance(piece, Chunk) else Chunk(text=piece)
        for call in self.calls:
            yield Chunk(tool_calls=(call,))
        yield Chunk(finish_reason="tool_calls" if self.calls else "stop", usage=Usage(10, 5))


def asking(text, **fields):
    terms = replace(ASK.terms, **fields.pop("terms", {}))
    return replace(ASK, messages=(Message("user", text),), terms=terms, **fields)


@asynccontextmanager
async def guarded(model=None, policies=ALL, tree=None, **policy):
    model = model or Model("Paris.")
    base = {"governance": {"policies": list(policies)}, **MODELS, **(tree or {})}
    async with gateway_of(base, providers=("scripted", model)) as gateway:
        gateway.model = model
        if policy:
            await given(gateway, **policy)
        yield gateway


async def given(gateway, **fields):
    """Save a policy for the org; in force at once."""
    saved = OrgPolicy(org_id=ORG, updated_at=NOW, **fields)
    assert await gateway.storage.repositories.policies.save_policy(saved)
    gateway.standings.forget(ORG)


async def profiled(gateway, *frameworks, **fields):
    """Save a compliance profile for the org; in force at once."""
    profile = ComplianceProfile(org_id=ORG, updated_at=NOW, frameworks=frameworks, **fields)
    assert await gateway.storage.repositories.compliance.save(profile)
    gateway.standings.forget(ORG)


def text_of(items):
    return "".join(item.text for item in items if isinstance(item, Chunk))


MODELS = {
    "providers": {"scripted": {}},
    "models": [
        {"name": name, "provider": "scripted", "region": region, "quality_score": 4.0,
         "cost_per_1k_input_tokens": price, "cost_per_1k_output_tokens": price}
        for name, region, price in (("small", "eu", 0.001), ("large", "us", 0.01), ("nowhere", None, 0.002))
    ],
}  # fmt: skip
