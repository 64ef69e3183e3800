"""SDK by feature by vendor: each cell is really asked of a served gateway, and answered whole or refused with a reason.

What a cell asks for is held against what the vendor was sent, word for word: a cell that drops something fails. The
mock sends nothing, but its text is a function of the whole request, so that leaving the feature out must change it.
"""

import json
from pathlib import Path

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI
from tests.conftest import MATRIX
from tests.e2e.matrix import CAPABILITIES, FEATURES, REFUSED, VENDORS
from tests.e2e.served import gateway, upstream

KEY = "a-long-random-key-0123456789"
OFF = {"cache": "off"}
ERRORS = (openai.APIStatusError, anthropic.APIStatusError)


class Served:
    """The gateway, and what the vendors behind it were sent."""

    def __init__(self, url: str, bodies: Path) -> None:
        self.bodies = bodies
        self.openai = OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        self.anthropic = Anthropic(base_url=url, api_key=KEY, max_retries=0)

    def heard(self) -> list[dict]:
        return [json.loads(line) for line in self.bodies.read_text().splitlines()] if self.bodies.exists() else []


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    bodies = folder / "bodies.jsonl"
    with upstream(folder, "--bodies", str(bodies)) as (vendor, _):
        resilience = {"max_retries": 0, "breaker": {"consecutive_failures": 1_000, "min_calls": 1_000}}
        models = []
        for name, each in VENDORS.items():
            prices = {"cost_per_1k_input_tokens": 0.001, "cost_per_1k_output_tokens": 0.002}
            models.append({"name": f"{name}-chat", "provider": name, "capabilities": CAPABILITIES, **prices})
            if each.embeds:
                model = {"name": f"{name}-embed", "provider": name, "capabilities": ["embeddings"]}
                models.append({**model, "cost_per_1k_input_tokens": 0.001})
        configuration = {
            "auth": {"type": "static", "keys": [{"key": KEY}]},
            "providers": {name: {**each.provider(vendor.url), **resilience} for name, each in VENDORS.items()},
            "models": models,
        }
        with gateway(folder, configuration) as process:
            yield Served(process.url, bodies)


def ask(served, feature, model, more):
    """The SDK's answer to the feature's question with `more` laid over it."""
    question = f"What is the matrix? {'[[fakeup: tool=canary_tool]]' if feature.check == 'tool' else ''}"
    more = dict(more)
    part, system = more.pop("part", None), more.pop("system", None)
    if feature.call == "embeddings":
        return served.openai.embeddings.create(model=model, input=[question], extra_body=OFF, **more)
    kind = feature.call.split()[0]
    text = {"type": "input_text" if kind == "responses" else "text", "text": question}
    turn = {"role": "user", "content": question if part is None else [text, part]}
    if kind == "chat":
        turns = [turn] if system is None else [{"role": "system", "content": system}, turn]
        call = served.openai.chat.completions.create
        return call(model=model, messages=turns, stream=feature.call == "chat stream", extra_body=OFF, **more)
    if kind == "responses":
        call = served.openai.responses.create
        return call(model=model, input=[turn], stream=feature.call == "responses stream", extra_body=OFF, **more)
    given = {"max_tokens": 500, **more, "extra_body": {**OFF, **more.get("extra_body", {})}}
    if system is not None:
        given["system"] = system
    if kind == "count":
        del given["max_tokens"], given["extra_body"]
        return served.anthropic.messages.count_tokens(model=model, messages=[turn], **given)
    stream = feature.call == "messages stream"
    return served.anthropic.messages.create(model=model, messages=[turn], stream=stream, **given)


def text_of(feature, answer):
    """The answer's text, after a look at what was asked for."""
    kind = feature.call.split()[0]
    if feature.check == "stream":
        return _streamed(kind, list(answer))
    if feature.check == "vectors":
        assert len(answer.data[0].embedding) == 256
        return str(answer.data[0].embedding)
    if feature.check == "count":
        assert answer.input_tokens > 0
        return str(answer.input_tokens)
    if kind == "chat":
        assert len(answer.choices) == (2 if feature.check == "two" else 1)
        return answer.choices[0].message.content or answer.choices[0].message.tool_calls[0].function.name
    if kind == "responses":
        return answer.output_text or answer.output[0].name
    return "".join(block.text if block.type == "text" else getattr(block, "name", "") for block in answer.content)


def _streamed(kind, events):
    if kind == "chat":
        assert events[-1].choices[0].finish_reason == "stop"
        return "".join(event.choices[0].delta.content or "" for event in events)
    if kind == "responses":
        assert events[-1].type == "response.completed"
        return "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[-1].type == "message_stop"
    return "".join(event.delta.text for event in events if event.type == "content_block_delta")


def run(served, feature, vendor):
    """What became of the cell: `ok`, or the status and text of the refusal. Nothing asked for may be missing."""
    model = f"{vendor}-embed" if feature.call == "embeddings" and VENDORS[vendor].embeds else f"{vendor}-chat"
    before = len(served.heard())
    try:
        answer = ask(served, feature, model, feature.more)
    except ERRORS as error:
        assert len(served.heard()) == before, "refused, but the vendor was asked"
        return error.status_code, str(error.body)
    text = text_of(feature, answer)
    assert text
    if feature.check == "tool":
        assert text == "canary_tool"
    sent = served.heard()[before:]
    if not VENDORS[vendor].chat:
        assert not sent
        for left_out in feature.more if feature.check not in ("two", "count") else ():
            rest = {name: value for name, value in feature.more.items() if name != left_out}
            assert traits(feature, ask(served, feature, model, rest)) != traits(
                feature, ask(served, feature, model, feature.more)
            ), f"the mock answers as if there was no {left_out}"
        return 200, "ok"
    wanted = {"embeddings": VENDORS[vendor].embed, "count": VENDORS[vendor].count}.get(feature.call)
    if wanted == "":
        assert not sent
        return 200, "ok, an estimate"
    (heard,) = sent
    assert heard["path"] == (VENDORS[vendor].chat if wanted is None else wanted)
    missing = [needle for needle in feature.needles if needle not in heard["body"]]
    assert not missing, f"dropped on the way: {missing} not in {heard['body']}"
    return 200, "ok"


def traits(feature, answer):
    """What in an answer of the mock depends on every part of the request: its text, or the id of its call."""
    kind = feature.call.split()[0]
    if feature.check == "stream":
        return _streamed(kind, list(answer))
    if feature.check == "vectors":
        return answer.data[0].embedding
    if kind == "chat":
        message = answer.choices[0].message
        return message.content, [call.id for call in message.tool_calls or ()]
    if kind == "responses":
        return answer.output_text, [getattr(item, "call_id", "") for item in answer.output]
    return [getattr(block, "text", "") or block.id for block in answer.content]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("name", FEATURES)
def test_a_cell_is_answered_whole_or_refused_with_the_reason_we_know(served, name, vendor):
    MATRIX.setdefault(name, {})[vendor] = "FAILED"
    status, told = run(served, FEATURES[name], vendor)
    wanted = REFUSED.get((name, vendor))
    if wanted is None:
        assert status == 200, f"refused without our knowing: {status} {told}"
    else:
        assert status == wanted[0], f"should be refused with {wanted}, but: {status} {told}"
        assert wanted[1] in told
    MATRIX[name][vendor] = told if status == 200 else f"{status} {wanted[1]}"


def test_every_refusal_names_a_cell():
    assert {name for name, _ in REFUSED} <= set(FEATURES)
    assert {vendor for _, vendor in REFUSED} <= set(VENDORS)
    assert all(len(reason) > 8 for _, reason in REFUSED.values())


def test_what_is_dropped_is_noticed(served):
    """The matrix must be able to fail: a needle that the vendor was not sent is one."""
    from dataclasses import replace

    with pytest.raises(AssertionError, match="dropped on the way"):
        run(served, replace(FEATURES["openai vision"], needles=("never sent",)), "openai")
    with pytest.raises(AssertionError, match="as if there was no user"):
        run(served, replace(FEATURES["openai vision"], more={"user": "a label shapes no answer"}), "mock")
