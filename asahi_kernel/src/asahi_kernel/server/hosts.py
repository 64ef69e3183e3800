"""Which `Host` a server answers to: the guard against DNS rebinding and poisoned links."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_HOST = re.compile(rb"([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_KNOWN = 1_024


class HostRule:
    """Accepts loopback names, the bind host, `allowed_hosts` (`*.example.com` and `*` too) and the address reached.

    Bound to a public address with no `allowed_hosts`, any well-formed host is accepted: the operator named none.
    """

    def __init__(self, bind_host: str, allowed_hosts: Iterable[str]) -> None:
        allowed = [host.lower().rstrip(".") for host in allowed_hosts]
        self._names = {*_LOOPBACK, bind_host.lower(), *allowed}
        self._suffixes = tuple(host[1:] for host in allowed if host.startswith("*."))
        self._any = "*" in allowed or (not allowed and not _is_loopback(bind_host))
        self._known: set[bytes] = set()

    def accepts(self, value: bytes, reached: tuple[str, int | None] | None = None) -> bool:
        """Whether a request may carry this `Host`; `reached` is the local address of its connection."""
        if value in self._known:
            return True
        match = _HOST.fullmatch(value)
        if match is None or not 0 < int(match[2] or 80) <= 65_535:
            return False
        name = match[1].decode().lower().strip("[]").rstrip(".")
        if not (self._any or name in self._names or name.endswith(self._suffixes)):
            return reached is not None and name == reached[0].lower()
        if len(self._known) < _KNOWN:
            self._known.add(value)
        return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
