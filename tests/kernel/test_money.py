"""Money is integers, rounded up once, and no estimate can be shrunk."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asahi_kernel.money import Prices, count_tokens, dollars, expect_output, nano, per_million, plain
from asahi_kernel.types import Usage

TOKENS = st.integers(0, 10**7)
DOLLARS = st.decimals("0", "1000", places=6)


@given(DOLLARS, DOLLARS, TOKENS, TOKENS)
def test_a_bill_is_the_exact_sum_rounded_up_once(price_in, price_out, tokens_in, tokens_out):
    exact = (Fraction(price_in) * tokens_in + Fraction(price_out) * tokens_out) * 1000
    prices = Prices(input=per_million(price_in), output=per_million(price_out))
    assert prices.cost(Usage(tokens_in, tokens_out)) == ceil(exact) == prices.plain(tokens_in, tokens_out)


@pytest.mark.parametrize(("price", "cost"), [("0.05", 50), ("0.00005", 1), ("0", 0)])
def test_a_single_cheap_token_never_costs_nothing(price, cost):
    """SV-6."""
    assert Prices(input=per_million(price), output=0).cost(Usage(1, 0)) == cost


def test_cached_and_reasoning_tokens_have_their_own_price_and_are_not_counted_twice():
    prices = Prices(
        input=per_million(10), output=per_million(30), cache_read=per_million(1), cache_write=per_million("12.5")
    )
    usage = Usage(1000, 100, cached_tokens=600, cache_write_tokens=200, reasoning_tokens=40)
    assert prices.cost(usage) == 200 * 10_000 + 600 * 1_000 + 200 * 12_500 + 100 * 30_000


def test_without_a_price_of_its_own_a_class_falls_back_to_the_dearer_one():
    prices = Prices(input=per_million(10), output=per_million(30))
    assert prices.cost(Usage(100, 50, cached_tokens=50, reasoning_tokens=20)) == 100 * 10_000 + 50 * 30_000


def test_reasoning_may_be_priced_apart():
    prices = Prices(input=0, output=per_million(30), reasoning=per_million(60))
    assert prices.cost(Usage(0, 50, reasoning_tokens=20)) == 30 * 30_000 + 20 * 60_000


def test_long_text_without_blanks_cannot_shrink_its_estimate():
    """SV-8."""
    assert count_tokens("QUJD" * 25_000) >= 25_000


@given(st.text())
def test_an_estimate_is_never_below_a_quarter_of_the_bytes(text):
    size = len(text.encode("utf-8", "surrogatepass"))
    assert count_tokens(text) >= size // 4 or not text.split()


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_blank_text_has_no_tokens(text):
    assert count_tokens(text) == 0


def test_expected_output_is_capped_by_max_tokens():
    assert (expect_output(1_000, None), expect_output(10, None), expect_output(1_000, 50)) == (600, 20, 50)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (1, "0.000000001"), (-549_000, "-0.000549"), (10**9, "1"), (1_500_000_000, "1.5"), (None, "unknown")],
)
def test_headers_show_plain_decimals_without_exponents(amount, text):
    assert plain(amount) == text


@given(st.integers(-(10**15), 10**15))
def test_dollars_read_back_to_the_same_nano_dollars(amount):
    assert round(dollars(amount) * 1e9) == amount


@given(st.integers(0, 10**13))
def test_a_limit_in_dollars_is_exact(amount):
    assert nano(plain(amount)) == amount
