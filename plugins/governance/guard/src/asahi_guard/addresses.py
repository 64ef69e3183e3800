"""Addresses of people and machines: e-mail, IPv4, IPv6."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

#: What may stand in front of the @, letters with accents too.
LOCAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+'-" + "".join(map(chr, range(0xC0, 0x180)))
_LONGEST_LOCAL = 64
_AT = re.compile("@")
_LABEL = r"[A-Za-z0-9\u00c0-\u017f][A-Za-z0-9\u00c0-\u017f\-]{0,62}+\."
_DOMAIN = re.compile(rf"(?:{_LABEL}){{1,8}}(?:[A-Za-z]{{2,24}}|xn--[a-z0-9]{{2,20}})(?![A-Za-z0-9])")

_FOUR = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![A-Za-z0-9_])(?!\.[0-9])")
_JOINED = re.compile(r"[A-Za-z0-9_.\-]")
_VERSION = re.compile(r"(?:version|release|build|firmware|\bv)[ :=]*\Z", re.IGNORECASE)
_SIX = re.compile(r"(?<![A-Za-z0-9_:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{3,45}+(?:\.[0-9.]{5,12}+)?(?![A-Za-z0-9_])")


def emails(text: str) -> Iterator[tuple[int, int]]:
    """From each @ to the left and to the right."""
    for found in _AT.finditer(text):
        at = found.start()
        before = text[max(0, at - _LONGEST_LOCAL) : at]
        size = len(before) - len(before.rstrip(LOCAL))
        if size and (domain := _DOMAIN.match(text, at + 1)):
            yield at - size, domain.end()


def internet_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Four octets, unless they are a version; eight groups of hexadecimal digits, or fewer with `::`."""
    if text.count(".") >= 3:
        for found in _FOUR.finditer(text):
            if _is_four(text, found):
                yield found.span()
    if "::" in text or text.count(":") >= 7:
        for found in _SIX.finditer(text):
            start, end = found.span()
            if text.endswith(":", start, end) and not text.endswith("::", start, end):
                end -= 1
            if _is_six(text[start:end]):
                yield start, end


def _is_four(text: str, found: re.Match[str]) -> bool:
    start = found.start()
    if start and _JOINED.match(text, start - 1):
        return False
    octets = found[0].split(".")
    if any(int(each) > 255 or (len(each) > 1 and each[0] == "0") for each in octets):
        return False
    return _VERSION.search(text, max(0, start - 12), start) is None


def _is_six(text: str) -> bool:
    if not ("::" in text or text.count(":") == 7) or not any(each in "0123456789" for each in text):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
