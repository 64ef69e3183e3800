"""`POST /v1/responses` as a request of ours, in the chat wire's words; what has none is refused with the reason."""

import json

import pytest

from asahi_kernel.errors import Invalid, TooLarge
from asahi_kernel.types import Message, Part, ToolCall
from asahi_kernel.wire import openai
from asahi_kernel.wire.responses import decode
from asahi_kernel.wire.responses.request import MOST_MESSAGES, REFUSED

PNG = "data:image/png;base64,iVBORw0KGgo="


def asked(headers=None, strict_fields=False, **fields):
    body = json.dumps({"model": "m", "input": "text", **fields}).encode()
    return decode(body, headers or {}, strict_fields=strict_fields)


def request(**fields):
    return asked(**fields).request


def messages(*items, **fields):
    return request(input=list(items), **fields).messages


def refusal(**fields):
    with pytest.raises(Invalid) as refused:
        asked(**fields)
    return refused.value


def chat(**fields):
    return openai.decode(json.dumps({"model": "m", **fields}).encode(), {}).request


class TestTheSameAsChat:
    """Each pair is the same request of ours, so that any provider can answer it and the cache knows both."""

    @pytest.mark.parametrize(
        ("said", "same"),
        [
            ({"input": "q"}, {"messages": [{"role": "user", "content": "q"}]}),
            (
                {"input": "q", "instructions": "s"},
                {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]},
            ),
            (
                {"input": "q", "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.9, "parallel_tool_calls": False},
                {
                    "messages": [{"role": "user", "content": "q"}],
                    "max_tokens": 9,
                    "temperature": 0.5,
                    "top_p": 0.9,
                    "parallel_tool_calls": False,
                },
            ),
            (
                {
                    "input": [
                        {"role": "developer", "content": "d"},
                        {
                            "role": "user",
                            "content": [
                                {"type": "input_text", "text": "q"},
                                {"type": "input_image", "image_url": PNG, "detail": "low"},
                                {"type": "input_file", "file_data": "data:,x", "filename": "f"},
                            ],
                        },
                    ]
                },
                {
                    "messages": [
                        {"role": "developer", "content": "d"},
                        {
                            "role": "user",
                            "content": [
                                {"type": "text", "text": "q"},
                                {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                                {"type": "file", "file": {"file_data": "data:,x", "filename": "f"}},
                            ],
                        },
                    ]
                },
            ),
            (
                {
                    "input": [
                        {"role": "user", "content": "q"},
                        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "id": "fc_1"},
                        {
                            "type": "function_call",
                            "call_id": "c2",
                            "name": "g",
                            "arguments": "{}",
                            "status": "completed",
                        },
                        {"type": "function_call_output", "call_id": "c1", "output": "one"},
                        {
                            "type": "function_call_output",
                            "call_id": "c2",
                            "output": [{"type": "input_text", "text": "two"}],
                        },
                    ]
                },
                {
                    "messages": [
                        {"role": "user", "content": "q"},
                        {
                            "role": "assistant",
                            "tool_calls": [
                                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                            ],
                        },
                        {"role": "tool", "tool_call_id": "c1", "content": "one"},
                        {"role": "tool", "tool_call_id": "c2", "content": "two"},
                    ]
                },
            ),
            (
                {
                    "input": "q",
                    "tools": [
                        {
                            "type": "function",
                            "name": "f",
                            "description": "d",
                            "parameters": {"type": "object"},
                            "strict": True,
                        }
                    ],
                    "tool_choice": {"type": "function", "name": "f"},
                },
                {
                    "messages": [{"role": "user", "content": "q"}],
                    "tools": [
                        {
                            "type": "function",
                            "function": {
                                "name": "f",
                                "description": "d",
                                "parameters": {"type": "object"},
                                "strict": True,
                            },
                        }
                    ],
                    "tool_choice": {"type": "function", "function": {"name": "f"}},
                },
            ),
            (
                {
                    "input": "q",
                    "text": {
                        "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
                        "verbosity": "low",
                    },
                    "reasoning": {"effort": "high"},
                    "service_tier": "flex",
                    "prompt_cache_key": "k",
                    "safety_identifier": "s",
                },
                {
                    "messages": [{"role": "user", "content": "q"}],
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
                    },
                    "verbosity": "low",
                    "reasoning_effort": "high",
                    "service_tier": "flex",
                    "prompt_cache_key": "k",
                    "safety_identifier": "s",
                },
            ),
            (
                {
                    "input": "q",
                    "text": {"format": {"type": "json_object"}},
                    "metadata": {"team": "a"},
                    "tags": {"b": "c"},
                },
                {
                    "messages": [{"role": "user", "content": "q"}],
                    "response_format": {"type": "json_object"},
                    "metadata": {"team": "a"},
                    "tags": {"b": "c"},
                },
            ),
            (
                {
                    "input": [
                        {"role": "user", "content": "q"},
                        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
                        {"role": "user", "content": "why"},
                    ]
                },
                {
                    "messages": [
                        {"role": "user", "content": "q"},
                        {"role": "assistant", "content": "", "refusal": "no"},
                        {"role": "user", "content": "why"},
                    ]
                },
            ),
        ],
    )
    def test_is_the_same_request(self, said, same):
        assert request(**said) == chat(**same)

    def test_the_end_user_and_ids_are_claims(self):
        found = asked(user="someone", user_id="ann", organization_id="acme")
        assert (found.end_user, found.user_id, found.organization_id) == ("someone", "ann", "acme")


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    ],
)
def test_log_probabilities_are_asked_of_the_chat_wire(said, same):
    assert request(input="q", **said) == chat(messages=[{"role": "user", "content": "q"}], **same)


class TestItems:
    def test_a_call_joins_the_turn_before_it(self):
        said = {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed"}
        text = [{"type": "output_text", "text": "let me look", "annotations": [], "logprobs": []}]
        call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
        turns = messages({"role": "user", "content": "q"}, {**said, "content": text}, call)
        calls = (ToolCall(id="c", name="f", arguments="{}"),)
        assert turns[1] == Message("assistant", "let me look", tool_calls=calls)

    def test_several_texts_stay_apart(self):
        parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
        assert messages({"role": "user", "content": parts})[0].content == (Part("text", "a"), Part("text", "b"))

    def test_annotations_are_kept_for_the_wire_that_has_them(self):
        mark = {"type": "url_citation", "url": "https://a.example", "title": "t", "start_index": 0, "end_index": 1}
        turn = {"role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": [mark]}]}
        found = request(input=[{"role": "user", "content": "q"}, turn, {"role": "user", "content": "r"}])
        assert (json.loads(found.messages[1].extra), found.wire) == ({"annotations": [mark]}, "openai")

    @pytest.mark.parametrize("item", [{"phase": "commentary"}, {"brand_new": 1}, {"choice": 1}])
    def test_a_member_of_this_wire_only_keeps_other_providers_out(self, item):
        found = request(input=[{"role": "user", "content": "q", **item}])
        assert (found.wire, json.loads(found.messages[0].extra)) == ("responses", item)

    @pytest.mark.parametrize(
        "item",
        [
            {"role": "assistant", "content": "a", "reasoning_content": "hmm"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "extra_content": {"a": 1}},
        ],
    )
    def test_what_a_vendor_of_the_chat_wire_said_goes_back_to_that_wire(self, item):
        found = request(input=[{"role": "user", "content": "q"}, item])
        extra = found.messages[1].extra or found.messages[1].tool_calls[0].extra
        assert (found.wire, json.loads(extra).keys() < item.keys()) == ("openai", True)

    @pytest.mark.parametrize("name", ["id", "status", "choice"])
    def test_how_an_earlier_answer_ended_is_not_asked_again(self, name):
        turn = {"role": "assistant", "content": "a"}
        assert request(input=[{"role": "user", "content": "q"}, {**turn, name: "x"}]) == request(
            input=[{"role": "user", "content": "q"}, turn]
        )

    def test_a_null_member_says_nothing(self):
        found = request(input=[{"role": "user", "content": "q", "phase": None}])
        assert (found.wire, found.messages) == ("", (Message("user", "q"),))

    @pytest.mark.parametrize(
        ("item", "place"),
        [
            ({"type": "item_reference", "id": "msg_1"}, "input[0].type"),
            ({"type": "reasoning", "id": "rs_1", "summary": []}, "input[0].type"),
            ({"type": "web_search_call", "id": "ws_1"}, "input[0].type"),
            ({"type": "computer_call_output", "call_id": "c"}, "input[0].type"),
            ({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"}, "input[0].type"),
            ({"type": 5}, "input[0].type"),
            ({"role": "tool", "content": "x"}, "input[0].role"),
            ({"content": "x"}, "input[0].role"),
            ({"role": "user"}, "input[0].content"),
            ({"role": "user", "content": [{"type": "output_text", "text": "x", "annotations": [1]}]}, None),
            ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
            ({"role": "user", "content": [{"type": "input_audio"}]}, "input[0].content[0].type"),
            ({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}, "input[0].content[0].file_id"),
            ({"role": "user", "content": [{"type": "input_image"}]}, "input[0].content[0].image_url"),
            (
                {"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]},
                "input[0].content[0].image_url",
            ),
            (
                {"role": "user", "content": [{"type": "input_file", "file_url": "https://a"}]},
                "input[0].content[0].file_url",
            ),
            ({"role": "assistant", "content": [{"type": "input_image", "image_url": PNG}]}, "input[0].content[0].type"),
            ({"type": "function_call", "name": "f", "arguments": "{}"}, "input[0].call_id"),
            ({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}, "input[0].arguments"),
            ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
            (
                {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": PNG}]},
                "input[0].output[0]",
            ),
        ],
    )
    def test_what_cannot_be_carried_is_refused_by_its_place(self, item, place):
        told = refusal(input=[item])
        assert told.message
        assert place is None or told.param == place


class TestRefusals:
    @pytest.mark.parametrize("name", sorted(REFUSED))
    def test_a_field_that_needs_state_says_why(self, name):
        told = refusal(**{name: {"id": "x"}})
        assert (told.param, REFUSED[name] in told.message) == (name, True)

    @pytest.mark.parametrize("name", sorted(REFUSED))
    def test_null_is_the_same_as_nothing(self, name):
        assert request(**{name: None}) == request()

    @pytest.mark.parametrize(
        ("fields", "place"),
        [
            ({"store": True}, "store"),
            ({"background": True}, "background"),
            ({"include": ["message.output_text.logprobs", "web_search_call.results"]}, "include"),
            ({"top_logprobs": 21}, "top_logprobs"),
            ({"truncation": "auto"}, "truncation"),
            ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
            ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
            ({"reasoning": {"generate_summary": "auto"}}, "reasoning.generate_summary"),
            ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
            ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
            ({"reasoning": {"new": 1}}, "reasoning.new"),
            ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
            ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
            ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
            ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
            ({"tools": [{"type": "function"}]}, "tools[0].name"),
            ({"tools": [{"type": "function", "name": "f", "defer_loading": True}]}, "tools[0].defer_loading"),
            ({"tool_choice": "sometimes"}, "tool_choice"),
            ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
            ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
            ({"temperature": -1}, "temperature"),
            ({"max_output_tokens": 0}, "max_output_tokens"),
            ({"metadata": {"a": 5}}, "metadata"),
            ({"model": None}, "model"),
            ({"input": None}, "input"),
            ({"input": 5}, "input"),
            ({"input": []}, "input"),
            ({"input": "\u200b"}, "input"),
            ({"input": [{"role": "user", "content": " "}]}, "input"),
            ({"models": ["a"]}, "models"),
            ({"Input": "x"}, "Input"),
            ({"api_base": "x"}, "api_base"),
            ({"quality_treshold": 4}, "quality_treshold"),
        ],
    )
    def test_names_the_field(self, fields, place):
        told = refusal(**fields)
        assert told.param.startswith(place)

    def test_too_many_items_are_too_large(self):
        with pytest.raises(TooLarge):
            asked(input=[{"role": "user", "content": "x"}] * (MOST_MESSAGES + 1))


def test_a_new_field_is_kept_for_this_wire_alone():
    found = request(brand_new={"a": 1})
    assert (found.wire, found.options) == ("responses", (("brand_new", b'{"a":1}'),))
    assert refusal(brand_new=1, strict_fields=True).code == "unknown_field"


def test_a_new_field_shapes_the_key():
    assert request(brand_new=1) != request(brand_new=2) != request()


def test_defaults_spelt_out_are_the_same_as_nothing():
    said = {
        "store": False,
        "background": False,
        "include": [],
        "truncation": "disabled",
        "text": {"format": {"type": "text"}},
    }
    said |= {"reasoning": {"context": "auto", "mode": "standard"}, "stream_options": {"include_obfuscation": False}}
    assert request(**said) == request()


def test_what_was_said_is_told_again():
    told = json.loads(asked(instructions="s", metadata={"a": "b"}, temperature=0.5).echo)
    assert (told["instructions"], told["metadata"], told["temperature"]) == ("s", {"a": "b"}, 0.5)
    assert (told["tools"], told["tool_choice"], told["parallel_tool_calls"]) == ([], "auto", True)


def test_our_own_fields_are_the_same_as_on_every_route():
    found = request(cost_budget=0.002, document="d", document_id="i", examples=[{"input": "a", "output": "b"}])
    assert (found.terms.cost_budget, found.document.text, found.examples[0].output) == (2_000_000, "d", "b")
