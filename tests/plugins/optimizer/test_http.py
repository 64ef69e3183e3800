"""The optimizer behind HTTP: what the caller is told, what is refused, and what feedback changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from asahi_kernel.app import create_app
from asahi_kernel.config import decode
from asahi_kernel.settings import Settings

pytestmark = pytest.mark.anyio
POLICY = {
    "prompt": "Summarize the attached policy in three sentences.",
    "document": "Clause. " * 200,
    "document_id": "policy-2026-04",
    "routing_mode": "guided",
    "quality_preference": "medium",
    "latency_preference": "fast",
    "cost_budget": 0.01,
}


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    settings = decode({"profile": "development"}, Settings, "test")
    async with AsyncTestClient(create_app(settings)) as client:  # type: ignore[arg-type, type-var]
        yield client


async def test_the_answer_says_what_was_found_and_why_this_model(client: Any) -> None:
    answer = (await client.post("/infer", json={**POLICY, "prompt": f"{POLICY['prompt']} Explain it."})).json()
    assert answer["routing_reason"].startswith(
        "cheapest of 2 adequate models: quality 3.80 >= 3.50, 80 ms <= 300 ms, $0"
    )
    assert answer["routing_reason"].endswith(" <= $0.01")
    assert (answer["model_used"], answer["predicted_quality"], answer["difficulty"]) == (
        "claude-3-5-haiku",
        3.8,
        "medium",
    )
    assert (answer["fallback_used"], answer["relaxed"]) == (False, [])
    easy = (await client.post("/infer", json=POLICY)).json()
    assert (easy["task_type_detected"], easy["task_confidence"], easy["difficulty"]) == ("summarization", 0.3, "easy")


async def test_explain_holds_the_whole_decision(client: Any) -> None:
    answer = (await client.post("/infer", json=POLICY)).json()
    told = (await client.get(f"/explain/{answer['request_id']}")).json()
    assert told["task"] == {"type": "summarization", "confidence": 0.3, "matches": {"summarization": 1}}
    assert (told["difficulty"]["bucket"], told["difficulty"]["predictor"]) == ("easy", "rules-1")
    assert told["required"] == {
        "quality": 3.5,
        "latency_ms": 300,
        "cost": 0.01,
        "source": {"quality": "preference", "latency_ms": "preference", "cost": "caller"},
    }
    (chosen,) = [each for each in told["candidates"] if each["chosen"]]
    assert chosen["interval"][0] < chosen["predicted_quality"] < chosen["interval"][1]
    assert all("reason" in each for each in told["candidates"] if not each["chosen"])
    assert not any(word in str(told) for word in ("attached", "Clause", "policy-2026-04"))


async def test_models_shows_what_each_task_asks_for(client: Any) -> None:
    told = (await client.get("/models")).json()
    assert told["default_constraints"]["legal"] == {"quality": 4.2, "latency_ms": 2_000}
    assert set(told["default_constraints"]) <= set(told["task_types"])


async def test_a_relaxed_choice_says_so(client: Any) -> None:
    body = {"prompt": "Hello there", "quality_preference": "max", "latency_preference": "instant"}
    answer = (await client.post("/infer", json=body)).json()
    assert (answer["model_used"], answer["fallback_used"], answer["relaxed"]) == ("gpt-4-turbo", True, ["latency"])


async def test_feedback_moves_the_next_choice_of_that_org(client: Any) -> None:
    """Two thumbs down make 3.74 into 3.49, which is below the 3.5 that a question asks for."""
    chosen = []
    for number in range(3):
        answer = (await client.post("/infer", json={"prompt": f"What is the capital of France? ({number})"})).json()
        chosen.append((answer["model_used"], answer["predicted_quality"]))
        body = {"request_id": answer["request_id"], "thumb": "down"}
        assert (await client.post("/feedback", json=body)).status_code == 204
    assert chosen == [("mistral-7b", 3.74), ("mistral-7b", 3.6095), ("claude-3-5-haiku", 4.16)]


@pytest.mark.parametrize("route", ["/infer", "/v1/chat/completions"])
@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"quality_preference": "best"}, "invalid_preference", "'low', 'medium', 'high', 'max'"),
        ({"latency_preference": "soon"}, "invalid_preference", "'slow', 'normal', 'fast', 'instant'"),
        ({"routing_mode": "explicit"}, "model_required", "needs a `model`"),
        ({"model": "gpt-9"}, "unknown_model", "no model 'gpt-9'"),
    ],
)
async def test_what_cannot_be_routed_is_refused(
    client: Any, route: str, fields: dict[str, str], code: str, words: str
) -> None:
    """RT-3."""
    native = route == "/infer"
    asked = {"prompt": "hi"} if native else {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    own = {} if native else {f"x-asahi-{name.replace('_', '-')}": value for name, value in fields.items()}
    own.pop("x-asahi-model", None)
    body = asked | (fields if native or "model" in fields else {})
    refused = await client.post(route, json=body, headers=own)
    lost = code == "unknown_model" and not native
    told = refused.json() if native else refused.json()["error"]
    assert refused.status_code == (404 if lost else 400)
    assert told["error" if native else "code"] == ("model_not_found" if lost else code)
    assert all(word in told["message"] for word in words.split(", "))
