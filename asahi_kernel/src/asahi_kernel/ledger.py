"""The savings ledger: every settled request becomes an entry of its org's hash chain, which anyone can recompute.

An entry says what was used, at which prices, what that cost and what it would have cost. Its hash covers the hash of
the entry before it. Verification needs the entries and the price versions alone, so it works on a dump.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from asahi_kernel.money import Prices
from asahi_kernel.records import OWN, Event
from asahi_kernel.types import Usage

#: What the first entry of a chain links to.
GENESIS = "0" * 64


class Charge(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One billed call: its usage at one model's prices, in nUSD; `cost` None where that model has no known price.

    `share` is what a batch API asks of the ordinary price, in thousandths. An `own` call was made of Asahi's own
    accord: it is overhead, and no part of the entry's cost.
    """

    model: str
    usage: Usage
    cost: int | None
    share: int = 1_000
    own: bool = False


class Basis(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an entry's money is computed from: the billed calls, and the usage that is priced at the baseline model.

    Without a price for that one the baseline is the cost itself: nothing is claimed as saved.
    """

    charges: tuple[Charge, ...] = ()
    baseline_model: str | None = None
    baseline_usage: Usage = Usage()


class Entry(Struct, frozen=True, kw_only=True):
    """One settled request in its org's chain. `seq` counts from 1 without gaps; money is nUSD, `cost` None where a
    price is unknown. `prev_hash` and `entry_hash` are lower-case hexadecimal SHA-256."""

    seq: int
    request_id: str
    org_id: str
    price_version: str | None
    usage: Basis
    cost: int | None
    baseline_cost: int
    overhead_cost: int
    saved: int
    prev_hash: str
    entry_hash: str = ""


class Head(Struct, frozen=True):
    """The last entry of a chain."""

    seq: int = 0
    entry_hash: str = GENESIS


def link(head: Head, event: Event) -> Entry:
    """The next entry after `head`. Call it inside the transaction that holds the chain's lock."""
    entry = Entry(
        seq=head.seq + 1,
        request_id=event.request_id,
        org_id=event.org_id,
        price_version=event.price_version,
        usage=basis(event),
        cost=event.cost,
        baseline_cost=event.baseline_cost,
        overhead_cost=event.overhead_cost,
        saved=event.saved,
        prev_hash=head.entry_hash,
    )
    return msgspec.structs.replace(entry, entry_hash=digest(entry))


def digest(entry: Entry) -> str:
    """SHA-256 over the entry as JSON without its own hash: keys sorted, no blanks, UTF-8. The text of an org or a model
    cannot collide with another field, since JSON quotes it."""
    return hashlib.sha256(
        msgspec.json.encode(msgspec.structs.replace(entry, entry_hash=""), order="sorted")
    ).hexdigest()


def basis(event: Event) -> Basis:
    """What an event's money rests on."""
    own = event.route == OWN
    charges = tuple(
        Charge(model=attempt.model, usage=attempt.usage, cost=attempt.cost, share=attempt.share, own=own)
        for attempt in event.attempts
        if attempt.billed
    )
    return Basis(charges=charges, baseline_model=event.baseline_model, baseline_usage=event.baseline_usage)


class Book(Struct, frozen=True, kw_only=True):
    """An immutable, dated set of prices by model name. `effective_from` is an ISO 8601 date."""

    version: str
    effective_from: str
    source: str
    prices: Mapping[str, Prices]


def fault(head: Head, entry: Entry, book: Book | None) -> str:
    """What is wrong with an entry that should follow `head`, or nothing."""
    if entry.seq != head.seq + 1:
        return f"entry {entry.seq} follows {head.seq}: entries are missing or doubled"
    if entry.prev_hash != head.entry_hash:
        return f"entry {entry.seq} does not link to the entry before it"
    if digest(entry) != entry.entry_hash:
        return f"entry {entry.seq} was changed: its hash does not fit its content"
    return _money_fault(entry, book)


def _money_fault(entry: Entry, book: Book | None) -> str:
    basis = entry.usage
    paid = [charge.cost for charge in basis.charges if not charge.own]
    own = sum(charge.cost or 0 for charge in basis.charges if charge.own)
    cost = None if None in paid else sum(each or 0 for each in paid)
    if entry.cost is not None and cost != entry.cost:
        return f"entry {entry.seq}: its calls cost {cost}, not {entry.cost}"
    if entry.overhead_cost < own:
        return f"entry {entry.seq}: Asahi's own calls cost {own}, more than its overhead of {entry.overhead_cost}"
    if entry.cost is None and entry.baseline_cost:
        return f"entry {entry.seq}: nothing can be saved at an unknown price"
    if entry.saved != entry.baseline_cost - (entry.cost or 0) - entry.overhead_cost:
        return f"entry {entry.seq}: saved is not baseline less cost less overhead"
    return _price_fault(entry, book)


def _price_fault(entry: Entry, book: Book | None) -> str:
    if book is None:
        wanted = entry.usage.charges or entry.baseline_cost
        return f"entry {entry.seq}: the price version {entry.price_version} is not there" if wanted else ""
    for charge in entry.usage.charges:
        prices = book.prices.get(charge.model)
        if prices is None and charge.cost is not None:
            return f"entry {entry.seq}: {book.version} has no price for {charge.model!r}"
        if prices is not None and charge.cost != prices.cost(charge.usage, charge.share):
            return f"entry {entry.seq}: a call of {charge.model!r} cost {prices.cost(charge.usage, charge.share)}"
    named = entry.usage.baseline_model
    baseline = None if named is None else book.prices.get(named)
    before = entry.cost if baseline is None else baseline.cost(entry.usage.baseline_usage)
    if entry.baseline_cost and before != entry.baseline_cost:
        return f"entry {entry.seq}: the baseline is {before}, not {entry.baseline_cost}"
    return ""
