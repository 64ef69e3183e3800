"""Finds plugins, refuses those this kernel does not understand, and turns what they register into catalogues."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from asahi_kernel import hookspecs
from asahi_kernel.errors import PluginError
from asahi_kernel.factory import Factory

GROUP = "asahi"
BUILTIN = "builtins"
KINDS = (
    "storages",
    "counters",
    "embedders",
    "vector_stores",
    "authenticators",
    "cache_tiers",
    "policies",
    "transforms",
    "rules",
    "providers",
    "sinks",
    "services",
)


class Plugins:
    """The installed plugins: `manager` knows the sound ones, `broken` maps the others to what is wrong with them."""

    def __init__(self, manager: pluggy.PluginManager, labels: Mapping[str, str], broken: Mapping[str, str]) -> None:
        self.manager = manager
        self.labels = dict(labels)
        self.broken = dict(broken)

    def catalogue(self, kind: str) -> dict[str, Factory[Any, Any]]:
        """The factories of one kind by name. Two of one name, or something that is no factory, is refused."""
        found: dict[str, Factory[Any, Any]] = {}
        owners: dict[str, str] = {}
        for implementation in self._implementations(f"register_{kind}"):
            owner = self.labels.get(implementation.plugin_name, implementation.plugin_name)
            for factory in _registered(implementation, owner):
                if not isinstance(factory, Factory):
                    raise PluginError(
                        f"{owner}: register_{kind} must give Factory objects, not {type(factory).__name__}"
                    )
                if factory.name in found:
                    raise PluginError(
                        f"two plugins register {factory.name!r} in register_{kind}: {owners[factory.name]} and "
                        f"{owner}; uninstall one, or leave it out with ASAHI_PLUGINS"
                    )
                found[factory.name], owners[factory.name] = factory, owner
        return found

    def registered(self, plugin: str) -> dict[str, list[str]]:
        """What one plugin registers: kind → names."""
        result: dict[str, list[str]] = {}
        for kind in KINDS:
            for implementation in self._implementations(f"register_{kind}"):
                if implementation.plugin_name == plugin:
                    result[kind] = [factory.name for factory in _registered(implementation, plugin)]
        for kind in ("reports", "routes", "commands"):
            if any(each.plugin_name == plugin for each in self._implementations(f"register_{kind}")):
                result[kind] = []
        return result

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        return list(caller.get_hookimpls())


def load_plugins(*, tolerant: bool = False) -> Plugins:
    """Import every installed plugin. `ASAHI_PLUGINS` is an allow-list of names; empty means built-ins only.

    Raises `PluginError` naming the culprit's distribution; with `tolerant` a broken plugin is listed instead.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    labels: dict[str, str] = {}
    broken: dict[str, str] = {}
    for entry in _wanted(entry_points(group=GROUP)):
        label = _label(entry)
        try:
            _register(manager, entry, label, labels)
        except PluginError as error:
            if not tolerant:
                raise
            broken[label] = str(error)
        else:
            labels[entry.name] = label
    return Plugins(manager, labels, broken)


def _wanted(entries: Iterable[EntryPoint]) -> list[EntryPoint]:
    found = sorted(entries, key=lambda entry: (entry.name != BUILTIN, entry.name))
    listed = os.environ.get("ASAHI_PLUGINS")
    if listed is None:
        return found
    allowed = {name.strip() for name in listed.split(",")} | {BUILTIN}
    return [entry for entry in found if entry.name in allowed]


def _register(manager: pluggy.PluginManager, entry: EntryPoint, label: str, labels: Mapping[str, str]) -> None:
    if entry.name in labels:
        raise PluginError(
            f"two plugins are called {entry.name!r}: {labels[entry.name]} and {label}; uninstall one of them"
        )
    try:
        plugin = entry.load()
    except Exception as error:
        raise PluginError(f"plugin {label} cannot be imported: {type(error).__name__}: {error}") from error
    for name in dir(plugin):
        hook = getattr(plugin, name, None)
        if getattr(hook, f"{GROUP}_impl", None) is not None and not hasattr(hookspecs, name):
            raise PluginError(
                f"plugin {label} implements {name!r}, which this asahi-kernel does not know: {_hint(name)}"
            )
    try:
        manager.register(plugin, name=entry.name)
    except (ValueError, pluggy.PluginValidationError) as error:
        manager.unregister(name=entry.name)
        raise PluginError(f"plugin {label} does not fit this asahi-kernel: {error}") from error


def _registered(implementation: pluggy.HookImpl, owner: str) -> list[Any]:
    try:
        registered: Any = implementation.function()
        return list(registered or ())
    except Exception as error:
        raise PluginError(
            f"{owner}: {implementation.function.__name__} failed: {type(error).__name__}: {error}"
        ) from error


def _label(entry: EntryPoint) -> str:
    return f"{entry.name!r} ({entry.dist.name} {entry.dist.version})" if entry.dist else repr(entry.name)


def _hint(hook: str) -> str:
    from asahi_kernel.config import near

    known = [name for name in vars(hookspecs) if name.startswith("register_")]
    return near(hook, known) or f"the hooks are {', '.join(known)}"
