"""The strict edge: what is JSON here, what is not, and that an ordinary body comes through unchanged."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asahi_kernel.errors import AsahiError, Invalid, InvalidJSON, TooLarge
from asahi_kernel.wire.strict import STEERING, Limits, scan, text_is_blank

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8).filter(
    lambda name: name not in STEERING
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=40)


def refused(body: bytes) -> AsahiError:
    with pytest.raises(AsahiError) as caught:
        scan(body)
    return caught.value


@given(TREES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_any_tree_comes_through_unchanged(tree: Any, ascii_only: bool, indent: int | str | None) -> None:
    assert scan(json.dumps(tree, ensure_ascii=ascii_only, indent=indent).encode()) == tree


@given(st.binary(max_size=64))
def test_any_bytes_are_a_tree_or_a_refusal(body: bytes) -> None:
    with contextlib.suppress(Invalid):
        scan(body)


@given(st.text(alphabet='[]{}",:\\u0d8c1e+-.ntf \0\ufeff', max_size=40))
def test_anything_like_json_is_what_json_makes_of_it_or_a_refusal(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert scan(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"{",
        b"{]",
        b"nul",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"{} {}",
        b"{}\0",
        b"1 2",
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xff"}',
        b'{"a": "\xc0\xaf"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xf4\x90\x80\x80"}',
        b'{"a": "\n"}',
        b"NaN",
        b'{"a": NaN}',
        b'{"a": [-Infinity]}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e400000000}',
        b'{"a": ' + b"9" * 4_301 + b"}",
        b'{"a": 01}',
        b'{"a": +1}',
        b'{"a": .5}',
        b'{"a": 0x10}',
        b"[" * 65 + b"]" * 65,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[{}," * 20_000 + b"1" + b"]" * 20_000,
        b"]" * 100,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    assert isinstance(refused(body), InvalidJSON)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"a": 1, "a": 1}', "a"),
        (b'{"a": [0, {"b": 1, "\\u0062": 2}]}', "a[1].b"),
        (b'{"a": "\\ud800"}', "a"),
        (b'{"a": "\\udc00\\ud800"}', "a"),
        (b'{"a": "\\ud83d\\ud83d\\ude00"}', "a"),
        (b'{"a": "\\\\ud83d\\ude00"}', "a"),
        (b'{"a": ["\\uD83Dx"]}', "a[0]"),
        (b'{"a": {"\\udead": 1}}', "a.?"),
    ],
)
def test_doubtful_text_is_refused_with_its_place(body: bytes, param: str) -> None:
    refusal = refused(body)
    assert isinstance(refusal, InvalidJSON)
    assert refusal.param == param


@pytest.mark.parametrize("text", ["\\ud83d\\ude00", "\\\\ud83d", "\\\\u0000", "\\\\\\\\ud800", "\\u00e9"])
def test_escapes_that_only_look_doubtful_pass(text: str) -> None:
    body = f'{{"a": "{text}"}}'
    assert scan(body.encode()) == json.loads(body)


@pytest.mark.parametrize("body", [b'{"a": "\\u0000"}', b'{"a": ["x\\u0000"]}', b'{"\\u0000": 1}', b'{"a": "\0"}'])
def test_nul_in_a_string_is_refused(body: bytes) -> None:
    refusal = refused(body)
    assert type(refusal) is Invalid
    assert refusal.code == "invalid_request"


@pytest.mark.parametrize("name", sorted(STEERING))
def test_steering_names_are_refused_at_any_depth(name: str) -> None:
    assert refused(json.dumps({name: 1}).encode()).param == name
    refusal = refused(json.dumps({"a": [{"metadata": {name: "https://secret.example"}}]}).encode())
    assert (refusal.code, refusal.param) == ("unknown_field", f"a[0].metadata.{name}")
    assert "secret" not in refusal.message


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"function": {"parameters": {"properties": {"host": {"type": "string"}}}}}]},
        {"tools": [{"input_schema": {"properties": {"endpoint": {}}, "required": ["endpoint"]}}]},
        {"response_format": {"json_schema": {"schema": {"properties": {"proxy": {}}}}}},
        {"messages": [{"tool_calls": [{"function": {"arguments": {"api_key": "x"}}}]}]},
        {"messages": [{"content": [{"type": "tool_use", "input": {"host": "db1"}}]}]},
    ],
)
def test_names_in_tools_are_the_callers_own(body: Any) -> None:
    assert scan(json.dumps(body).encode()) == body


@pytest.mark.parametrize(
    "body",
    [
        {"parameters": {"api_base": "x"}},
        {"properties": {"base_url": "x"}},
        {"messages": [{"content": [{"type": "text", "input": {"host": "x"}}]}]},
    ],
)
def test_a_schema_name_alone_exempts_nothing(body: Any) -> None:
    assert refused(json.dumps(body).encode()).code == "unknown_field"


def test_repeated_keys_in_tools_are_refused_all_the_same() -> None:
    assert isinstance(refused(b'{"a": {"parameters": {"host": 1, "host": 2}}}'), InvalidJSON)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 3_400_000 + b"1]",
        b"[]," * 3_400_000,
        b"[" + b'"a",' * 400_000 + b"1]",
        b'{"messages":[' + b'{"role":"user","content":"x"},' * 100_000 + b"{}]}",
        b"[" * 10_000_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_too_much_structure_is_refused(body: bytes) -> None:
    assert isinstance(refused(body), TooLarge)


def test_structure_inside_strings_does_not_count() -> None:
    body = {"a": '[{"b\\": 1}],' * 100_000}
    assert scan(json.dumps(body).encode()) == body


def test_limits_are_exact() -> None:
    assert scan(b"[" * 64 + b"]" * 64)
    assert scan(b"[1,1]", Limits(structure=3)) == [1, 1]
    with pytest.raises(TooLarge):
        scan(b"[1,1,1]", Limits(structure=3))
    assert scan(b'[["[["]]', Limits(depth=2)) == [["[["]]
    with pytest.raises(InvalidJSON):
        scan(b'[["]]", [1]]]', Limits(depth=2))


def test_refusals_echo_little() -> None:
    key = "k" * 5_000
    for body in ({key: {"host": 1}}, {"a": {"b" * 39: {"c" * 39: {"host": 1}}}}):
        refusal = refused(json.dumps(body).encode())
        assert len(refusal.param or "") <= 64
        assert key not in refusal.message


@pytest.mark.parametrize("text", ["", " \t\n", "\u200b\u200d\ufeff", "\u0301\u0301", "\u3164", "\u2800 \u00a0", "\x07"])
def test_text_that_shows_nothing_is_blank(text: str) -> None:
    assert text_is_blank(text)


@pytest.mark.parametrize("text", ["a", " ?", "\u200bx", "😀", "e\u0301", "日", "0"])
def test_text_that_shows_something_is_not_blank(text: str) -> None:
    assert not text_is_blank(text)
