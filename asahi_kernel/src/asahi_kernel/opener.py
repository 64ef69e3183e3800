"""Opening: factories chosen by the configuration, and what they yield held open while the gateway runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec

from asahi_kernel.config import choose, decode, find, split_resilience
from asahi_kernel.errors import ConfigError
from asahi_kernel.factory import Factory, Secret
from asahi_kernel.outlet import Outlet
from asahi_kernel.settings import Credential, Resilience, Table
from asahi_kernel.upstream import Upstream

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.plugins import Plugins


class Opener:
    """Chooses factories by configuration and holds open what they yield."""

    def __init__(self, gateway: Gateway, plugins: Plugins, stack: AsyncExitStack) -> None:
        self._gateway = gateway
        self._plugins = plugins
        self._stack = stack

    async def one(self, kind: str, section: str, choice: str | Table) -> Any:
        table: Table = {"type": choice} if isinstance(choice, str) else choice
        if "type" not in table:
            raise ConfigError(f"{section}: 'type' is missing; it names the plugin to use")
        factory, config = choose(section, section, table, self._plugins.catalogue(kind))
        return await self._stack.enter_async_context(factory.open(config, self._gateway))

    async def all(self, kind: str, names: Iterable[str], tables: Mapping[str, Table]) -> dict[str, Any]:
        factories = self._plugins.catalogue(kind)
        chosen = {name: choose(kind, name, tables.get(name, {}), factories) for name in names}
        return {
            name: await self._stack.enter_async_context(factory.open(config, self._gateway))
            for name, (factory, config) in chosen.items()
        }

    def installed(
        self, kind: str, wanted: Iterable[str] | None, default: Iterable[str], tables: Mapping[str, Table]
    ) -> tuple[str, ...]:
        """The names asked for, or those of the default that are installed or have a table of their own."""
        if wanted is not None:
            return tuple(wanted)
        factories = self._plugins.catalogue(kind)
        return tuple(name for name in default if name in factories or name in tables)

    async def upstreams(self) -> dict[str, Upstream]:
        settings = self._gateway.settings
        tables = settings.providers
        if not tables:
            tables = {"mock": {}}
            self._gateway.mock = True
        elif set(tables) == {"mock"}:
            self._gateway.mock = True
        factories = self._plugins.catalogue("providers")
        opened: dict[str, Upstream] = {}
        for name, table in tables.items():
            factory = find("providers", name, table, factories)
            resilience, own = split_resilience(name, table, factory.config)
            outlets = [await self._outlet(factory, each, own, resilience) for each in _credentials(name, resilience)]
            opened[name] = Upstream(name, outlets, resilience)
        return opened

    async def _outlet(
        self, factory: Factory[Any, Any], credential: Credential, table: Table, resilience: Resilience
    ) -> Outlet:
        """The provider opened with one credential; without a key of its own the table has one, or needs none."""
        own = {**table, "api_key": credential.api_key.reveal()} if credential.api_key else table
        config = decode(own, factory.config, f"providers.{credential.name}")
        provider = await self._stack.enter_async_context(factory.open(config, self._gateway))
        return Outlet(credential.name, provider, resilience.breaker, credential.weight)


def _credentials(name: str, resilience: Resilience) -> tuple[Credential, ...]:
    if not resilience.keys:
        return (Credential(name=name, api_key=Secret("")),)
    names = [each.name for each in resilience.keys]
    if doubled := {each for each in names if names.count(each) > 1}:
        raise ConfigError(f"providers.{name}.keys: two keys are called {min(doubled)!r}")
    return tuple(msgspec.structs.replace(each, name=f"{name}.keys.{each.name}") for each in resilience.keys)
