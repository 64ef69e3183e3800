"""Everything in a chat body is found again in the request, whatever the body holds."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from asahi_kernel.wire import openai

HELLO = [{"role": "user", "content": "hello"}]
LIMIT = 2**31 - 1


def rebuilt(asked) -> dict:
    """The body again, from what was decoded: what a provider of this wire has to be able to do."""
    request, terms = asked.request, asked.request.terms
    body = {"model": request.model or "auto", "messages": [_turn(message) for message in request.messages]}
    plain = {"temperature": request.temperature, "top_p": request.top_p, "seed": request.seed, "user": asked.end_user}
    plain |= {"max_tokens": request.max_tokens, "n": request.n, "stop": list(request.stop)}
    plain |= {"stream": terms.stream, "metadata": dict(terms.tags)}
    raw = {"tool_choice": request.tool_choice, "response_format": request.response_format, **dict(request.options)}
    body |= {name: value for name, value in plain.items() if value is not None}
    body |= {name: json.loads(value) for name, value in raw.items() if value}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if asked.include_usage:
        body["stream_options"] = {"include_usage": True, **body.get("stream_options", {})}
    return body


def _turn(message) -> dict:
    turn = {"role": message.role}
    if isinstance(message.content, tuple):
        turn["content"] = [json.loads(p.raw) if p.raw else {"type": "text", "text": p.text} for p in message.content]
    elif message.content is not None:
        turn["content"] = message.content
    turn |= {name: getattr(message, name) for name in ("name", "tool_call_id") if getattr(message, name) is not None}
    if message.tool_calls:
        turn["tool_calls"] = [_called(call) for call in message.tool_calls]
    return turn | json.loads(message.extra or b"{}")


def _called(call) -> dict:
    extra = json.loads(call.extra or b"{}")
    function = {"name": call.name, "arguments": call.arguments, **extra.pop("function", {})}
    return {"id": call.id, "type": call.type, "function": function, **extra}


def _tool(tool) -> dict:
    extra = json.loads(tool.extra or b"{}")
    if tool.type != "function":
        return {"type": tool.type, **extra}
    function = {"name": tool.name, **extra.pop("function", {})}
    function |= {name: getattr(tool, name) for name in ("description", "strict") if getattr(tool, name) is not None}
    if tool.parameters:
        function["parameters"] = json.loads(tool.parameters)
    return {"type": "function", "function": function, **extra}


def _object(required, optional):
    return st.fixed_dictionaries(required, optional=optional)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
WORD = TEXT.map(lambda text: "w" + text)
LEAF = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
TREE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3), max_leaves=6
)
VENDOR = dict.fromkeys(("x_new", "top_k", "documents"), TREE)
PART = _object({"type": st.just("text"), "text": WORD}, VENDOR) | _object(
    {"type": st.just("mood"), "mood": TREE}, VENDOR
)
CONTENT = WORD | st.lists(PART, min_size=1, max_size=3)
FUNCTION = _object({"name": WORD, "arguments": TEXT}, VENDOR)
CALL = _object({"id": WORD, "type": st.just("function"), "function": FUNCTION}, VENDOR)
MESSAGE = (
    _object({"role": st.sampled_from(["user", "system", "developer"]), "content": CONTENT}, {"name": WORD, **VENDOR})
    | _object({"role": st.just("assistant"), "content": CONTENT}, {"refusal": WORD, **VENDOR})
    | _object({"role": st.just("assistant"), "tool_calls": st.lists(CALL, min_size=1, max_size=2)}, VENDOR)
    | _object({"role": st.just("tool"), "content": WORD, "tool_call_id": WORD}, VENDOR)
)
SCHEMA = st.just({"host": {"minimum": 1.5}})
OFFER = _object({"name": WORD}, {"description": TEXT, "parameters": SCHEMA, "strict": st.booleans(), **VENDOR})
TOOL = _object({"type": st.just("function"), "function": OFFER}, VENDOR) | _object({"type": st.just("search")}, VENDOR)
FIELDS = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "max_tokens": st.integers(1, LIMIT),
    "n": st.integers(1, 8),
    "stop": st.lists(WORD, max_size=4),
    "stream": st.booleans(),
    "user": st.just("ana"),
    "metadata": st.dictionaries(st.sampled_from(["a", "b c"]), st.sampled_from(["", "{x}"])),
    "stream_options": st.just({"include_usage": True, "include_obfuscation": False}),
    "tools": st.lists(TOOL, min_size=1, max_size=3),
    "tool_choice": st.sampled_from(["auto", {"type": "function", "function": {"name": "f"}}]),
    "response_format": st.sampled_from([{"type": "json_object"}, {"type": "json_schema", "json_schema": {"a": [1]}}]),
    "logprobs": st.booleans(),
    "prediction": st.just({"type": "content", "content": "x"}),
    "functions": st.just([{"name": "f"}]),
    "function_call": st.just({"name": "f"}),
    "web_search_options": st.dictionaries(WORD, TREE, max_size=2),
    **VENDOR,
}
BODY = _object(
    {"model": st.just("gpt-4o"), "messages": st.lists(MESSAGE, max_size=4).map(lambda m: [*m, *HELLO])}, FIELDS
)


@settings(max_examples=300, deadline=None)
@given(BODY)
def test_everything_sent_is_found_again(body):
    defaults = {"n": 1, "stop": [], "stream": False, "metadata": {}}
    assert rebuilt(openai.decode(json.dumps(body).encode(), {})) == {**defaults, **body}


@settings(max_examples=100, deadline=None)
@given(BODY, st.sampled_from(sorted({*FIELDS} - {"user", "metadata", "stream", "stream_options"})), st.data())
def test_changing_what_shapes_the_answer_changes_the_request(body, name, data):
    other = {**body, name: data.draw(FIELDS[name])}
    requests = [openai.decode(json.dumps(each).encode(), {}).request for each in (body, other)]
    defaults = {"n": 1, "stop": []}
    same = json.dumps({**defaults, **body}, sort_keys=True) == json.dumps({**defaults, **other}, sort_keys=True)
    assert same or body.get(name) == other.get(name) or requests[0] != requests[1]
