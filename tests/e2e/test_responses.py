"""`client.responses` of the official OpenAI SDK against the gateway: `claude` speaks the messages wire, `gpt` chat."""

import json

import httpx
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel, ValidationError
from tests.e2e.served import gateway, settled, upstream

KEY = "a-long-random-key-0123456789"
PRICES = ("--price", "vendor-claude=3,15", "--price", "vendor-gpt=0.5,1.5")
LOOK = {
    "type": "function",
    "name": "look_up",
    "description": "look something up",
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
    "strict": False,
}
EITHER = pytest.mark.parametrize("model", ["claude", "gpt"])


class Served:
    """The gateway's address and the vendor's books."""

    def __init__(self, url, ledger, bodies):
        self.url = url
        self.ledger = ledger
        self.bodies = bodies

    def rows(self):
        return settled(self.ledger, self.bodies)

    def post(self, body, **headers):
        return httpx.post(
            f"{self.url}/v1/responses", json=body, headers={"authorization": f"Bearer {KEY}", **headers}, timeout=30
        )

    def events(self, **body):
        text = self.post({"model": "gpt", **body, "stream": True}).text
        blocks = [block.split("\n") for block in text.split("\n\n") if block]
        assert all(line[0].startswith("event: ") and line[1].startswith("data: ") for line in blocks)
        told = [(line[0][7:], json.loads(line[1][6:])) for line in blocks]
        assert all(name == event["type"] for name, event in told)
        return [event for _, event in told]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("responses")
    bodies = folder / "bodies.jsonl"
    with upstream(folder, *PRICES, "--key", "sk-vendor", "--bodies", str(bodies)) as (vendor, ledger):
        resilience = {"max_retries": 0, "breaker": {"consecutive_failures": 1_000, "min_calls": 1_000}}
        prices = {"cost_per_1k_input_tokens": 0.0005, "cost_per_1k_output_tokens": 0.0015}
        dear = {"cost_per_1k_input_tokens": 0.003, "cost_per_1k_output_tokens": 0.015}
        configuration = {
            "auth": {"type": "static", "keys": [{"key": KEY}]},
            "providers": {
                "anthropic": {"api_key": "sk-vendor", "base_url": vendor.url, **resilience},
                "openai": {"api_key": "sk-vendor", "base_url": f"{vendor.url}/v1", **resilience},
            },
            "models": [
                {"name": "claude", "provider": "anthropic", "api_model": "vendor-claude", **dear},
                {"name": "gpt", "provider": "openai", "api_model": "vendor-gpt", **prices},
            ],
        }
        with gateway(folder, configuration) as process:
            yield Served(process.url, ledger, bodies)


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@EITHER
def test_it_answers_and_tells_what_it_cost(client, served, model):
    found = client.responses.create(model=model, input="hello there", instructions="be brief", metadata={"team": "a"})
    row = served.rows()[-1]
    assert (found.status, found.model, found.object, found.error) == ("completed", model, "response", None)
    assert found.output_text
    assert found.output[0].content[0].annotations == []
    assert (found.usage.input_tokens, found.usage.output_tokens) == (row["input_tokens"], row["output_tokens"])
    assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens
    assert round(found.asahi["cost"] * 1e9) == row["cost"]
    assert (found.instructions, found.metadata, found.store) == ("be brief", {"team": "a"}, False)
    assert found.id == f"resp_{found.asahi['request_id']}"


@EITHER
def test_instructions_arrive_as_the_system_prompt(client, served, model):
    client.responses.create(model=model, input="with system")
    without = served.rows()[-1]["input_tokens"]
    client.responses.create(model=model, input="with system", instructions="x" * 400)
    assert served.rows()[-1]["input_tokens"] > without + 90


def test_the_same_question_on_the_chat_wire_is_the_same_entry(client):
    chat = client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "one question"}])
    found = client.responses.create(model="gpt", input=[{"role": "user", "content": "one question"}])
    assert (found.output_text, found.asahi["cache"]) == (chat.choices[0].message.content, "t1")


@EITHER
@pytest.mark.parametrize("turn", ["miss", "hit"])
def test_it_streams_the_whole_sequence_of_events(client, model, turn):
    events = list(client.responses.create(model=model, input=f"stream please {model}", stream=True))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1].response
    assert text == last.output_text == events[-4].text
    assert last.usage.output_tokens > 0
    assert last.id == events[0].response.id
    assert {each.response.model for each in (events[0], events[-1])} == {model}
    assert last.asahi["cache"] == ("t1" if turn == "hit" else "miss")
    whole = client.responses.create(model=model, input=f"stream please {model}")
    assert (whole.output_text, whole.asahi["cache"]) == (text, "t1")


@EITHER
@pytest.mark.parametrize("stream", [False, True])
def test_it_calls_a_function_and_takes_the_result(client, served, model, stream):
    question = {"role": "user", "content": f"use it {model} {stream} [[fakeup: tool=look_up]]"}
    asked = {"model": model, "tools": [LOOK]}
    if stream:
        with client.responses.stream(**asked, input=[question]) as events:
            kinds = [event.type for event in events]
            found = events.get_final_response()
        assert "response.function_call_arguments.delta" in kinds
        assert kinds[-3:-1] == ["response.function_call_arguments.done", "response.output_item.done"]
    else:
        found = client.responses.create(**asked, input=[question])
    (call,) = found.output
    assert (call.type, call.name, call.status) == ("function_call", "look_up", "completed")
    assert json.loads(call.arguments).keys() == {"a"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "found"}
    plain = {"role": "user", "content": "use the tool"}
    again = client.responses.create(
        **asked, input=[plain, call.model_dump(exclude_none=True, exclude={"parsed_arguments"}), result]
    )
    assert again.output_text
    assert served.rows()[-1]["status"] == 200


@EITHER
@pytest.mark.parametrize("bound", [None, 4])
def test_the_answer_itself_can_be_sent_back_to_either(client, model, bound):
    question = "first [[fakeup: tokens=9]]"
    first = client.responses.create(model=model, input=question, max_output_tokens=bound)
    turns = [{"role": "user", "content": question}, *first.output, {"role": "user", "content": "and then?"}]
    assert client.responses.create(model="gpt", input=turns).output_text
    assert client.responses.create(model="claude", input=turns).output_text


@EITHER
def test_images_pass(client, served, model):
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}
    parts = [{"type": "input_text", "text": "what is this"}, image]
    assert client.responses.create(model=model, input=[{"role": "user", "content": parts}]).output_text


def test_a_schema_reaches_the_chat_wire(client, served):
    class Answer(BaseModel):
        a: str

    with (  # the scripted vendor does not heed the schema, and the SDK notices
        client.responses.stream(model="gpt", input="by schema", text_format=Answer) as events,
        pytest.raises(ValidationError, match="JSON"),
    ):
        events.until_done()
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    shape = {"format": {"type": "json_schema", "name": "a", "schema": schema, "strict": True}}
    found = client.responses.create(model="gpt", input="by schema", text=shape)
    assert found.text.format.name == "a"


def test_reasoning_effort_goes_to_the_chat_wire_only(client, served):
    assert client.responses.create(model="gpt", input="think", reasoning={"effort": "low"}).reasoning.effort == "low"
    with pytest.raises(openai.UnprocessableEntityError, match="reasoning_effort"):
        client.responses.create(model="claude", input="think", reasoning={"effort": "low"})
    auto = client.responses.create(model="auto", input="think again", reasoning={"effort": "low"})
    assert auto.model == "gpt"


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["a"]}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "server_label": "a"}]}, "tools[0].type"),
        ({"tools": [{"type": "computer_use_preview"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "name": "a"}]}, "tools[0].type"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
        ({"temperature": 3}, "temperature"),
        ({"input": []}, "input"),
        ({"input": " "}, "input"),
        ({"extra_body": {"api_base": "http://canary"}}, "api_base"),
    ],
)
def test_what_needs_a_state_or_has_no_word_elsewhere_is_a_bad_request(client, served, fields, place):
    before = len(served.rows())
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**{"model": "gpt", "input": "x", **fields})
    assert (refused.value.param, len(served.rows())) == (place, before)
    assert refused.value.message


def test_saying_no_to_state_is_taken(client):
    nothing = {"background": False, "previous_response_id": None, "conversation": None, "include": []}
    found = client.responses.create(model="gpt", input="x", store=False, truncation="disabled", **nothing)
    assert (found.store, found.previous_response_id, found.background) == (False, None, False)


def test_a_new_field_of_this_wire_goes_to_nobody(client, served):
    with pytest.raises(openai.UnprocessableEntityError, match="brand_new"):
        client.responses.create(model="gpt", input="x", extra_body={"brand_new": 1})


def test_an_unknown_model_is_a_not_found_error(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.responses.create(model="gtp", input="x")
    assert refused.value.code == "model_not_found"


def test_a_wrong_key_is_an_authentication_error(served):
    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=f"{served.url}/v1", api_key="wrong", max_retries=0).responses.create(model="gpt", input="x")


@pytest.mark.parametrize(("status", "error"), [(503, openai.InternalServerError), (400, openai.BadRequestError)])
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_byte_is_an_error(client, status, error, stream):
    with pytest.raises(error):
        client.responses.create(model="gpt", input=f"[[fakeup: status={status}]] {stream}", stream=stream)


@EITHER
@pytest.mark.parametrize("script", ["error_event_at=3", "eof_at=3", "reset_at=3", "garbage_at=3"])
def test_a_stream_that_breaks_ends_with_one_failed_response(served, model, script):
    events = served.events(model=model, input=f"broken [[fakeup: tokens=9 {script}]]")
    ends = [event for event in events if event["type"] in ENDS]
    assert [event["type"] for event in ends] == ["response.failed"]
    assert events[-1] is ends[0]
    assert (ends[0]["response"]["status"], ends[0]["response"]["error"]["code"]) == ("failed", "server_error")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    again = served.events(model=model, input=f"broken [[fakeup: tokens=9 {script}]]")
    assert again[-1]["type"] == "response.failed"


ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


def test_a_bound_makes_the_answer_incomplete(client, served):
    found = client.responses.create(model="gpt", input="[[fakeup: tokens=9]]", max_output_tokens=4)
    assert (found.status, found.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (found.output[0].status, found.usage.output_tokens) == ("incomplete", 4)
    events = served.events(input="[[fakeup: tokens=9]] streamed", max_output_tokens=4)
    assert [event["type"] for event in events if event["type"] in ENDS] == ["response.incomplete"]


def test_a_key_replays_the_answer(served):
    before = len(served.rows())
    body = {"model": "gpt", "input": "only once", "cache": "off"}
    first, second = (served.post(body, **{"idempotency-key": "responses-once"}) for _ in range(2))
    assert (first.content, second.headers["idempotency-replayed"]) == (second.content, "true")
    assert len(served.rows()) == before + 1


def test_headers_tell_the_money(served):
    answer = served.post({"model": "gpt", "input": "headers"})
    assert answer.headers["x-asahi-model"] == "gpt"
    assert float(answer.headers["x-asahi-cost"]) == answer.json()["asahi"]["cost"]


def test_asahi_fields_are_taken_here_too(client):
    with pytest.raises(openai.UnprocessableEntityError):
        client.responses.create(model="auto", input="dear", extra_body={"cost_budget": 0})
    found = client.responses.create(model="auto", input="cheap", extra_headers={"x-asahi-cache": "off"})
    assert (found.model, found.asahi["cache"]) == ("gpt", "bypass")


def test_nothing_is_stored_to_be_got(client):
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")
