"""Which request targets are answered, decided on the raw bytes so that no two spellings reach one handler."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from asahi_kernel.errors import Invalid

_PATH = re.compile(rb"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")
_QUERY = re.compile(rb"[!\"$-~]*")
_ESCAPED = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})*")
_HIDDEN = re.compile(rb"%(?:2[ef5]|5c)", re.IGNORECASE)
_KNOWN = 1_024


class TargetRule:
    """Accepts an absolute path of non-empty ASCII segments; escapes may spell only what may also stand unescaped."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, bytes, bytes]] = {}

    def split(self, target: bytes) -> tuple[str, bytes, bytes]:
        """The path as text, the path as it came, and the query. Raises `Invalid` for any other form of target.

        Percent-escapes are undone once, and never make a separator or a dot.
        """
        known = self._known.get(target)
        if known is not None:
            return known
        path, _, query = target.partition(b"?")
        plain = path
        if not path.startswith(b"/"):
            raise Invalid("the request target must be an absolute path, such as /infer")
        if b"%" in path:
            if not _ESCAPED.fullmatch(path) or _HIDDEN.search(path):
                raise Invalid("the path has an escape that is malformed or hides a separator")
            plain = unquote_to_bytes(path)
        if not _PATH.fullmatch(plain) or not _QUERY.fullmatch(query):
            raise Invalid("the path must be plain ASCII without empty segments, dot segments or backslashes")
        parts = (plain.decode("ascii"), path, query)
        if len(self._known) < _KNOWN and len(target) < 64:
            self._known[target] = parts
        return parts
