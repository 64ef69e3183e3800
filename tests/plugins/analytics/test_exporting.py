"""Data out: nothing is lost, nothing is run by a spreadsheet, and memory does not grow with it."""

import csv
import io
import json
import tracemalloc
from datetime import UTC, datetime

import pytest

from asahi_analytics.exporting import FLAT, FOCUS, export
from asahi_kernel.records import Attempt
from asahi_kernel.testing.samples import event
from asahi_kernel.types import Usage

pytestmark = pytest.mark.anyio


async def of(events):
    for each in events:
        yield each


async def exported(form, *events):
    parts = []
    assert await export(of(events), form, parts.append) == len(events)
    return b"".join(parts).decode()


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


ODD = event(
    timestamp=datetime(2026, 12, 31, 23, 59, tzinfo=UTC),
    tags={"team": '=cmd|" /C calc"!A0', "note": 'a,b\n"c" ✓'},
    user_id="=SUM(A1:A9)",
    cost=1,
    baseline_cost=2_500_000_000,
    saved=-7,
    saved_by={"failed_attempts": -7},
    attempts=(Attempt(n=1, provider="p", model="m", outcome="ok", usage=Usage(3, 4), cost=1, billed=True),),
)


async def test_json_lines_hold_everything_with_money_as_exact_decimals():
    (line,) = (await exported("jsonl", ODD)).splitlines()
    row = json.loads(line)
    assert set(row) == set(type(ODD).__struct_fields__)
    assert (row["cost"], row["baseline_cost"], row["saved"]) == ("0.000000001", "2.5", "-0.000000007")
    assert row["attempts"][0]["usage"] == {"input_tokens": 3, "output_tokens": 4}
    assert row["tags"] == dict(ODD.tags)


async def test_a_csv_reads_back_and_runs_nothing():
    (row,) = rows(await exported("csv", ODD))
    assert list(row) == list(FLAT)
    assert row["user_id"] == "'=SUM(A1:A9)"
    assert row["saved"] == "-0.000000007"
    assert json.loads(row["tags"]) == dict(ODD.tags)
    assert row["attempts"] == "1"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
async def test_no_cell_begins_like_a_formula(start):
    for form in ("csv", "focus"):
        (row,) = rows(await exported(form, event(model_selected=f"{start}1+1", provider=f"{start}x")))
        assert not any(cell.startswith(start) and not _number(cell) for cell in row.values())


def _number(cell):
    try:
        return float(cell) is not None
    except ValueError:
        return False


async def test_focus_rows_are_charges_in_a_billing_period():
    (row,) = rows(await exported("focus", ODD))
    assert list(row) == list(FOCUS)
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert (row["BilledCost"], row["ListCost"], row["x_Saved"]) == ("0.000000001", "2.5", "-0.000000007")
    assert row["BillingCurrency"] == "USD"


async def test_an_unknown_price_is_empty_and_never_zero():
    unpriced = event(cost=None, baseline_cost=0, saved=0)
    assert rows(await exported("focus", unpriced))[0]["BilledCost"] == ""
    assert rows(await exported("csv", unpriced))[0]["cost"] == ""
    assert json.loads(await exported("jsonl", unpriced))["cost"] is None


async def test_memory_does_not_grow_with_the_number_of_requests():
    peaks = []
    for number in (200, 5_000):
        tracemalloc.start()
        await export(of(event() for _ in range(number)), "focus", lambda line: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000
