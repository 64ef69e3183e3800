"""The price table: what vendors charge today, from the `genai-prices` data that is bundled with its wheel.

Nothing is fetched. Importing the data costs a third of a second, so it is loaded for the first model without a price
of its own, and never for the mock provider.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from asahi_kernel import clock
from asahi_kernel.money import Prices, per_million

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

#: Our classes by the data's names. Its other classes (images, audio, searches) are charged as the vendor's usage tells.
_CLASSES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
}


def look_up(
    provider: str, base_url: str | None, model: str, at: datetime | None = None, *, embeds: bool = False
) -> Prices | None:
    """The prices in force for a model of a provider, found by the provider's address, else by its name; None where the
    data knows no price for both input and output. A model that embeds has no output to price."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    for provider_id, url in ((None, base_url), (provider, None)):
        if provider_id is None and url is None:
            continue
        try:
            _, info = snapshot.find_provider_model(model, None, provider_id, url)
        except LookupError:
            continue
        return convert(info.get_prices(at or clock.now()), embeds=embeds)
    return None


def convert(listed: ModelPrice, *, embeds: bool = False) -> Prices | None:
    """The data's prices as ours. A tier starts above a number of input tokens and then holds for all tokens."""
    classes = {ours: getattr(listed, theirs, None) for theirs, ours in _CLASSES.items()}
    if embeds and classes["output"] is None:
        classes["output"] = Decimal(0)
    if classes["input"] is None or classes["output"] is None:
        return None
    starts = sorted({tier.start for price in classes.values() for tier in getattr(price, "tiers", ())})
    tiers = tuple((start, _at(classes, start + 1)) for start in starts)
    return msgspec.structs.replace(_at(classes, 0), tiers=tiers)


def price_version(prices: Iterable[tuple[str, Prices | None]], on: date | None = None) -> str:
    """Content hash and date of a set of prices by model name: equal sets of one day have equal versions."""
    body = [(name, msgspec.to_builtins(each)) for name, each in sorted(prices, key=lambda pair: pair[0])]
    digest = hashlib.sha256(msgspec.json.encode(body)).hexdigest()[:12]
    return f"{digest}-{(on or clock.now().date()).isoformat()}"


def source() -> str:
    """Where looked-up prices come from."""
    return f"genai-prices {version('genai-prices')}"


def _at(classes: dict[str, Any], tokens: int) -> Prices:
    found = {name: _price(price, tokens) for name, price in classes.items()}
    exact = {name: None if price is None else per_million(price) for name, price in found.items()}
    return msgspec.convert(exact, Prices)


def _price(price: Any, tokens: int) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if tokens > tier.start]
    last: Decimal = reached[-1] if reached else price.base
    return last
