"""The sealed columns: which there are, under which keys their values are, and sealing them anew.

What is a subject's is under a key of its own. Values from before there were such keys are under those of the vault:
they still open, and are brought under their subject's when they are sealed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from asahi_kernel.keyring import MARK
from asahi_kernel.repositories.agents import OUTPUTS
from asahi_kernel.repositories.judgements import OPINIONS
from asahi_kernel.repositories.people import TENANTS
from asahi_kernel.repositories.subjects import ERASURES, owner_of
from asahi_kernel.repositories.work import BODIES, DATA_KEYS, JOBS
from asahi_kernel.vault import Sealer, Unsealable
from asahi_piccolo.database import Database, Row, Statement
from asahi_piccolo.records import joined

if TYPE_CHECKING:
    from asahi_kernel.keyring import Keyring
    from asahi_kernel.repositories.records import Shape

_CHUNK = 500


class Column(Struct, frozen=True, kw_only=True):
    """A sealed column, what its values are bound to, and the subject whose key seals a row's: None where the vault
    does. `orgs` is false where they belong to no org."""

    table: str
    name: str
    identity: tuple[str, ...]
    owner: Callable[[Row], str | None]
    owned: bool = True
    orgs: bool = True


def _columns(shape: Shape[Any]) -> list[Column]:
    owner, owned = partial(owner_of, shape), bool(shape.owner)
    return [
        Column(table=shape.table, name=name, identity=shape.identity, owner=owner, owned=owned)
        for name in sorted(shape.sealed)
    ]


def _nobody(row: Row) -> None:
    return None


COLUMNS = (
    *(column for shape in (TENANTS, OPINIONS, BODIES, JOBS, OUTPUTS, ERASURES) for column in _columns(shape)),
    # Who asked is not in the row, and it goes within a day.
    Column(table="idempotency_keys", name="body", identity=("request_id",), owner=lambda row: str(row["org_id"])),
    Column(table="dead_letters", name="payload", identity=("source",), owner=_nobody, owned=False, orgs=False),
)
#: Wrapped by the vault's keys, and renewed by who can wrap them.
_KEYS = Column(table=DATA_KEYS.table, name="wrapped_key", identity=DATA_KEYS.identity, owner=_nobody, owned=False)


class StoredSeals:
    """See `asahi_kernel.rooting`."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def renew(self, mark: bytes) -> int:
        """What cannot be opened any more stays as it is."""
        done = 0
        for column in COLUMNS:
            after, wanted = 0, MARK if column.owned else mark
            while rows := await self._database.fetch(_others(column), wanted, len(wanted), after, _CHUNK):
                after = rows[-1]["id"]
                changes = [change for row in rows if (change := await self._renewed(column, row)) is not None]
                async with self._database.transaction() as session:
                    for change in changes:
                        done += await session.run(_update(column), *change)
        return done

    async def strange(self, marks: Sequence[bytes], most: int | None = None) -> Mapping[str, int]:
        """By the beginnings of values alone; nothing is opened."""
        found = dict[str, int]()
        for column in (*COLUMNS, _KEYS):
            known = (*marks, MARK) if column.owned else tuple(marks)
            for newest in (False, True):
                rows = await self._database.fetch(_beginnings(column, newest=newest), most or 1 << 31)
                count = sum(not bytes(row["beginning"]).startswith(known) for row in rows)
                if count:
                    found[column.table] = max(count, found.get(column.table, 0))
                if most is None:
                    break
        return found

    async def _renewed(self, column: Column, row: Row) -> tuple[int, bytes, bytes] | None:
        old = bytes(row[column.name])
        place = ":".join(str(row[name]) for name in column.identity)
        org = row["org_id"] if column.orgs else ""
        sealer: Sealer = self._keyring.vault
        try:
            plain = sealer.unseal(org, column.table, column.name, place, old)
        except Unsealable:
            return None
        if (subject := column.owner(row)) is not None:
            sealer = await self._keyring.sealing(org, subject)
        return row["id"], old, sealer.seal(org, column.table, column.name, place, plain)


def _others(column: Column) -> Statement:
    name = column.name
    filled = f"{name} IS NOT NULL AND length({name}) > 0 AND substr({name}, 1, $2) <> $1 AND id > $3"
    return joined("SELECT * FROM", column.table, "WHERE", filled, "ORDER BY id LIMIT $4")


def _update(column: Column) -> Statement:
    return joined("UPDATE", column.table, "SET", f"{column.name} = $3 WHERE id = $1 AND {column.name} = $2")


def _beginnings(column: Column, *, newest: bool) -> Statement:
    name = column.name
    filled = f"WHERE {name} IS NOT NULL AND length({name}) > 0"
    way = "DESC" if newest else "ASC"
    return joined(
        "SELECT", f"substr({name}, 1, 18) AS beginning FROM", column.table, filled, "ORDER BY id", way, "LIMIT $1"
    )
