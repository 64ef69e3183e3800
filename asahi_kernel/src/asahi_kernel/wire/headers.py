"""The response headers that every inference answer carries, whatever its wire."""

from __future__ import annotations

from functools import lru_cache

from asahi_kernel.answer import Answer
from asahi_kernel.money import plain


def request_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """Our id of the request, by each name that a vendor's client looks for it."""
    value = request_id.encode("ascii")
    return [(b"x-asahi-request-id", value), (b"x-request-id", value), (b"request-id", value)]


def answer_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Id, model, cache and money of a finished answer; unknown money reads `unknown`."""
    bill = answer.bill
    saved = bill.saved if bill.price_known else None
    return [
        *request_headers(answer.request_id),
        (b"x-asahi-model", header_value(answer.completion.model[:256])),
        (b"x-asahi-cache", header_value(answer.cache_status)),
        (b"x-asahi-cost", plain(bill.cost).encode("ascii")),
        (b"x-asahi-baseline-cost", plain(bill.baseline_cost).encode("ascii")),
        (b"x-asahi-saved", plain(saved).encode("ascii")),
    ]


@lru_cache(maxsize=1024)
def header_value(text: str) -> bytes:
    """The text as a header may hold it: what is not printable ASCII becomes `?`."""
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text).encode("ascii")
