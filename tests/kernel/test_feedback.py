"""`POST /feedback`: read strictly, told to the rules that learn, and obeyed by the caches."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from litestar.testing import AsyncTestClient

from asahi_kernel.api.feedback import read
from asahi_kernel.app import create_app
from asahi_kernel.config import decode
from asahi_kernel.errors import AsahiError
from asahi_kernel.factory import Config, Factory
from asahi_kernel.gateway import Gateway
from asahi_kernel.hookspecs import hookimpl
from asahi_kernel.identity import new_id
from asahi_kernel.plugins import load_plugins
from asahi_kernel.records import Observation
from asahi_kernel.settings import Settings
from asahi_kernel.types import Findings

pytestmark = pytest.mark.anyio
KEYS = {org: f"{org}-0123456789abcdef0123456789" for org in ("acme", "globex")}


class Pupil:
    """A rule that finds out the same of everything, and listens."""

    def __init__(self) -> None:
        self.heard: list[Observation] = []

    async def rank(self, request: object, principal: object, candidates: Any) -> Any:
        found = Findings(task="faq", difficulty="easy")
        return [msgspec.structs.replace(each, findings=found) for each in candidates]

    async def observe(self, observation: Observation) -> None:
        if observation.quality == 4.5:
            raise RuntimeError
        self.heard.append(observation)


@asynccontextmanager
async def served(pupil: Pupil):
    @asynccontextmanager
    async def opened(config: Config, gateway: Gateway):
        yield pupil

    class Plugin:
        @hookimpl
        def register_rules(self):
            return [Factory("pupil", Config, opened)]

    plugins = load_plugins()
    plugins.manager.register(Plugin(), name="test")
    keys = [{"key": key, "org": org, "user": f"{org}-user"} for org, key in KEYS.items()]
    tree = {"auth": {"type": "static", "keys": keys}, "routing": {"rules": ["pupil", "cheapest"]}}
    settings = decode(tree, Settings, "test")
    gateway = Gateway(settings)
    async with AsyncTestClient(create_app(settings, plugins, gateway)) as client:
        yield (
            gateway,
            lambda path, body, org="acme": client.post(
                path, json=body, headers={"authorization": f"Bearer {KEYS[org]}"}
            ),
        )


async def infer(post: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await post("/infer", {"prompt": "What is the capital of France?"})).json()
    return answer


async def test_a_judgement_is_told_to_the_rules_that_learn() -> None:
    pupil = Pupil()
    async with served(pupil) as (_, post):
        answer = await infer(post)
        for judgement in ({"rating": 2.5}, {"thumb": "up"}, {"thumb": "down", "comment": "no"}):
            sent = await post("/feedback", {"request_id": answer["request_id"], **judgement})
            assert (sent.status_code, sent.content) == (204, b"")
    assert [each.quality for each in pupil.heard] == [2.5, 5.0, 1.0]
    heard = pupil.heard[0]
    assert (heard.org, heard.user, heard.model) == ("acme", "acme-user", answer["model_used"])
    assert (heard.task, heard.difficulty, heard.weight) == ("faq", "easy", 1.0)


async def test_another_orgs_request_is_as_unknown_as_any() -> None:
    pupil = Pupil()
    async with served(pupil) as (_, post):
        request_id = (await infer(post))["request_id"]
        foreign = await post("/feedback", {"request_id": request_id, "rating": 0}, "globex")
        unknown = await post("/feedback", {"request_id": new_id(), "rating": 0})
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json()["message"] == unknown.json()["message"]
    assert pupil.heard == []


async def test_a_wrong_hit_is_gone_at_once_and_teaches_nothing() -> None:
    pupil = Pupil()
    async with served(pupil) as (gateway, post):
        await infer(post)
        hit = await infer(post)
        assert hit["cache_hit"]
        body = {"request_id": hit["request_id"], "cache_wrong": True, "rating": 0}
        assert (await post("/feedback", body)).status_code == 204
        assert await gateway.tiers["exact"].entries("acme") == []
        assert not (await infer(post))["cache_hit"]
    assert pupil.heard == []


async def test_a_right_hit_stays() -> None:
    async with served(Pupil()) as (_, post):
        await infer(post)
        body = {"request_id": (await infer(post))["request_id"], "cache_wrong": False}
        assert (await post("/feedback", body)).status_code == 204
        assert (await infer(post))["cache_hit"]


async def test_a_rule_that_fails_to_learn_is_counted_and_harms_nobody() -> None:
    async with served(Pupil()) as (gateway, post):
        body = {"request_id": (await infer(post))["request_id"], "rating": 4.5}
        assert (await post("/feedback", body)).status_code == 204
        assert gateway.faults["rule.observe"] == 1


async def test_a_refusal_names_the_field() -> None:
    async with served(Pupil()) as (_, post):
        refused = await post("/feedback", {"request_id": new_id(), "rating": 6})
        assert (refused.status_code, refused.json()["details"]) == (400, {"param": "rating"})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("{}", "request_id"),
        ('{"request_id": "ID"}', "rating"),
        ('{"request_id": "x", "rating": 1}', "request_id"),
        ('{"request_id": "ID", "rating": 5.1}', "rating"),
        ('{"request_id": "ID", "rating": -0.1}', "rating"),
        ('{"request_id": "ID", "rating": true}', "rating"),
        ('{"request_id": "ID", "rating": "5"}', "rating"),
        ('{"request_id": "ID", "thumb": "sideways"}', "thumb"),
        ('{"request_id": "ID", "thumb": "up", "rating": 1}', "thumb"),
        ('{"request_id": "ID", "cache_wrong": 1}', "cache_wrong"),
        ('{"request_id": "ID", "rating": 1, "comment": "' + "x" * 2_001 + '"}', "comment"),
        ('{"request_id": "ID", "rating": 1, "ratings": 1}', "ratings"),
        ('{"request_id": "ID", "rating": 1, "rating": 1}', "rating"),
        ('{"request_id": "ID", "rating": NaN}', None),
        ("[]", None),
        ("", None),
    ],
)
def test_what_is_not_feedback_is_refused_with_the_field_at_fault(body: str, param: str | None) -> None:
    with pytest.raises(AsahiError) as refused:
        read(body.replace("ID", new_id()).encode())
    assert (refused.value.status, refused.value.param) == (400, param)
