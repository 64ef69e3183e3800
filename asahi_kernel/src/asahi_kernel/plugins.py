"""Finds plugins, refuses those this kernel does not understand, and turns what they register into catalogues."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import pluggy

from asahi_kernel import hookspecs
from asahi_kernel.errors import PluginError
from asahi_kernel.factory import Factory, Report

T = TypeVar("T")
GROUP = "asahi"
BUILTIN = "builtins"
KINDS = (
    "storages",
    "counters",
    "embedders",
    "vector_stores",
    "authenticators",
    "cache_tiers",
    "detectors",
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
            for factory in _factories(implementation, owner):
                if factory.name in found:
                    raise PluginError(
                        f"two plugins register {factory.name!r} in register_{kind}: {owners[factory.name]} and "
                        f"{owner}; uninstall one, or leave it out with ASAHI_PLUGINS"
                    )
                found[factory.name], owners[factory.name] = factory, owner
        return found

    def reports(self) -> dict[str, Report]:
        """The reports by name. Two of one name are refused."""
        found: dict[str, Report] = {}
        for implementation in self._implementations("register_reports"):
            owner = self.labels.get(implementation.plugin_name, implementation.plugin_name)
            for report in _gathered(implementation, owner, Report):
                if report.name in found:
                    raise PluginError(f"{owner}: there is a report {report.name!r} already")
                found[report.name] = report
        return found

    def registered(self, plugin: str) -> dict[str, list[str]]:
        """What one plugin registers: kind → names."""
        result: dict[str, list[str]] = {}
        for kind in KINDS:
            for implementation in self._implementations(f"register_{kind}"):
                if implementation.plugin_name == plugin:
                    owner = self.labels.get(plugin, plugin)
                    result[kind] = [factory.name for factory in _factories(implementation, owner)]
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
    plugins = Plugins(manager, labels, broken | _absent(tolerant=tolerant))
    if tolerant:
        _weed(plugins)
    return plugins


def _wanted(entries: Iterable[EntryPoint]) -> list[EntryPoint]:
    found = sorted(entries, key=lambda entry: (entry.name != BUILTIN, entry.name))
    listed = os.environ.get("ASAHI_PLUGINS")
    if listed is None:
        return found
    allowed = _allowed(listed) | {BUILTIN}
    return [entry for entry in found if entry.name in allowed]


def _allowed(listed: str) -> set[str]:
    return {name.strip() for name in listed.split(",")} - {""}


def _absent(*, tolerant: bool) -> dict[str, str]:
    """A name on the allow-list that nothing installed has is a mistake, and would silently leave a plugin out."""
    installed = {entry.name for entry in entry_points(group=GROUP)}
    absent: dict[str, str] = {}
    for name in sorted(_allowed(os.environ.get("ASAHI_PLUGINS", "")) - installed):
        told = f"ASAHI_PLUGINS: no installed plugin is called {name!r}. {_near(name, installed)}"
        absent[repr(name)] = told.strip()
        if not tolerant:
            raise PluginError(absent[repr(name)])
    return absent


def _weed(plugins: Plugins) -> None:
    """Ask each plugin once what it registers; one that fails, or takes a name that is taken, becomes broken."""
    taken: dict[tuple[str, str], str] = {}
    for name, label in list(plugins.labels.items()):
        try:
            registered = plugins.registered(name)
            for kind, names in registered.items():
                for each in names:
                    if other := taken.get((kind, each)):
                        raise PluginError(f"{label}: {other} registers {each!r} in register_{kind} too")
                    taken[kind, each] = label
        except PluginError as error:
            plugins.broken[plugins.labels.pop(name)] = str(error)
            plugins.manager.unregister(name=name)


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
        if manager.has_plugin(entry.name):
            manager.unregister(name=entry.name)
        raise PluginError(f"plugin {label} does not fit this asahi-kernel: {error}") from error


def _factories(implementation: pluggy.HookImpl, owner: str) -> list[Factory[Any, Any]]:
    return _gathered(implementation, owner, Factory)


def _gathered(implementation: pluggy.HookImpl, owner: str, kind: type[T]) -> list[T]:
    hook = implementation.function.__name__
    try:
        registered: Any = implementation.function()
        found = list(registered or ())
    except Exception as error:
        raise PluginError(f"{owner}: {hook} failed: {type(error).__name__}: {error}") from error
    for each in found:
        if not isinstance(each, kind):
            raise PluginError(f"{owner}: {hook} must give {kind.__name__} objects, not {type(each).__name__}")
    return found


def _label(entry: EntryPoint) -> str:
    return f"{entry.name!r} ({entry.dist.name} {entry.dist.version})" if entry.dist else repr(entry.name)


def _hint(hook: str) -> str:
    known = [name for name in vars(hookspecs) if name.startswith("register_")]
    return _near(hook, known) or f"the hooks are {', '.join(known)}"


def _near(word: str, words: Iterable[str]) -> str:
    from asahi_kernel.config import near

    return near(word, words)
