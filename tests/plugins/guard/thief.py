"""A thief: copies every sealed value there is, with its place, and later tries to read the copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from asahi_kernel.keyring import SubjectKey, unwrapped
from asahi_kernel.repositories.work import DataKey
from asahi_kernel.vault import Unsealable, Vault
from asahi_semantic.framing import _framed
from asahi_semantic.keeping import Added, _decode

#: Table and column → what the row of a value is called.
COLUMNS = {
    ("feedback", "comment"): "org_id || ':' || request_id || ':' || user_id",
    ("event_bodies", "request"): "request_id",
    ("event_bodies", "response"): "request_id",
    ("jobs", "request"): "request_id",
    ("idempotency_keys", "body"): "request_id",
    ("tenants", "cache_salt"): "org_id",
    ("agent_outputs", "output"): "cache_id",
}
Copies = list[tuple[tuple[str, str, str, str], bytes]]


def statements() -> Iterator[tuple[str, str, str]]:
    """Table, column, and what to ask the database for org, row and value."""
    for (table, column), row in COLUMNS.items():
        yield table, column, f"SELECT org_id, {row}, {column} FROM {table} WHERE length({column}) > 0"


def in_files(folder: Path) -> Copies:
    """What the files of the semantic cache hold."""
    found: Copies = []
    for path in folder.rglob("semantic.*.log"):
        with path.open("rb") as file:
            added = [line for line in map(_decode, _framed(file)) if isinstance(line, Added)]
        found += [((each.org, "semantic_entries", "entry", each.entry_id), each.body) for each in added]
    return found


def in_redis(client: Any, orgs: Iterable[str], prefix: str = "*") -> Copies:
    """Every answer there; the thief does not know whose it is."""
    found: Copies = []
    for key in client.scan_iter(f"{prefix}:t1:*"):
        name = key.decode().rpartition(":")[2]
        if len(name) == 64 and client.type(key) == b"string":
            blob = client.get(key)[26:]
            found += [((org, "cache", "t1", name), blob) for org in orgs]
    return found


def keys_of(vault: Vault, kept: Iterable[DataKey]) -> list[SubjectKey]:
    """Every data key that its wrapping still gives away."""
    return [SubjectKey(each.key_name, unwrapped(vault, each)) for each in kept if each.wrapped_key is not None]


def readable(keys: Iterable[Any], copies: Copies) -> list[tuple[str, str, str, str]]:
    """The places of those that any of the keys opens."""
    held = list(keys)
    return [place for place, blob in copies if any(_opens(key, place, blob) for key in held)]


def _opens(key: Any, place: tuple[str, str, str, str], blob: bytes) -> bool:
    with suppress(Unsealable):
        key.unseal(*place, blob)
        return True
    return False
