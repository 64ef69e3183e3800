"""The `response` object and its events: whole and streamed say the same, and nothing a vendor said is lost."""

import json
from datetime import UTC, datetime

import pytest
from openai.types.responses import Response

from asahi_kernel.answer import Answer, Bill, Route
from asahi_kernel.errors import Exhausted, ProviderFailed
from asahi_kernel.relay import Relay
from asahi_kernel.types import Chunk, Completion, ToolCall, ToolCallDelta, Usage
from asahi_kernel.wire.responses import StreamEncoder, decode, encode

ECHO = decode(b'{"model":"m","input":"q","instructions":"s"}', {}).echo
WHEN = datetime(2026, 1, 2, tzinfo=UTC)
MARK = {"type": "url_citation", "url": "https://a.example", "title": "t", "start_index": 0, "end_index": 1}
CALLS = (ToolCall(id="c1", name="f", arguments='{"a":1}'), ToolCall(id="c2", name="g", arguments="{}"))
ODDS = [
    {"token": "Par", "logprob": -0.1, "bytes": [80, 97, 114], "top_logprobs": []},
    {"token": "is.", "logprob": -0.2, "bytes": [105, 115, 46], "top_logprobs": []},
]
ANSWERS = {
    "text": Completion(text="Paris.", model="m"),
    "nothing": Completion(text="", model="m"),
    "cut": Completion(text="Par", model="m", finish_reason="length"),
    "filtered": Completion(text="", model="m", finish_reason="content_filter"),
    "calls": Completion(model="m", finish_reason="tool_calls", tool_calls=CALLS),
    "text and calls": Completion(text="Let me look.", model="m", finish_reason="tool_calls", tool_calls=CALLS),
    "refusal": Completion(model="m", message=b'{"refusal":"no"}'),
    "text and refusal": Completion(text="Well,", model="m", message=b'{"refusal":"no"}'),
    "annotations": Completion(text="Paris.", model="m", message=json.dumps({"annotations": [MARK]}).encode()),
    "reasoning": Completion(text="Paris.", model="m", message=b'{"reasoning_content":"hmm"}'),
    "native end": Completion(text="Paris.", model="m", choice=b'{"stop_reason":"stop_sequence","stop_sequence":"."}'),
    "log probabilities": Completion(
        text="Paris.", model="m", choice=json.dumps({"logprobs": {"content": ODDS}}).encode()
    ),
    "extra of a call": Completion(
        model="m", finish_reason="tool_calls", tool_calls=(ToolCall(id="c", name="f", extra=b'{"signature":"x"}'),)
    ),
}
EVERY = pytest.mark.parametrize("name", ANSWERS)


def answered(completion):
    return Answer(
        request_id="01ABC",
        timestamp=WHEN,
        completion=completion,
        usage=Usage(10, 5, cached_tokens=4, reasoning_tokens=2, cache_write_tokens=1),
        bill=Bill(cost=1_500, baseline_cost=2_000, saved=500, saved_by={"routing": 500}),
        route=Route(mode="explicit", reason="named"),
    )


def whole(name):
    return json.loads(encode(answered(ANSWERS[name]), ECHO))


def events_of(chunks, completion):
    encoder = StreamEncoder("01ABC", "m", int(WHEN.timestamp()), ECHO)
    raw = encoder.role() + b"".join(map(encoder.chunk, chunks)) + encoder.finish(answered(completion))
    return [json.loads(block.split(b"\ndata: ")[1]) for block in raw.split(b"\n\n") if block]


def replayed(completion):
    relay = Relay()
    relay.replay(completion)
    return list(relay._items)


def streamed(name):
    return events_of(replayed(ANSWERS[name]), ANSWERS[name])


@EVERY
def test_the_last_event_holds_what_the_whole_answer_does(name):
    last = streamed(name)[-1]
    assert last["response"] == whole(name)
    assert last["type"] == f"response.{whole(name)['status']}"


@EVERY
def test_the_official_models_take_it(name):
    found = Response.model_validate(whole(name))
    assert found.output_text == ANSWERS[name].text
    assert (found.usage.input_tokens_details.cached_tokens, found.usage.output_tokens_details.reasoning_tokens) == (
        4,
        2,
    )


@EVERY
def test_each_item_is_opened_once_and_closed_once_in_order(name):
    events = streamed(name)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    opened = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert opened == closed == list(range(len(whole(name)["output"])))
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert items == whole(name)["output"]
    parts = [event["type"] for event in events if "content_part" in event["type"]]
    assert parts.count("response.content_part.added") == parts.count("response.content_part.done")


@EVERY
def test_deltas_add_up(name):
    events = streamed(name)
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert text == ANSWERS[name].text
    for at, call in enumerate(ANSWERS[name].tool_calls):
        told = [event for event in events if event.get("item_id") == f"fc_01ABC_{at}"]
        assert "".join(event.get("delta", "") for event in told) == call.arguments == told[-1]["arguments"]


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("text", "completed", None),
        ("cut", "incomplete", "max_output_tokens"),
        ("filtered", "incomplete", "content_filter"),
        ("calls", "completed", None),
    ],
)
def test_the_status_says_whether_it_is_whole(name, status, reason):
    found = whole(name)
    assert (found["status"], (found["incomplete_details"] or {}).get("reason")) == (status, reason)


def test_what_a_vendor_says_besides_is_in_the_item():
    assert whole("reasoning")["output"][0]["reasoning_content"] == "hmm"
    assert whole("native end")["output"][0]["choice"] == {"stop_reason": "stop_sequence", "stop_sequence": "."}
    assert whole("annotations")["output"][0]["content"][0]["annotations"] == [MARK]
    assert whole("refusal")["output"][0]["content"] == [{"type": "refusal", "refusal": "no"}]
    assert whole("extra of a call")["output"][0]["signature"] == "x"


def test_log_probabilities_come_with_their_piece_and_with_the_whole():
    choices = [json.dumps({"logprobs": {"content": [each], "refusal": None}}).encode() for each in ODDS]
    chunks = [Chunk(text=each["token"], choice=choice) for each, choice in zip(ODDS, choices, strict=True)]
    events = events_of(chunks, ANSWERS["log probabilities"])
    told = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert told == [[ODDS[0]], [ODDS[1]]]
    assert events[-1]["response"] == whole("log probabilities")
    assert whole("log probabilities")["output"][0]["content"][0]["logprobs"] == ODDS


def test_pieces_of_what_a_vendor_says_besides_add_up():
    chunks = [
        Chunk(delta=b'{"reasoning_content":"hm"}'),
        Chunk(delta=b'{"reasoning_content":"m"}'),
        Chunk(text="Paris."),
        Chunk(finish_reason="stop"),
    ]
    events = events_of(chunks, ANSWERS["reasoning"])
    assert events[-1]["response"] == whole("reasoning")


def test_calls_whose_pieces_are_mixed_are_told_apart():
    first, second = (ToolCallDelta(index=at, id=call.id, name=call.name) for at, call in enumerate(CALLS))
    pieces = [ToolCallDelta(index=0, arguments='{"a"'), ToolCallDelta(index=1, arguments="{}")]
    pieces.append(ToolCallDelta(index=0, arguments=":1}"))
    chunks = [Chunk(tool_calls=(delta,)) for delta in (first, second, *pieces)]
    events = events_of(chunks, ANSWERS["calls"])
    assert events[-1]["response"] == whole("calls")


def test_a_text_after_a_call_keeps_its_place():
    call = ToolCallDelta(index=0, id="c1", name="f", arguments="{}")
    chunks = [Chunk(tool_calls=(call,)), Chunk(text="Done.")]
    done = Completion(text="Done.", model="m", finish_reason="tool_calls", tool_calls=CALLS[1:])
    output = events_of(chunks, done)[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["function_call", "message"]


def test_money_usage_and_what_was_said_are_told():
    found = whole("text")
    assert found["asahi"]["cost"] == 1.5e-06
    assert (found["instructions"], found["created_at"], found["id"]) == ("s", int(WHEN.timestamp()), "resp_01ABC")
    assert found["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [(ProviderFailed("broke off"), "server_error"), (Exhausted("too much"), "rate_limit_exceeded")],
)
def test_a_failure_is_a_failed_response(error, code):
    encoder = StreamEncoder("01ABC", "m", 0, ECHO)
    encoder.role()
    told = json.loads(encoder.error(error).split(b"\ndata: ")[1])
    assert (told["type"], told["sequence_number"], told["response"]["status"]) == ("response.failed", 2, "failed")
    assert (told["response"]["error"]["code"], told["response"]["error"]["type"]) == (code, error.code)
    assert told["response"]["error"]["message"] == error.message
