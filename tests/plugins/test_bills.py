"""Worked bills: a vendor's own usage, read by its plugin and priced by the table, gives the sum done by hand."""

import json
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest

from asahi_kernel import Usage
from asahi_kernel.pricing import look_up

BILLS = [json.loads(line) for line in (Path(__file__).parents[1] / "data" / "bills.jsonl").read_text().splitlines()]


def read(vendor: str, usage: dict) -> Usage | None:
    told = json.dumps(usage)
    if vendor == "anthropic":
        from asahi_anthropic.decode import decode_reply

        reply = {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "usage": usage}
        return decode_reply(json.dumps(reply | {"stop_reason": "end_turn"}).encode(), "x", "").usage
    if vendor == "cohere":
        from asahi_cohere.decode import decode_reply

        message = {"role": "assistant", "content": [{"type": "text", "text": "x"}]}
        reply = {"id": "c", "finish_reason": "COMPLETE", "message": message, "usage": usage}
        return decode_reply(json.dumps(reply).encode(), "x", "").usage
    from asahi_openai.decode import decode_reply

    choice = '{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}'
    return decode_reply(f'{{"id":"c","choices":[{choice}],"usage":{told}}}'.encode(), "x", "").usage


@pytest.mark.parametrize("bill", BILLS, ids=[bill["id"] for bill in BILLS])
def test_our_bill_is_the_one_done_by_hand(bill):
    terms = (term.split("*") for term in bill["worked"].split(" + "))
    assert ceil(sum(int(tokens) * Fraction(price) for tokens, price in terms)) == bill["nano"]
    prices = look_up(bill["vendor"], None, bill["model"])
    assert prices.cost(read(bill["vendor"], bill["usage"]), bill.get("share", 1_000)) == bill["nano"]


def test_there_are_thirty_and_they_cover_what_vendors_charge_apart():
    assert len(BILLS) >= 30
    told = json.dumps(BILLS)
    for kind in (
        "cached_tokens",
        "reasoning_tokens",
        "ephemeral_1h",
        "cache_read_input_tokens",
        "billed_units",
        "share",
    ):
        assert kind in told
