"""What comes in by this wire goes out by it, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from asahi_anthropic.encode import encode
from asahi_kernel.wire import anthropic

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12).map(
    lambda text: "w" + text
)
TREE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
OBJECT = st.dictionaries(TEXT, TREE, max_size=3)
NAME = st.from_regex(r"\A[a-zA-Z0-9_-]{1,20}\Z")
MARK = {"cache_control": st.just({"type": "ephemeral", "ttl": "1h"}), "x_new": TREE}


def _object(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


SAID = _object({"type": st.just("text"), "text": TEXT}, MARK)
SOURCE = st.just({"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}) | st.just(
    {"type": "url", "url": "https://a.example/b.png"}
)
IMAGE = _object({"type": st.just("image"), "source": SOURCE}, MARK)
OTHER = _object({"type": st.sampled_from(["document", "search_result", "brand_new"])}, {"x": TREE, **MARK})
RESULT = _object(
    {"type": st.just("tool_result"), "tool_use_id": NAME},
    {"content": TEXT | st.lists(SAID | IMAGE, min_size=1, max_size=2), "is_error": st.just(True), **MARK},
)
USE = _object({"type": st.just("tool_use"), "id": NAME, "name": NAME, "input": OBJECT}, MARK)
THOUGHT = _object({"type": st.just("thinking"), "thinking": TEXT, "signature": TEXT}, {})
ASKED = _object({"role": st.just("user"), "content": TEXT | st.lists(SAID | IMAGE | OTHER, min_size=1, max_size=3)}, {})
RESULTS = _object({"role": st.just("user"), "content": st.lists(RESULT | SAID, min_size=1, max_size=3)}, {})
ANSWERED = _object(
    {"role": st.just("assistant"), "content": TEXT | st.lists(SAID | THOUGHT | USE | OTHER, min_size=1, max_size=4)}, {}
)
TOOL = _object(
    {"name": NAME, "input_schema": OBJECT}, {"description": TEXT, "strict": st.booleans(), **MARK}
) | _object({"type": st.just("web_search_20250305"), "name": st.just("web_search")}, {"max_uses": st.integers(1, 9)})
BODY = _object(
    {
        "model": st.just("m"),
        "max_tokens": st.integers(0, 9_999),
        "messages": st.tuples(
            st.just({"role": "user", "content": "hello"}), st.lists(ASKED | RESULTS | ANSWERED, max_size=4)
        ).map(lambda given: [given[0], *given[1]]),
    },
    {
        "system": TEXT | st.lists(SAID, min_size=1, max_size=2),
        "tools": st.lists(TOOL, min_size=1, max_size=2),
        "tool_choice": st.sampled_from(
            [
                {"type": "auto"},
                {"type": "any", "disable_parallel_tool_use": True},
                {"type": "tool", "name": "f"},
                {"type": "none"},
                {"type": "auto", "x_new": 1},
            ]
        ),
        "stop_sequences": st.lists(TEXT, min_size=1, max_size=6),
        "temperature": st.floats(0, 1),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(0, 9),
        "thinking": st.just({"type": "adaptive"}),
        "output_config": st.just({"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "low"}),
        "service_tier": st.just("auto"),
        "cache_control": st.just({"type": "ephemeral"}),
        "x_new": TREE,
    },
)


@settings(max_examples=300, deadline=None)
@given(BODY)
def test_everything_in_a_body_arrives_at_the_vendor(body: dict[str, Any]) -> None:
    request = anthropic.decode(json.dumps(body).encode(), {}).request
    arrived = json.loads(encode(request, "m", stream=False, default_max_tokens=1))
    assert _normal(arrived) == _normal(body)


def _normal(body: dict[str, Any]) -> dict[str, Any]:
    """The body with what the vendor documents as the same written in one way."""
    turns: list[dict[str, Any]] = []
    for turn in body["messages"]:
        blocks = _blocks(turn["content"])
        if turns and turns[-1]["role"] == turn["role"] == "user":
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": turn["role"], "content": blocks})
    normal = {**body, "messages": turns}
    if "system" in body:
        normal["system"] = _blocks(body["system"])
    return normal


def _blocks(content: Any) -> list[dict[str, Any]]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [_block(block) for block in blocks]


def _block(block: dict[str, Any]) -> dict[str, Any]:
    if block["type"] == "tool_result" and "content" in block:
        block = {**block, "content": _blocks(block["content"])}
    return block
