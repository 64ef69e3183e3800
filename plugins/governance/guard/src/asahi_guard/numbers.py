"""Numbers with a check of their own: payment cards, US social security numbers, IBANs."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: One to nineteen digits at a time, one space or hyphen between.
_CHAIN = re.compile(r"[0-9]++(?:[ \-\u00a0][0-9]++)*+(?![A-Za-z_])")
_WORD = re.compile("[A-Za-z0-9_]")
_REGION = re.compile(r"[0-9(+][0-9 ().,\-/+\u00a0]{5,}+")
_GROUP = re.compile(r"[0-9]++")
#: A number with decimals, or one of a list of thousands, is no card.
_DECIMAL_BEFORE = re.compile(r"[0-9][.,]\Z")
_DECIMAL_AFTER = re.compile(r"[.,][0-9]")
_SHORTEST, _LONGEST = 13, 19
_LAYOUTS = ((4, 6, 5), (4, 6, 4), (6, 13))
_TWICE = {ord(digit): value for digit, value in zip("0123456789", "0246813579", strict=True)}

_SSN = re.compile(
    r"(?<![A-Za-z0-9_\-])(?!000|666|9)[0-9]{3}([ \-])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![A-Za-z0-9_])(?!-[0-9])"
)
_NINE = re.compile(
    r"(?<![A-Za-z0-9_.\-])(?!000|666|9)[0-9]{3}(?!00)[0-9]{2}(?!0000)[0-9]{4}(?![A-Za-z0-9_])(?![.\-][0-9])"
)
_SSN_CUE = re.compile(r"(?:\bssn|social security)[^0-9\n]{0,24}\Z", re.IGNORECASE)
_CUE = 44

_CHECKED = re.compile(r"[0-9]{2}(?=[ \u00a0\-]?[A-Za-z0-9])")
_COUNTRY = re.compile(r"(?<![A-Za-z0-9])(?:[A-Z]{2}|[a-z]{2})")
#: Length of an IBAN by country, after the registry of SWIFT.
_IBANS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
    "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
_REST = {
    size: (
        re.compile(rf"(?:[ \u00a0\-]?[A-Z0-9]){{{size - 4}}}(?![A-Za-z0-9])"),
        re.compile(rf"[a-z0-9]{{{size - 4}}}(?![A-Za-z0-9])"),
    )
    for size in set(_IBANS.values())
}


def regions(text: str) -> Iterator[tuple[int, int]]:
    """Where a number of seven digits or more may stand, with its brackets and separators. The rest is prose."""
    for found in _REGION.finditer(text):
        yield found.start(), min(len(text), found.end() + 2)


def cards(text: str) -> Iterator[tuple[int, int]]:
    """13 to 19 digits that begin as banks' cards do (2 to 6) and pass Luhn's check, in one piece or in the groups that
    are printed on cards, or digit by digit."""
    for chain in _CHAIN.finditer(text):
        start, end = chain.span()
        if end - start < _SHORTEST or _decimal(text, start, end) or (start and _WORD.match(text, start - 1)):
            continue
        groups = [each.span() for each in _GROUP.finditer(text, start, end)]
        yield from _laid_out(text, groups)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check of the others."""
    return (sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_TWICE)))) % 10 == 0


def social_security(text: str) -> Iterator[tuple[int, int]]:
    """`AAA-GG-SSSS` within the ranges that are given out; nine digits in a row only after a word that says so."""
    for start, end in regions(text):
        yield from _numbers(text, start, end)


def _numbers(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for found in _SSN.finditer(text, start, end):
        yield found.span()
    for found in _NINE.finditer(text, start, end):
        if _SSN_CUE.search(text, max(0, found.start() - _CUE), found.start()):
            yield found.span()


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Of the country's length, in one piece or in groups, with the right remainder by 97."""
    for checked in _CHECKED.finditer(text):
        start = checked.start() - 2
        country = _COUNTRY.match(text, start) if start >= 0 else None
        size = _IBANS.get(country[0].upper()) if country is not None else None
        if country is None or size is None:
            continue
        rest = _REST[size][country[0].islower()].match(text, checked.end())
        if rest is not None and _by_97(text[start : rest.end()]):
            yield start, rest.end()


def _decimal(text: str, start: int, end: int) -> bool:
    return (
        _DECIMAL_BEFORE.search(text, max(0, start - 2), start) is not None
        or _DECIMAL_AFTER.match(text, end) is not None
    )


def _laid_out(text: str, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    sizes = [end - start for start, end in groups]
    at = 0
    while at < len(groups):
        taken = 0
        for count in _counts(sizes, at):
            digits = "".join([text[start:end] for start, end in groups[at : at + count]])
            if _SHORTEST <= len(digits) <= _LONGEST and digits[0] in "23456" and luhn(digits):
                yield groups[at][0], groups[at + count - 1][1]
                taken = count
                break
        at += taken or 1


def _counts(sizes: list[int], at: int) -> Iterator[int]:
    """How many groups from here may make a card, the longest first."""
    size = sizes[at]
    if size >= _SHORTEST:
        yield 1
    elif size == 4 and sizes[at + 1 : at + 3] == [4, 4]:
        fours = 3
        while fours < 4 and sizes[at + fours : at + fours + 1] == [4]:
            fours += 1
        if sizes[at + fours : at + fours + 1] and sizes[at + fours] < 4:
            yield fours + 1
        if fours == 4:
            yield 4
    elif tuple(sizes[at : at + 3]) in _LAYOUTS:
        yield 3
    elif tuple(sizes[at : at + 2]) in _LAYOUTS:
        yield 2
    elif size == 1 and (at == 0 or sizes[at - 1] != 1):
        run = next((place for place in range(at, min(len(sizes), at + 21)) if sizes[place] != 1), None)
        run = min(len(sizes), at + 21) if run is None else run
        if run - at <= _LONGEST:
            yield run - at


def _by_97(iban: str) -> bool:
    plain = "".join([each for each in iban if each.isalnum()]).upper()
    return int("".join([str(int(each, 36)) for each in plain[4:] + plain[:4]])) % 97 == 1
