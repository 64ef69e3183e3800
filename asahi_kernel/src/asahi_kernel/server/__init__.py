"""The HTTP edge: what is refused before any handler runs, and how the server starts, drains and ends."""

from asahi_kernel.server.body import ClientLeft, read_body
from asahi_kernel.server.limits import EdgeLimits
from asahi_kernel.server.protocol import EdgeProtocol, edge_protocol
from asahi_kernel.server.run import run

__all__ = ["ClientLeft", "EdgeLimits", "EdgeProtocol", "edge_protocol", "read_body", "run"]
