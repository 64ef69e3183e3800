"""A factory: a name, the shape of its configuration, and how to open one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

from asahi_kernel.types import Permission

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.reports import Scope, Told


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every configuration table: strict about misspelt keys."""


class Secret:
    """A string that does not print itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The string itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('…')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)


T = TypeVar("T", covariant=True)
C = TypeVar("C", bound=Config)


class Factory(Struct, Generic[T, C], frozen=True):
    """`open` yields the backend and releases it; the gateway holds it open while it runs.

    `name` is what the configuration calls it, `config` the Struct its table is decoded into. Import the vendor's SDK
    inside `open`: an installed but unconfigured plugin then costs nothing.
    """

    name: str
    config: type[C]
    open: Callable[[C, Gateway], AbstractAsyncContextManager[T]]


class Report(Struct, frozen=True):
    """A question about past events: becomes `GET /analytics/<name>` and `asahi report <name>`.

    `params` is decoded from texts, so each field has a default. `run` is given the gateway, the `Scope` of the reader,
    and the parameters; it reads storage and the registry alone, since from the terminal nothing else is open. With
    `every_org` it knows the scope of all orgs.
    """

    name: str
    params: type[Struct]
    run: Callable[[Gateway, Scope, Any], Awaitable[Told]]
    permission: Permission = "view_metrics"
    every_org: bool = True
