"""The Merkle tree over all entries, as RFC 6962 hashes it: leaves and inner nodes have their own first byte, and a tree
of n leaves splits at the largest power of two below n."""

from __future__ import annotations

import hashlib

EMPTY = hashlib.sha256(b"").digest()


class Tree:
    """A tree that only grows. It holds the roots of its whole subtrees, of which there are at most 64."""

    def __init__(self) -> None:
        self.size = 0
        self._whole: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """One more leaf."""
        node, size = leaf_hash(leaf), self.size
        while size & 1:
            node, size = _node(self._whole.pop(), node), size >> 1
        self._whole.append(node)
        self.size += 1

    def root(self) -> str:
        """In hexadecimal, over what was added so far."""
        if not self._whole:
            return EMPTY.hex()
        *rest, node = self._whole
        for left in reversed(rest):
            node = _node(left, node)
        return node.hex()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
