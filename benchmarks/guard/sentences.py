"""Seeded sentences with personal data in known places, and ordinary ones without any.

The shapes come from how such data is printed (card schemes, the IBAN registry, national numbering plans, issuers of
keys), not from the detectors' patterns: some are there that the detectors are known to miss.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator

from msgspec import Struct

LETTERS, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
BASE62 = string.ascii_letters + DIGITS
#: What may stand in front of a telephone number, and is no part of it.
CUE = "phone: "
FRAMES = (
    "Please use {} for it.",
    "{}",
    "I think it was {}, but do check.",
    "Customer wrote: «{}» and left.",
    "Here it is:\n{}\nThanks!",
    "({})",
    "value={}; next",
    '{{"field": "{}"}}',
    "The 3 of us use {} since 2019.",
    "从 {} 开始",
)


class Labelled(Struct, frozen=True):
    """A sentence, and the data in it; `data` is empty where there is none."""

    text: str
    kind: str
    data: str


def labelled(seed: int, each: int) -> Iterator[Labelled]:
    """So many sentences of every kind."""
    dice = random.Random(seed)
    for kind, makers in MAKERS.items():
        for _ in range(each):
            data = dice.choice(makers)(dice)
            yield Labelled(dice.choice(FRAMES).format(data), kind, data.removeprefix(CUE))


def ordinary(seed: int, each: int) -> Iterator[Labelled]:
    """So many of every kind of number that is nobody's."""
    dice = random.Random(seed)
    for kind, maker in ORDINARY.items():
        for _ in range(each):
            data = maker(dice)
            yield Labelled(dice.choice(FRAMES).format(data), kind, data)


def _digits(dice: random.Random, count: int, first: str = DIGITS) -> str:
    return dice.choice(first) + "".join(dice.choices(DIGITS, k=count - 1))


def _of(dice: random.Random, letters: str, count: int) -> str:
    return "".join(dice.choices(letters, k=count))


def _grouped(text: str, *sizes: int, by: str = " ") -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return by.join([part for part in parts if part])


def checked(prefix: str) -> str:
    """With Luhn's digit behind it."""
    total = 0
    for place, digit in enumerate(reversed(prefix)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return prefix + str(-total % 10)


def _card(dice: random.Random) -> str:
    brand = dice.choice(("4", "51", "55", "2221", "6011", "3528", "62"))
    number = checked(brand + _of(dice, DIGITS, 15 - len(brand)))
    return dice.choice((number, _grouped(number, 4, 4, 4, 4), _grouped(number, 4, 4, 4, 4, by="-")))


def _amex(dice: random.Random) -> str:
    number = checked(dice.choice(("34", "37")) + _of(dice, DIGITS, 12))
    return dice.choice((number, _grouped(number, 4, 6, 5)))


def _long_card(dice: random.Random) -> str:
    number = checked("6" + _of(dice, DIGITS, 17))
    return dice.choice((number, _grouped(number, 4, 4, 4, 4, 3)))


def _ssn(dice: random.Random) -> str:
    area = dice.choice([each for each in range(1, 900) if each != 666])
    by = dice.choice("- ")
    return f"{area:03}{by}{dice.randint(1, 99):02}{by}{dice.randint(1, 9_999):04}"


def _iban(dice: random.Random) -> str:
    country, bank, length = dice.choice(
        (
            ("DE", DIGITS, 18),
            ("GB", UPPER, 18),
            ("FR", DIGITS, 23),
            ("NL", UPPER, 14),
            ("CH", DIGITS, 17),
            ("NO", DIGITS, 11),
        )
    )
    account = _of(dice, bank, 4) + _of(dice, DIGITS, length - 4)
    number = int("".join([str(int(each, 36)) for each in f"{account}{country}00"]))
    iban = f"{country}{98 - number % 97:02}{account}"
    return dice.choice((iban, _grouped(iban, *[4] * 9)))


def _email(dice: random.Random) -> str:
    name = dice.choice(
        (_of(dice, LETTERS, 6), f"{_of(dice, LETTERS, 3)}.{_of(dice, LETTERS, 7)}", f"{_of(dice, LETTERS, 4)}+x1")
    )
    host = dice.choice(("example.com", "mail.example.co.uk", f"{_of(dice, LETTERS, 8)}.io", "uni-köln.de"))
    return f"{name}@{host}"


def _ip(dice: random.Random) -> str:
    four = ".".join([str(dice.randint(1, 254)) for _ in range(4)])
    groups = [f"{dice.randint(1, 65_535):x}" for _ in range(8)]
    return dice.choice((four, ":".join(groups), f"2001:db8::{groups[0]}:{groups[1]}", f"fe80::{dice.randint(1, 9)}"))


def _phone(dice: random.Random) -> str:
    area, local = _digits(dice, 3, "23456789"), f"{_digits(dice, 3, '23456789')}-{_digits(dice, 4)}"
    shapes = (
        f"+1 {area} {local}",
        f"+49 {_digits(dice, 2, '3456789')} {_digits(dice, 7)}",
        f"+{_digits(dice, 12, '3456789')}",
        f"({area}) {local}",
        f"{area}-{local}",
        f"{area}.{local.replace('-', '.')}",
        f"0{_digits(dice, 2, '3456789')} {_digits(dice, 8)}",
        f"020 {_digits(dice, 4, '378')} {_digits(dice, 4)}",
        f"01 {_grouped(_digits(dice, 8), 2, 2, 2, 2)}",
        f"0171/{_digits(dice, 7)}",
        f"0049 30 {_digits(dice, 7)}",
        CUE + _digits(dice, 10, "23456789"),
        local,  # a local number by itself: known to be missed
    )
    return dice.choice(shapes)


def _secret(dice: random.Random) -> str:
    shapes = (
        f"ask_{_of(dice, BASE62, 12)}_{_of(dice, BASE62, 49)}",
        f"sk-{_of(dice, BASE62, 48)}",
        f"sk-ant-api03-{_of(dice, BASE62 + '-_', 93)}AA",
        f"sk-proj-{_of(dice, BASE62, 60)}",
        f"AKIA{_of(dice, UPPER + DIGITS, 16)}",
        f"ghp_{_of(dice, BASE62, 36)}",
        f"glpat-{_of(dice, BASE62, 20)}",
        f"xoxb-{_of(dice, DIGITS, 11)}-{_of(dice, BASE62, 24)}",
        f"AIza{_of(dice, BASE62, 35)}",
        f"hf_{_of(dice, BASE62, 34)}",
        f"sk_live_{_of(dice, BASE62, 24)}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJ{_of(dice, BASE62, 60)}.{_of(dice, BASE62 + '-_', 43)}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{_of(dice, BASE62 + '+/', 94)}==\n-----END RSA PRIVATE KEY-----",
        _of(dice, BASE62 + "+/", 40),  # the secret half of an AWS key has no shape: known to be missed
    )
    return dice.choice(shapes)


MAKERS: dict[str, tuple[Callable[[random.Random], str], ...]] = {
    "card": (_card, _amex, _long_card),
    "ssn": (_ssn,),
    "iban": (_iban,),
    "email": (_email,),
    "ip": (_ip,),
    "phone": (_phone,),
    "secret": (_secret,),
}


def _unchecked(dice: random.Random) -> str:
    good = checked("4" + _of(dice, DIGITS, 14))
    return _grouped(good[:-1] + str((int(good[-1]) + dice.randint(1, 9)) % 10), 4, 4, 4, 4)


ORDINARY: dict[str, Callable[[random.Random], str]] = {
    "order id": lambda dice: f"order {_digits(dice, dice.randint(6, 12))}",
    "order id with letters": lambda dice: f"ORD-{_digits(dice, 4)}-{_digits(dice, 6)}",
    "price": lambda dice: f"${dice.randint(1, 9_999_999):,}.{dice.randint(0, 99):02}",
    "epoch seconds": lambda dice: str(dice.randint(1_500_000_000, 1_900_000_000)),
    "epoch milliseconds": lambda dice: str(dice.randint(1_500_000_000_000, 1_900_000_000_000)),
    "date": lambda dice: f"{dice.randint(2000, 2030)}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}",
    "dotted date": lambda dice: f"{dice.randint(1, 28):02}.{dice.randint(1, 12):02}.{dice.randint(1990, 2030)}",
    "moment": lambda dice: (
        f"2026-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}T{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:07Z"
    ),
    "time": lambda dice: f"{dice.randint(0, 23):02}:{dice.randint(0, 59):02}:{dice.randint(0, 59):02}",
    "digits that fail Luhn": _unchecked,
    "decimal": lambda dice: f"{dice.randint(0, 99)}.{_digits(dice, 16)}",
    "version": lambda dice: (
        f"version {dice.randint(1, 20)}.{dice.randint(0, 20)}.{dice.randint(0, 99)}.{dice.randint(0, 9)}"
    ),
    "coordinates": lambda dice: f"{dice.uniform(-90, 90):.6f}, {dice.uniform(-180, 180):.6f}",
    "hash": lambda dice: _of(dice, "0123456789abcdef", 40),
    "uuid": lambda dice: "-".join([_of(dice, "0123456789abcdef", size) for size in (8, 4, 4, 4, 12)]),
    "mac address": lambda dice: ":".join([_of(dice, "0123456789ABCDEF", 2) for _ in range(6)]),
    "handle": lambda dice: f"@{_of(dice, LETTERS, 8)}",
    "isbn": lambda dice: f"ISBN 978-{_digits(dice, 1)}-{_digits(dice, 2)}-{_digits(dice, 6)}-{_digits(dice, 1)}",
    "range": lambda dice: f"pages {dice.randint(10, 99)}-{dice.randint(100, 999)}",
    "table of numbers": lambda dice: " ".join([str(dice.randint(0, 999)) for _ in range(12)]),
}
