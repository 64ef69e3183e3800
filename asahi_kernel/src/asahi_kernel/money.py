"""Money in integer nano-dollars: prices, the cost of a usage, the estimate before a call.

One dollar is 1,000,000,000 nano-dollars (nUSD). A price is stored as nUSD per 1,000,000,000 tokens, which holds every
price of up to twelve decimals per million tokens exactly, so a bill is a sum of integers rounded up once.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from asahi_kernel.types import Request, Usage

NANO = 1_000_000_000
_SCALE = 1_000_000_000
_LONG = 64 << 10
_PER_MILLION = NANO * _SCALE // 1_000_000


class Prices(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model charges, in nUSD per 1,000,000,000 tokens. None falls back: caches to input, a one-hour cache write
    to the ordinary one, reasoning to output. `tiers` are (input tokens, prices), ascending: above that many input
    tokens those prices hold for all tokens of the request."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    tiers: tuple[tuple[int, Prices], ...] = ()

    def cost(self, usage: Usage, share: int = 1_000) -> int:
        """The bill for a usage in nUSD, rounded up once. `share` is what is asked of the price, in thousandths: a
        batch API asks 500."""
        return -(-self._total(usage) * share // (_SCALE * 1_000))

    def _total(self, usage: Usage) -> int:
        prices = self.reached(usage.input_tokens) if self.tiers else self
        read = prices.input if prices.cache_read is None else prices.cache_read
        write = prices.input if prices.cache_write is None else prices.cache_write
        write_1h = write if prices.cache_write_1h is None else prices.cache_write_1h
        thought = prices.output if prices.reasoning is None else prices.reasoning
        fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        return (
            fresh * prices.input
            + usage.cached_tokens * read
            + (usage.cache_write_tokens - usage.cache_write_1h_tokens) * write
            + usage.cache_write_1h_tokens * write_1h
            + (usage.output_tokens - usage.reasoning_tokens) * prices.output
            + usage.reasoning_tokens * thought
        )

    def plain(self, input_tokens: int, output_tokens: int) -> int:
        """The bill at the uncached prices in nUSD, rounded up once."""
        prices = self.reached(input_tokens) if self.tiers else self
        return -(-(input_tokens * prices.input + output_tokens * prices.output) // _SCALE)

    def reached(self, input_tokens: int) -> Prices:
        """The prices of the tier that so many input tokens reach."""
        prices = self
        for start, tier in self.tiers:
            if input_tokens > start:
                prices = tier
        return prices


def per_million(dollars: Decimal | float | str) -> int:
    """A price in dollars per million tokens as nUSD per 1,000,000,000 tokens; a finer price is rounded up."""
    exact = Decimal(str(dollars)) * _PER_MILLION
    return int(exact.to_integral_value(rounding="ROUND_CEILING"))


def dollars_per_million(price: int) -> float:
    """The other way round, for people."""
    return price / _PER_MILLION


def nano(dollars: Decimal | float | str) -> int:
    """Dollars as nUSD, rounded down: a limit never grows by rounding."""
    return int((Decimal(str(dollars)) * NANO).to_integral_value(rounding="ROUND_FLOOR"))


def dollars(amount: int | None) -> float | None:
    """nUSD as dollars for JSON. The nearest float of a nine-digit decimal reads back to the same nUSD."""
    return None if amount is None else amount / NANO


def plain(amount: int | None) -> str:
    """nUSD as a plain decimal for headers: at most nine fraction digits, never an exponent; `unknown` for None."""
    if amount is None:
        return "unknown"
    whole, fraction = divmod(abs(amount), NANO)
    text = f"{whole}.{fraction:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if amount < 0 else text


def count_tokens(text: str) -> int:
    """Estimate before a call: blank is 0, else max(1, 1.3 x words, UTF-8 bytes / 4), so text without blanks cannot
    shrink its estimate."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    words = _many_words(text) if size > _LONG else len(text.split())
    if not words:
        return 0
    return max(1, words * 13 // 10, size // 4)


def _many_words(text: str) -> int:
    """At least the words of a long text: counting blanks is far faster than making a list of a million words."""
    return 0 if text.isspace() else 1 + sum(map(text.count, " \n\t"))


def count_input(request: Request) -> int:
    """Estimated input tokens of a request: text, tools, document and examples; other parts count by their JSON size."""
    total = 0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            total += count_tokens(content)
        elif content:
            total += sum(count_tokens(part.text) if part.text else min(len(part.raw), 8_000) // 4 for part in content)
        total += sum(count_tokens(call.arguments) + 1 for call in message.tool_calls)
    if request.document is not None:
        total += count_tokens(request.document.text)
    total += sum(count_tokens(pair.input) + count_tokens(pair.output) for pair in request.examples)
    for tool in request.tools:
        total += (len(tool.parameters) + len(tool.description or "")) // 4 + 1
    return total


def expect_output(input_tokens: int, max_tokens: int | None) -> int:
    """Expected output tokens before anything is learned: max(20, 0.6 x input), capped by `max_tokens`."""
    expected = max(20, input_tokens * 6 // 10)
    return expected if max_tokens is None else min(expected, max_tokens)
