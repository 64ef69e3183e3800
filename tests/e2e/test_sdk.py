"""The official OpenAI SDK, unchanged but for its base URL, against the gateway in front of the scripted vendor."""

import json

import openai
import pytest
from openai import OpenAI
from tests.e2e.served import gateway, upstream

KEY = "a-long-random-key-0123456789"
LOOK = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "look something up",
        "parameters": {"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]},
    },
}


@pytest.fixture(scope="module")
def urls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdk")
    with upstream(folder, "--price", "vendor-small=0.5,1.5", "--key", "sk-vendor") as (vendor, _):
        configuration = {
            "auth": {"type": "static", "keys": [{"key": KEY}]},
            "providers": {"openai": {"api_key": "sk-vendor", "base_url": f"{vendor.url}/v1", "max_retries": 0}},
            "models": [
                {
                    "name": "small",
                    "provider": "openai",
                    "api_model": "vendor-small",
                    "cost_per_1k_input_tokens": 0.0005,
                    "cost_per_1k_output_tokens": 0.0015,
                }
            ],
        }
        with gateway(folder, configuration) as served:
            yield served.url


@pytest.fixture(scope="module")
def client(urls):
    with OpenAI(base_url=f"{urls}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def ask(client, text, **more):
    return client.chat.completions.create(model="small", messages=[{"role": "user", "content": text}], **more)


def test_it_completes_and_tells_what_it_cost(client):
    answer = ask(client, "hello there")
    assert answer.choices[0].message.content
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.asahi["cost"] > 0


def test_the_second_answer_is_a_free_hit_with_the_same_text(client):
    first, second = ask(client, "twice"), ask(client, "twice")
    assert second.choices[0].message.content == first.choices[0].message.content
    assert (second.asahi["cost"], second.asahi["cache_tier"]) == (0, 1)


def test_headers_tell_the_money_in_plain_decimals(client):
    raw = client.chat.completions.with_raw_response.create(
        model="small", messages=[{"role": "user", "content": "headers"}]
    )
    assert raw.headers["x-asahi-cache"] == "miss"
    assert "e" not in raw.headers["x-asahi-cost"].lower()
    assert len(raw.headers["x-asahi-request-id"]) == 26


@pytest.mark.parametrize("turn", ["miss", "hit"])
def test_it_streams_with_usage(client, turn):
    chunks = list(ask(client, "stream please", stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ask(client, "stream please").choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert {chunk.model for chunk in chunks} == {"small"}


def test_without_the_option_no_usage_chunk_comes(client):
    chunks = list(ask(client, "no usage please", stream=True))
    assert all(chunk.choices for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_it_calls_a_tool_and_takes_the_result(client, stream):
    question = f"use the tool, stream={stream} [[fakeup: tool=look_up]]"
    if stream:
        with client.chat.completions.stream(
            model="small", messages=[{"role": "user", "content": question}], tools=[LOOK]
        ) as events:
            completion = events.get_final_completion()
    else:
        completion = ask(client, question, tools=[LOOK])
    choice = completion.choices[0]
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "look_up")
    json.loads(call.function.arguments)
    turns = [
        {"role": "user", "content": "use the tool"},
        {"role": "assistant", "tool_calls": [call.model_dump(include={"id", "type", "function"})]},
        {"role": "tool", "tool_call_id": call.id, "content": "found"},
    ]
    assert client.chat.completions.create(model="small", messages=turns, tools=[LOOK]).choices[0].message.content


def test_image_parts_and_json_schema_are_passed_through(client):
    parts = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
    ]
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
    answer = client.chat.completions.create(
        model="small", messages=[{"role": "user", "content": parts}], response_format=schema, logprobs=False
    )
    assert answer.choices[0].message.content


def test_several_choices_pass_the_cache_by(client):
    raw = client.chat.completions.with_raw_response.create(
        model="small", messages=[{"role": "user", "content": "two"}], n=2
    )
    assert raw.headers["x-asahi-cache"] == "bypass"


def test_auto_lets_asahi_choose(client):
    answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "choose"}])
    assert answer.model == "small"
    assert "cheapest" in answer.asahi["routing_reason"]


def test_a_wrong_key_is_an_authentication_error(urls):
    """401."""
    with pytest.raises(openai.AuthenticationError) as refused:
        ask(OpenAI(base_url=f"{urls}/v1", api_key="wrong", max_retries=0), "x")
    assert refused.value.code == "unauthenticated"
    assert "wrong" not in str(refused.value)


def test_an_unknown_model_is_a_not_found_error(client):
    """404."""
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="smal", messages=[{"role": "user", "content": "x"}])
    assert refused.value.code == "model_not_found"
    assert "'small'" in str(refused.value)


def test_the_vendors_rate_limit_is_a_rate_limit_error_with_its_retry_after(client):
    """429."""
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client, "[[fakeup: status=429 retry_after=7]]")
    assert refused.value.response.headers["retry-after"] == "7"


def test_an_overloaded_vendor_is_an_internal_server_error_503(client):
    """503."""
    with pytest.raises(openai.InternalServerError) as refused:
        ask(client, "[[fakeup: status=503]]")
    assert refused.value.status_code == 503
    assert refused.value.response.headers["retry-after"]


def test_a_bad_request_is_a_bad_request_error_that_names_the_field(client):
    """400."""
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "x", temperature=3)
    assert refused.value.param == "temperature"


def test_a_stream_that_breaks_raises_in_the_clients_loop(client):
    with pytest.raises(openai.APIError):
        list(ask(client, "broken [[fakeup: error_event_at=3]]", stream=True))


def test_models_are_listed_and_got(client):
    assert [model.id for model in client.models.list()] == ["auto", "small"]
    assert client.models.retrieve("small").owned_by == "openai"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")
