"""Who may be answered from, or remembered by, the semantic cache; and what must be identical for it."""

from __future__ import annotations

import hashlib

import msgspec

from asahi_kernel import Message, Principal, Request
from asahi_semantic.config import SemanticConfig

_encode = msgspec.msgpack.Encoder().encode
_NO_TERMS = Request(messages=()).terms


def refusal(request: Request, config: SemanticConfig) -> str:
    """Why the request has no business here, or nothing."""
    terms, turns = request.terms, request.messages
    if terms.semantic_cache is False:
        return "the caller does not want it"
    if request.tools or request.tool_choice or any(each.tool_calls or each.tool_call_id for each in turns):
        return "it uses tools"
    if request.n != 1:
        return "it asks for several answers"
    if request.temperature is not None and request.temperature > config.max_temperature:
        return "its temperature asks for variety"
    if not turns or turns[-1].role != "user":
        return "it does not end with a user's turn"
    if not all(_is_text(each) for each in turns):
        return "it has parts that are not text"
    if not turns[-1].text.strip():
        return "its last turn is blank"
    if len(turns[-1].text) > config.max_characters:
        return "its last turn is too long"
    if sum(each.role not in {"system", "developer"} for each in turns) - 1 > config.max_turns:
        return "it has too many turns"
    return ""


def frame(request: Request, principal: Principal) -> bytes:
    """SHA-256 over everything that shapes the answer but the last turn's text: system prompt, history, document,
    examples, response format, sampling. An enriched request has a frame of its own for each user."""
    last = msgspec.structs.replace(request.messages[-1], content=None)
    bare = msgspec.structs.replace(request, messages=(*request.messages[:-1], last), terms=_NO_TERMS)
    whose = principal.user or "" if request.enrich_with_features else None
    return hashlib.sha256(_encode([bare, whose])).digest()


def alias(request_frame: bytes, text: str) -> bytes:
    """Under which a text is found again exactly."""
    return hashlib.sha256(request_frame + text.encode("utf-8", "surrogatepass")).digest()


def _is_text(message: Message) -> bool:
    content = message.content
    if message.extra:
        return False
    return isinstance(content, str) or all(part.type == "text" and not part.raw for part in content or ())
