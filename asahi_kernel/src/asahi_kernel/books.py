"""The books: whose count of the tokens holds, what a request cost, what it would have cost, and its settlement."""

from __future__ import annotations

import msgspec

from asahi_kernel.draft import Draft
from asahi_kernel.money import count_input
from asahi_kernel.trace import Trace
from asahi_kernel.types import Candidate, Completion, Request, Usage

_ABSURD = 20_000_000
#: No tokeniser in use packs more bytes than this into a token on average; a lower count than that hides spend.
_MOST_BYTES_PER_TOKEN = 16
#: Hosts that stream by the letter send several pieces for a token.
_MOST_PIECES_PER_TOKEN = 4
#: The same for prompts, where long runs of blanks pack more.
_MOST_PROMPT_BYTES_PER_TOKEN = 64


def counted(request: Request, completion: Completion, candidate: Candidate, draft: Draft, trace: Trace) -> Completion:
    """The completion with a usage that can be billed: the provider's where it is believable, else our own count.

    Missing, negative, absurd or less than what was delivered never lowers spend; our count is flagged.
    """
    usage = completion.usage
    if not believable(usage, request, completion, draft):
        usage = own_count(request, completion, draft)
        trace.warn("usage_estimated")
    return msgspec.structs.replace(
        completion, model=candidate.name, provider=candidate.model.provider, usage=usage, quality=candidate.quality
    )


def partial(request: Request, draft: Draft) -> Completion:
    """What a broken or abandoned stream gave, counted by us unless the provider already said."""
    completion = draft.completion()
    usage = completion.usage
    if not believable(usage, request, completion, draft):
        usage = own_count(request, completion, draft)
    return msgspec.structs.replace(completion, usage=usage)


def believable(usage: Usage | None, request: Request, completion: Completion, draft: Draft) -> bool:
    """Whether a bill may rest on what a provider counted."""
    if not isinstance(usage, Usage):
        return False
    parts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.cache_write_1h_tokens,
    )
    return (
        all(type(part) is int for part in parts)
        and min(parts) >= 0
        and max(parts) < _ABSURD
        and usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens
        and usage.cache_write_1h_tokens <= usage.cache_write_tokens
        and usage.reasoning_tokens <= usage.output_tokens
        and usage.output_tokens * _MOST_BYTES_PER_TOKEN >= _size(completion)
        and usage.output_tokens * _MOST_PIECES_PER_TOKEN >= draft.pieces
        and usage.input_tokens * _MOST_PROMPT_BYTES_PER_TOKEN >= _prompt_size(request)
    )


def own_count(request: Request, completion: Completion, draft: Draft) -> Usage:
    """Our own count. Every streamed piece is at least a token, and four bytes of text are about one."""
    output = max(draft.pieces, -(-_size(completion) // 4))
    return Usage(max(1, count_input(request)), output, source="estimated")


def _size(completion: Completion) -> int:
    size = _text_size(completion.text) + sum(len(call.arguments) + len(call.name) for call in completion.tool_calls)
    return size + sum(_text_size(other.text) for other in completion.others)


def _prompt_size(request: Request) -> int:
    return sum(_text_size(message.text) for message in request.messages)


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
