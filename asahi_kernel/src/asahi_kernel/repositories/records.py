"""Records: rows of one kind, by org. What a storage must provide for all repositories, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct

T = TypeVar("T", bound=Struct)
Where: TypeAlias = Mapping[str, Any]
#: No condition.
EVERY: Where = MappingProxyType({})


class Shape(Struct, Generic[T], frozen=True, kw_only=True):
    """One kind of record: its table, its Struct, what makes one unique, and what a list of them is ordered by.

    Every record has `org_id`. Fields in `money` are nUSD; those in `sealed` are bytes that must not lie open. `owner`
    names the field that says whose those are: a user in `user_id`, a subject in `subject`, the org in `org_id`; without
    one they are the gateway's own. They have a default, which is what is read once their subject is erased.
    """

    table: str
    record: type[T]
    identity: tuple[str, ...]
    order: str
    money: frozenset[str] = frozenset()
    sealed: frozenset[str] = frozenset()
    owner: str = "org_id"


class Records(Protocol[T]):
    """Rows of one shape. Names of fields come from code, values from anywhere."""

    async def add(self, record: T) -> bool:
        """Whether it is new; one of the same identity that is there already stays as it is."""

    async def add_all(self, records: Sequence[T]) -> None:
        """Add many new ones, all or none: `Unstorable` when one is there already."""

    async def put(self, record: T) -> None:
        """Add it, or replace the org's own of the same identity. Another org's is never touched: `Unstorable`."""

    async def change(self, org: str, where: Where, to: Where) -> int:
        """Set fields of those of the org that match; how many there were."""

    async def remove(self, org: str, where: Where) -> int:
        """Forget those of the org that match; how many there were."""

    async def find(self, org: str, where: Where, *, last: bool = True) -> T | None:
        """The last, or first, of the org that matches."""

    async def select(
        self,
        org: str,
        where: Where = EVERY,
        *,
        since: datetime | int | str | None = None,
        before: datetime | int | str | None = None,
        limit: int = 100,
        newest: bool = True,
    ) -> Sequence[T]:
        """Those of the org that match, with `since <= order < before`."""

    async def anywhere(self, where: Where, *, limit: int = 1) -> Sequence[T]:
        """In whatever org: for finding out who is asking, and for jobs of the gateway itself."""

    async def walk(self, after: int = 0, limit: int = 100) -> Sequence[tuple[int, T]]:
        """Those of every org in the order they were added, each with its place, to go on after. For what is never
        removed: places may have gaps, but what was added later has a higher one."""

    async def expire(self, field: str, moment: datetime) -> int:
        """Forget what is older, in every org."""


class Rows(Protocol):
    """Gives the records of a shape."""

    def of(self, shape: Shape[T]) -> Records[T]: ...
