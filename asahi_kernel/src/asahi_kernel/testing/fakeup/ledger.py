"""The fake upstream's own books: what was really generated, and what it costs. The outside witness of every test."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct


class Price(Struct, frozen=True):
    """Dollars per million tokens; `cached` or `written` None charges what the cache read or wrote like the rest."""

    input: Fraction
    output: Fraction
    cached: Fraction | None = None
    written: Fraction | None = None


class Row(Struct, frozen=True, kw_only=True):
    """One call, written when it ended. `cost` is in nano-dollars, None for a model without a price.

    `output_tokens` are those written before the client was seen to be gone; `usage` is the JSON the client was told, or
    would have been; `bytes_sent` counts the response with its head; `completion_id` may repeat, `attempt` never does.
    `mark` is what the request's script calls it, so that a row can be found from outside. `status` is 0 when the client
    left before there was one: nothing had begun, nothing is billed. `service` is `batch` for members of batches, which
    cost half.
    """

    attempt: str
    completion_id: str
    credential: str
    path: str
    model: str
    stream: bool
    status: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int = 0
    output_tokens: int
    usage: str | None
    cost: int | None
    bytes_sent: int
    service: Literal["live", "batch"] = "live"
    closed_by: Literal["server", "client"]
    mark: str = ""


class Ledger:
    """Append-only rows, in memory and, with a path, one JSON line each, so that a kill loses no ended call."""

    def __init__(self, prices: dict[str, Price], path: Path | None = None, bodies: Path | None = None) -> None:
        self.rows: list[Row] = []
        self.prices = prices
        self._file = None if path is None else _opened(path)
        self._bodies = None if bodies is None else _opened(bodies)

    def hear(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Keeps what was asked, word for word, and in which trace, in the file for it if there is one."""
        if self._bodies is not None:
            trace = {name: value for name, value in headers.items() if name in {"traceparent", "tracestate"}}
            heard = {"path": path, "body": body.decode("utf-8", "replace"), "trace": trace}
            os.write(self._bodies, msgspec.json.encode(heard) + b"\n")

    def write(self, row: Row) -> None:
        """Adds a row for good."""
        self.rows.append(row)
        if self._file is not None:
            os.write(self._file, msgspec.json.encode(row) + b"\n")

    def cost(
        self,
        model: str,
        input_tokens: int,
        cached_tokens: int,
        output_tokens: int,
        cache_write_tokens: int = 0,
        share: Fraction = Fraction(1),
    ) -> int | None:
        """Nano-dollars of a call at a share of the price, in exact fractions, rounded up once. Shares no code with the
        gateway's own sums."""
        price = self.prices.get(model)
        if price is None:
            return None
        cached = price.input if price.cached is None else price.cached
        written = price.input if price.written is None else price.written
        dollars_per_million = (
            price.input * (input_tokens - cached_tokens - cache_write_tokens)
            + cached * cached_tokens
            + written * cache_write_tokens
            + price.output * output_tokens
        )
        return ceil(dollars_per_million * 1000 * share)

    def close(self) -> None:
        """Closes the files; the rows stay readable."""
        for file in (self._file, self._bodies):
            if file is not None:
                os.close(file)
        self._file = self._bodies = None


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def read_price(text: str) -> tuple[str, Price]:
    """Reads `MODEL=IN,OUT`, `MODEL=IN,OUT,CACHED` or `MODEL=IN,OUT,CACHED,WRITTEN`; the numbers stay exact."""
    model, _, numbers = text.rpartition("=")
    parts = [Fraction(number) for number in numbers.split(",")]
    if not model or len(parts) not in (2, 3, 4):
        raise ValueError(f"price {text!r}: write MODEL=IN,OUT or MODEL=IN,OUT,CACHED(,WRITTEN)")
    return model, Price(*parts)
