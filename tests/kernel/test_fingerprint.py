"""The exact key covers everything that shapes the answer, and nothing crosses a field's border or a tenant's."""

import hmac

import msgspec
import pytest

from asahi_kernel.fingerprint import SCHEMA, Salt, Salts, fingerprint, fingerprint_text
from asahi_kernel.testing import ASK, EMBEDDING_MODEL
from asahi_kernel.types import Document, Example, Message, Part, Request, Terms, Tool, ToolCall

SALT = Salts(b"s" * 32).of("here")
replace = msgspec.structs.replace

CHANGES = {
    "messages": (Message("user", "What is the capital of Spain?"),),
    "model": "gpt-4-turbo",
    "max_tokens": 7,
    "temperature": 0.0,
    "top_p": 1.0,
    "stop": ("END",),
    "seed": 0,
    "n": 2,
    "tools": (Tool(name="look"),),
    "tool_choice": b'"none"',
    "response_format": b'{"type":"json_object"}',
    "document": Document("a text"),
    "examples": (Example("a", "b"),),
    "wire": "openai",
    "options": (("logprobs", b"true"),),
    "optimize_tokens": False,
    "enrich_with_features": True,
    "allow_batching": True,
}


def test_it_is_hmac_sha_256():
    assert Salt(b"k" * 32).sign(b"message") == hmac.digest(b"k" * 32, SCHEMA + b"message", "sha256")


def test_every_shaping_field_is_in_the_table():
    assert set(CHANGES) == set(Request.__struct_fields__) - {"terms"}


@pytest.mark.parametrize("field", CHANGES)
def test_changing_any_shaping_field_changes_the_key(field):
    """T1-1."""
    assert fingerprint(replace(ASK, **{field: CHANGES[field]}), SALT) != fingerprint(ASK, SALT)


@pytest.mark.parametrize(
    "message",
    [
        Message("system", ASK.messages[0].content),
        Message("user", (Part("text", ASK.messages[0].content),)),
        Message("user", ASK.messages[0].content, name="ann"),
        Message("user", ASK.messages[0].content, tool_call_id="1"),
        Message("user", ASK.messages[0].content, tool_calls=(ToolCall(id="1", name="f"),)),
        Message("user", ASK.messages[0].content, extra=b"{}"),
        Message("user", "What is the capital of France?\u200b"),
    ],
)
def test_every_part_of_a_message_is_in_the_key(message):
    assert fingerprint(replace(ASK, messages=(message,)), SALT) != fingerprint(ASK, SALT)


def test_what_does_not_shape_the_answer_is_not_in_the_key():
    terms = Terms(mode="guided", cost_budget=5, tags={"team": "a"}, stream=True, quality_threshold=4.0)
    assert fingerprint(replace(ASK, terms=terms), SALT) == fingerprint(ASK, SALT)


def test_bytes_cannot_move_across_a_field_border():
    """B4."""
    one = Request(messages=(Message("system", "ab"), Message("user", "c")))
    other = Request(messages=(Message("system", "a"), Message("user", "bc")))
    joined = Request(messages=(Message("system", "abc"),))
    assert len({fingerprint(each, SALT) for each in (one, other, joined)}) == 3


def test_another_org_has_another_key():
    salts = Salts(b"s" * 32)
    assert fingerprint(ASK, salts.of("here")) != fingerprint(ASK, salts.of("there"))


def test_ten_thousand_bodies_do_not_collide():
    keys = {fingerprint(Request(messages=(Message("user", f"q{number}"),)), SALT) for number in range(10_000)}
    assert len(keys) == 10_000
    assert all(len(key) == 32 for key in keys)


def test_a_text_to_embed_is_keyed_by_all_that_makes_its_vector():
    model, salt = EMBEDDING_MODEL, Salts(b"s" * 32).of("there")
    others = [replace(model, **{name: "other"}) for name in ("name", "provider", "api_model")]
    keys = {fingerprint_text(each, 8, "text", SALT) for each in (model, *others)}
    keys |= {fingerprint_text(model, 9, "text", SALT), fingerprint_text(model, None, "text", SALT)}
    keys |= {fingerprint_text(model, 8, "texts", SALT), fingerprint_text(model, 8, "text", salt)}
    keys.add(fingerprint(Request(messages=(Message("user", "text"),), model=model.name), SALT))
    assert len(keys) == 9
