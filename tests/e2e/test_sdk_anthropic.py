"""The official Anthropic SDK, unchanged but for its base URL, against the gateway in front of the scripted vendor.

`claude` is served by the messages wire, `gpt` by the chat wire, both by the same vendor with books of its own.
"""

import json

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI
from tests.e2e.served import gateway, settled, upstream

KEY = "a-long-random-key-0123456789"
CLAUDE = {
    "name": "claude",
    "provider": "anthropic",
    "api_model": "vendor-claude",
    "cost_per_1k_input_tokens": 0.003,
    "cost_per_1k_output_tokens": 0.015,
    "cost_per_1k_cache_read_tokens": 0.0003,
    "cost_per_1k_cache_write_tokens": 0.00375,
    "capabilities": ["tools", "vision", "json_schema", "streaming", "file"],
}
GPT = {
    "name": "gpt",
    "provider": "openai",
    "api_model": "vendor-gpt",
    "cost_per_1k_input_tokens": 0.0005,
    "cost_per_1k_output_tokens": 0.0015,
}
LOOK = {
    "name": "look_up",
    "description": "look something up",
    "input_schema": {"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]},
}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
EITHER = pytest.mark.parametrize("model", ["claude", "gpt"])


class Served:
    """The gateway's address and the vendor's books."""

    def __init__(self, url, ledger, bodies):
        self.url = url
        self.ledger = ledger
        self.bodies = bodies

    def rows(self):
        return settled(self.ledger, self.bodies)

    def last_row(self):
        return self.rows()[-1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdk")
    prices = ("--price", "vendor-claude=3,15,0.3,3.75", "--price", "vendor-gpt=0.5,1.5")
    bodies = folder / "bodies.jsonl"
    with upstream(folder, *prices, "--key", "sk-vendor", "--bodies", str(bodies)) as (vendor, ledger):
        resilience = {"max_retries": 0, "breaker": {"consecutive_failures": 1_000, "min_calls": 1_000}}
        configuration = {
            "auth": {"type": "static", "keys": [{"key": KEY}]},
            "providers": {
                "anthropic": {"api_key": "sk-vendor", "base_url": vendor.url, **resilience},
                "openai": {"api_key": "sk-vendor", "base_url": f"{vendor.url}/v1", **resilience},
            },
            "models": [CLAUDE, GPT],
        }
        with gateway(folder, configuration) as process:
            yield Served(process.url, ledger, bodies)


@pytest.fixture(scope="module")
def client(served):
    with Anthropic(base_url=served.url, api_key=KEY, max_retries=0) as client:
        yield client


def ask(client, content, model="claude", **more):
    messages = content if isinstance(content, list) and "role" in content[0] else [{"role": "user", "content": content}]
    return client.messages.create(model=model, max_tokens=500, messages=messages, **more)


@EITHER
def test_it_creates_and_tells_what_it_cost(client, served, model):
    message = ask(client, "hello there", model)
    (block,) = message.content
    assert (block.type, bool(block.text), message.stop_reason) == ("text", True, "end_turn")
    assert (message.model, message.role, message.id) == (model, "assistant", f"msg_{message._request_id}")
    row = served.last_row()
    assert (message.usage.input_tokens, message.usage.output_tokens) == (row["input_tokens"], row["output_tokens"])
    assert round(message.asahi["cost"] * 1e9) == row["cost"]


@EITHER
@pytest.mark.parametrize("turn", ["miss", "hit"])
def test_it_streams_and_ends_with_the_usage(client, model, turn):
    asked = {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": "stream please"}]}
    with client.messages.stream(**asked) as events:
        text = "".join(events.text_stream)
        message = events.get_final_message()
    whole = client.messages.create(**asked)
    assert text == message.content[0].text == whole.content[0].text
    assert (message.usage.input_tokens, message.usage.output_tokens) == (
        whole.usage.input_tokens,
        whole.usage.output_tokens,
    )
    assert (message.stop_reason, message.model) == ("end_turn", model)


def test_a_bound_ends_the_answer(client):
    message = client.messages.create(
        model="claude", max_tokens=4, messages=[{"role": "user", "content": "[[fakeup: tokens=9]]"}]
    )
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 4)


@EITHER
def test_the_system_prompt_arrives(client, served, model):
    ask(client, "with system", model)
    without = served.last_row()["input_tokens"]
    ask(client, "with system", model, system=[{"type": "text", "text": "x" * 400}])
    assert served.last_row()["input_tokens"] > without + 90


@EITHER
@pytest.mark.parametrize("stream", [False, True])
def test_it_calls_a_tool_and_takes_the_result(client, model, stream):
    question = f"use the tool, stream={stream} [[fakeup: tool=look_up]]"
    asked = {"model": model, "max_tokens": 500, "tools": [LOOK]}
    turns = [{"role": "user", "content": question}]
    if stream:
        with client.messages.stream(**asked, messages=turns) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**asked, messages=turns)
    (call,) = message.content
    assert (call.type, call.name, message.stop_reason) == ("tool_use", "look_up", "tool_use")
    assert call.input.keys() == {"a"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "found"}
    turns += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result, {"type": "text", "text": "and?"}]},
    ]
    assert client.messages.create(**asked, messages=turns).content[0].text


@EITHER
def test_it_insists_on_a_tool(client, model):
    message = ask(client, "no need", model, tools=[LOOK], tool_choice={"type": "tool", "name": "look_up"})
    assert message.content[0].name == "look_up"
    single = {"type": "any", "disable_parallel_tool_use": True}
    assert ask(client, "no need", model, tools=[LOOK], tool_choice=single).content[0].name == "look_up"


@EITHER
def test_images_are_passed_on(client, model):
    assert ask(client, [{"type": "text", "text": "what is this"}, PNG], model).content[0].text


@EITHER
def test_a_schema_for_the_answer_is_passed_on(client, model):
    wanted = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert ask(client, "as JSON", model, output_config=wanted).content[0].text


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_passes_through_and_may_be_sent_back(client, stream):
    question = {"role": "user", "content": f"think, stream={stream} [[fakeup: thinking=6 tokens=9 tool=look_up]]"}
    asked = {"model": "claude", "max_tokens": 2_048, "thinking": {"type": "adaptive"}, "tools": [LOOK]}
    if stream:
        with client.messages.stream(**asked, messages=[question]) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**asked, messages=[question])
    thought, call = message.content
    assert (thought.type, len(thought.thinking), thought.signature[:7]) == ("thinking", 24, "signed-")
    assert message.usage.output_tokens == 15
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "found"}]}
    turns = [question, {"role": "assistant", "content": message.content}, result]
    assert client.messages.create(**asked, messages=turns).content[-1].type == "text"


@pytest.mark.parametrize("stream", [False, True])
def test_a_stored_answer_still_has_its_thinking(client, stream):
    asked = {"model": "claude", "max_tokens": 500, "messages": [{"role": "user", "content": "[[fakeup: thinking=4]]"}]}
    first = client.messages.create(**asked)
    if stream:
        with client.messages.stream(**asked) as events:
            second = events.get_final_message()
    else:
        second = client.messages.create(**asked)
    assert [block.to_dict() for block in second.content] == [block.to_dict() for block in first.content]


@pytest.mark.parametrize("stream", [False, True])
def test_the_cache_is_billed_to_the_nano_dollar(client, served, stream):
    marked = {"type": "text", "text": f"long, stream={stream}", "cache_control": {"type": "ephemeral"}}
    content = [marked, {"type": "text", "text": "[[fakeup: cached=7 cache_write=5]]"}]
    if stream:
        asked = {"model": "claude", "max_tokens": 500, "messages": [{"role": "user", "content": content}]}
        with client.messages.stream(**asked) as events:
            usage = events.get_final_message().usage
    else:
        message = ask(client, content)
        usage = message.usage
        assert round(message.asahi["cost"] * 1e9) == served.last_row()["cost"]
    row = served.last_row()
    assert (row["cached_tokens"], row["cache_write_tokens"]) == (7, 5)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (7, 5)
    assert usage.input_tokens == row["input_tokens"] - 12


def test_every_bill_of_a_mixed_hour_is_the_vendors(client, served):
    """Whole and streamed, cached and not: what we say it cost is what the vendor's own books say."""
    before, ours = len(served.rows()), 0
    for at in range(12):
        script = f"[[fakeup: tokens={at + 3} cached={at} cache_write={at % 3}]]"
        asked = {"max_tokens": 500, "messages": [{"role": "user", "content": f"bill {at} " + "word " * at + script}]}
        model = "gpt" if at % 4 == 3 else "claude"
        if at % 2:
            with client.messages.stream(model=model, **asked) as events:
                told = next(event.asahi for event in events if event.type == "message_delta")
        else:
            told = client.messages.create(model=model, **asked).asahi
        ours += round(told["cost"] * 1e9)
    assert ours == sum(row["cost"] for row in served.rows()[before:])


def test_what_only_claude_understands_goes_nowhere_else(client):
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}
    content = [document, {"type": "text", "text": "sum up"}]
    assert ask(client, content).model == "claude"
    assert ask(client, content, "auto").model == "claude"
    with pytest.raises(anthropic.UnprocessableEntityError, match="no model"):
        ask(client, content, "gpt")


def test_fields_the_sdk_has_dropped_still_pass(client):
    assert ask(client, "sample", extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 5}).content[0].text


def test_asahi_fields_may_be_sent(client):
    message = ask(client, "cheap please", "auto", extra_body={"quality_threshold": 1, "tags": {"team": "a"}})
    assert (message.model, "cheapest" in message.asahi["routing_reason"]) == ("gpt", True)


def test_tokens_are_counted_by_the_vendor_where_there_is_one(client, served):
    asked = {"messages": [{"role": "user", "content": "how many tokens"}], "system": "s" * 100}
    counted = client.messages.count_tokens(model="claude", **asked)
    message = client.messages.create(model="claude", max_tokens=9, **asked)
    assert counted.input_tokens == message.usage.input_tokens
    raw = client.messages.with_raw_response.count_tokens(model="claude", **asked)
    assert "x-asahi-estimate" not in raw.headers


def test_elsewhere_the_count_is_an_estimate_and_says_so(client, served):
    before = len(served.rows())
    raw = client.messages.with_raw_response.count_tokens(model="gpt", messages=[{"role": "user", "content": "x " * 50}])
    assert raw.headers["x-asahi-estimate"] == "true"
    assert raw.parse().input_tokens >= 50
    assert len(served.rows()) == before


def test_a_wrong_key_is_an_authentication_error(served):
    """401."""
    stranger = Anthropic(base_url=served.url, api_key="wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError) as refused:
        ask(stranger, "x")
    assert (refused.value.type, len(refused.value.request_id)) == ("authentication_error", 26)
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.count_tokens(model="claude", messages=[{"role": "user", "content": "x"}])


def test_an_unknown_model_is_a_not_found_error(client):
    """404."""
    with pytest.raises(anthropic.NotFoundError) as refused:
        ask(client, "x", "claud")
    assert (refused.value.type, "'claude'" in str(refused.value)) == ("not_found_error", True)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="claud", messages=[{"role": "user", "content": "x"}])


def test_a_bad_request_names_the_field(client):
    """400."""
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.messages.create(model="claude", max_tokens=-1, messages=[{"role": "user", "content": "x"}])
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        client.messages.count_tokens(model="claude", messages=[])


@EITHER
def test_an_overloaded_vendor_is_an_overloaded_error(client, model):
    """529."""
    with pytest.raises(anthropic.OverloadedError) as refused:
        ask(client, "[[fakeup: status=529]]", model)
    assert (refused.value.status_code, refused.value.type) == (529, "overloaded_error")
    assert refused.value.response.headers["retry-after"]


@pytest.mark.parametrize("fault", ["error_event_at=3", "eof_at=3", "reset_at=3", "garbage_at=3"])
def test_a_stream_that_breaks_raises_in_the_clients_loop(client, fault):
    asked = {"model": "claude", "max_tokens": 500, "messages": [{"role": "user", "content": f"[[fakeup: {fault}]]"}]}
    with pytest.raises(anthropic.APIError), client.messages.stream(**asked) as events:
        list(events)


def test_errors_have_the_vendors_shape_and_our_request_id(client, served):
    response = client._client.post(f"{served.url}/v1/messages", headers={"x-api-key": KEY}, content=b"{")
    assert response.status_code == 415
    response = client._client.post(f"{served.url}/v1/messages", headers={"x-api-key": KEY}, json=[])
    body = response.json()
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert body["request_id"] == response.headers["x-asahi-request-id"]


@pytest.fixture(scope="module")
def chat(served):
    with OpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def say(chat, content, **more):
    return chat.chat.completions.create(model="claude", messages=[{"role": "user", "content": content}], **more)


def test_the_other_sdk_is_answered_by_claude(chat, served):
    answer = say(chat, "hello from afar [[fakeup: cached=4 cache_write=2]]", stop=["END"], temperature=0.5)
    row = served.last_row()
    assert answer.choices[0].message.content
    assert (answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens) == (row["input_tokens"], 4)
    assert (round(answer.asahi["cost"] * 1e9), row["path"]) == (row["cost"], "/v1/messages")


@pytest.mark.parametrize("stream", [False, True])
def test_the_other_sdk_sees_thinking_only_as_a_vendors_field(chat, stream):
    asked = f"think, stream={stream} [[fakeup: thinking=4 tokens=5]]"
    if not stream:
        message = say(chat, asked).choices[0].message
        assert (len(message.content), message.content_blocks[0]["type"]) == (20, "thinking")
        return
    deltas = [chunk.choices[0].delta for chunk in say(chat, asked, stream=True) if chunk.choices]
    assert len("".join(delta.content or "" for delta in deltas)) == 20
    assert [delta.content_block["type"] for delta in deltas if "content_block" in delta.to_dict()] == ["thinking"]


def test_the_other_sdk_streams_from_claude(chat):
    chunks = list(say(chat, "stream from afar", stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_the_other_sdk_uses_tools_of_claude(chat, stream):
    function = {"name": "look_up", "description": "d", "parameters": LOOK["input_schema"]}
    tools = [{"type": "function", "function": function}]
    question = {"role": "user", "content": f"afar, stream={stream} [[fakeup: tool=look_up]]"}
    asked = {"model": "claude", "tools": tools, "parallel_tool_calls": False}
    if stream:
        with chat.chat.completions.stream(**asked, messages=[question]) as events:
            choice = events.get_final_completion().choices[0]
    else:
        choice = chat.chat.completions.create(**asked, messages=[question]).choices[0]
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name, json.loads(call.function.arguments).keys()) == (
        "tool_calls",
        "look_up",
        {"a"},
    )
    function = {"name": call.function.name, "arguments": call.function.arguments}
    said = {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": function}]}
    turns = [question, said, {"role": "tool", "tool_call_id": call.id, "content": "found"}]
    assert chat.chat.completions.create(**asked, messages=turns).choices[0].message.content


def test_the_other_sdk_shows_claude_images_and_asks_for_a_schema(chat):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
    answer = say(chat, [{"type": "text", "text": "what is this"}, image], response_format=schema)
    assert answer.choices[0].message.content


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"seed": 1}, "seed"),
        ({"n": 2}, "one answer"),
        ({"temperature": 2}, "temperature"),
        ({"logprobs": True}, "wire"),
    ],
)
def test_what_claude_cannot_be_told_is_refused_with_the_reason(chat, more, reason):
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        say(chat, "x", **more)
    assert refused.value.code == "no_route"
    assert reason in str(refused.value)


def test_the_vendors_rate_limit_is_a_rate_limit_error_with_its_retry_after(client):
    """429; last, as the credential then rests."""
    with pytest.raises(anthropic.RateLimitError) as refused:
        ask(client, "[[fakeup: status=429 retry_after=7]]")
    assert refused.value.response.headers["retry-after"] == "7"
