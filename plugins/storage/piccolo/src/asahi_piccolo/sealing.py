"""The sealed columns: which there are, under which keys their values are, and sealing them anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from asahi_kernel.repositories.agents import OUTPUTS
from asahi_kernel.repositories.judgements import OPINIONS
from asahi_kernel.repositories.people import TENANTS
from asahi_kernel.repositories.subjects import ERASURES
from asahi_kernel.repositories.work import BODIES, JOBS
from asahi_kernel.vault import Unsealable
from asahi_piccolo.database import Database, Row, Statement
from asahi_piccolo.records import joined

if TYPE_CHECKING:
    from asahi_kernel.repositories.records import Shape
    from asahi_piccolo.keeping import Sealer

_CHUNK = 500


class Column(Struct, frozen=True, kw_only=True):
    """A sealed column, and what its values are bound to. `owned` is false where they belong to no org."""

    table: str
    name: str
    identity: tuple[str, ...]
    owned: bool = True


def _columns(shape: Shape[Any]) -> list[Column]:
    return [Column(table=shape.table, name=name, identity=shape.identity) for name in sorted(shape.sealed)]


COLUMNS = (
    *(column for shape in (TENANTS, OPINIONS, BODIES, JOBS, OUTPUTS, ERASURES) for column in _columns(shape)),
    Column(table="idempotency_keys", name="body", identity=("request_id",)),
    Column(table="dead_letters", name="payload", identity=("source",), owned=False),
)


class StoredSeals:
    """See `asahi_kernel.rooting`."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def renew(self, mark: bytes) -> int:
        """What cannot be opened any more stays as it is."""
        done = 0
        for column in COLUMNS:
            after = 0
            while rows := await self._database.fetch(_others(column), mark, len(mark), after, _CHUNK):
                after = rows[-1]["id"]
                changes = [change for row in rows if (change := self._renewed(column, row)) is not None]
                async with self._database.transaction() as session:
                    for change in changes:
                        done += await session.run(_update(column), *change)
        return done

    async def strange(self, marks: Sequence[bytes], most: int | None = None) -> Mapping[str, int]:
        """By the beginnings of values alone; nothing is opened."""
        known, found = tuple(marks), dict[str, int]()
        for column in COLUMNS:
            for newest in (False, True):
                rows = await self._database.fetch(_beginnings(column, newest=newest), most or 1 << 31)
                count = sum(not bytes(row["beginning"]).startswith(known) for row in rows)
                if count:
                    found[column.table] = max(count, found.get(column.table, 0))
                if most is None:
                    break
        return found

    def _renewed(self, column: Column, row: Row) -> tuple[int, bytes, bytes] | None:
        old = bytes(row[column.name])
        place = ":".join(str(row[name]) for name in column.identity)
        org = row["org_id"] if column.owned else ""
        try:
            plain = self._sealer.unseal(org, column.table, column.name, place, old)
        except Unsealable:
            return None
        return row["id"], old, self._sealer.seal(org, column.table, column.name, place, plain)


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
