"""A scripted vendor on a loopback port, with books of its own: the outside witness of Asahi's tests.

In a test: `async with fakeup.running(prices={…}) as upstream:`, then `upstream.url` and `upstream.ledger`. As a
process: `python -m asahi_kernel.testing.fakeup --ledger FILE --price MODEL=IN,OUT`.
"""

from asahi_kernel.testing.fakeup.ledger import Price, Row, read_price
from asahi_kernel.testing.fakeup.upstream import Upstream, running

__all__ = ("Price", "Row", "Upstream", "read_price", "running")
