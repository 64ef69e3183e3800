"""Loading plugins: what is refused, who is named, and that every hook is asked and what it gives is opened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from click import Group
from click.testing import CliRunner

from asahi_kernel import Config, PluginError
from asahi_kernel.app import create_app
from asahi_kernel.cli import cli
from asahi_kernel.factory import Secret
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.plugins import KINDS, load_plugins
from asahi_kernel.settings import Cache, Encryption, Governance, Journal, Routing, Settings

Install = Callable[..., None]

GOOD = """
from contextlib import asynccontextmanager
from asahi_kernel import Config, Factory, hookimpl

@asynccontextmanager
async def open_it(config, gateway):
    yield object()

@hookimpl
def register_providers():
    yield Factory("{name}", Config, open_it)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution on the path: its metadata, its entry point, and its module."""
    monkeypatch.delenv("ASAHI_PLUGINS", raising=False)

    def put(name: str, source: str, *, entry: str | None = None) -> None:
        module = f"fake_{tmp_path.name.replace('-', '_')}_{name}".lower()
        site = tmp_path / name
        info = site / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[asahi]\n{entry or name} = {module}\n")
        (site / f"{module}.py").write_text(dedent(source))
        monkeypatch.syspath_prepend(site)

    return put


def refusal() -> str:
    """What strict loading, with all its catalogues, is refused with."""
    with pytest.raises(PluginError) as caught:
        catalogues()
    return str(caught.value)


def catalogues() -> None:
    plugins = load_plugins()
    for kind in KINDS:
        plugins.catalogue(kind)


def broken() -> dict[str, str]:
    return load_plugins(tolerant=True).broken


class TestRefused:
    def test_two_plugins_of_one_name_are_both_named(self, install: Install) -> None:
        install("first", GOOD.format(name="a"), entry="twin")
        install("second", GOOD.format(name="b"), entry="twin")
        told = refusal()
        assert "two plugins are called 'twin'" in told
        assert "first 1.2" in told
        assert "second 1.2" in told
        assert len(broken()) == 1

    def test_two_factories_of_one_name_are_both_named(self, install: Install) -> None:
        install("first", GOOD.format(name="same"))
        install("second", GOOD.format(name="same"))
        told = refusal()
        assert "two plugins register 'same' in register_providers" in told
        assert "'first' (first 1.2)" in told
        assert "'second' (second 1.2)" in told
        assert list(broken()) == ["'second' (second 1.2)"]

    def test_a_built_in_cannot_be_replaced_unnoticed(self, install: Install) -> None:
        install("sly", GOOD.format(name="mock"))
        told = refusal()
        assert "'builtins' (asahi-kernel" in told
        assert "'sly' (sly 1.2)" in told

    def test_an_unknown_hook_is_named_with_the_nearest(self, install: Install) -> None:
        install("hooky", GOOD.format(name="a").replace("register_providers", "register_provider"))
        told = refusal()
        assert "hooky 1.2" in told
        assert "'register_provider'" in told
        assert "Did you mean 'register_providers'?" in told

    def test_a_broken_import_is_named(self, install: Install) -> None:
        install("broke", "import a_module_that_is_not_there")
        told = refusal()
        assert "plugin 'broke' (broke 1.2) cannot be imported: ModuleNotFoundError" in told
        assert "a_module_that_is_not_there" in broken()["'broke' (broke 1.2)"]

    def test_a_hook_that_raises_is_named(self, install: Install) -> None:
        install("raiser", GOOD.format(name="a") + "    raise RuntimeError('not today')\n")
        told = refusal()
        assert "'raiser' (raiser 1.2): register_providers failed: RuntimeError: not today" in told
        assert "not today" in broken()["'raiser' (raiser 1.2)"]

    def test_something_that_is_no_factory_is_named(self, install: Install) -> None:
        install("odd", "from asahi_kernel import hookimpl\n@hookimpl\ndef register_rules():\n    return ['cheapest']\n")
        told = refusal()
        assert "'odd' (odd 1.2): register_rules must give Factory objects, not str" in told
        assert "not str" in broken()["'odd' (odd 1.2)"]

    def test_a_hook_with_arguments_nobody_gives_is_named(self, install: Install) -> None:
        install("wants", "from asahi_kernel import hookimpl\n@hookimpl\ndef register_rules(more):\n    return []\n")
        assert "wants 1.2" in refusal()
        assert "more" in broken()["'wants' (wants 1.2)"]

    def test_one_module_under_two_names_is_named(self, install: Install, tmp_path: Path) -> None:
        install("solo", GOOD.format(name="a"))
        points = tmp_path / "solo" / "solo-1.2.dist-info" / "entry_points.txt"
        points.write_text(points.read_text() + points.read_text().splitlines()[1].replace("solo =", "again =") + "\n")
        assert "'solo' (solo 1.2)" in refusal()
        assert len(broken()) == 1

    def test_a_sound_neighbour_stays_usable(self, install: Install) -> None:
        install("broke", "1 / 0")
        install("sound", GOOD.format(name="sound"))
        found = load_plugins(tolerant=True)
        assert "sound" in found.catalogue("providers")
        assert "'broke' (broke 1.2)" in found.broken


class TestAllowList:
    def test_an_empty_list_leaves_the_built_ins(self, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
        install("broke", "1 / 0")
        monkeypatch.setenv("ASAHI_PLUGINS", "")
        assert list(load_plugins().labels) == ["builtins"]

    def test_only_what_is_listed_is_loaded(self, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
        install("wanted", GOOD.format(name="wanted"))
        install("broke", "1 / 0")
        monkeypatch.setenv("ASAHI_PLUGINS", " wanted , openai")
        assert set(load_plugins().labels) == {"builtins", "openai", "wanted"}

    def test_a_misspelt_name_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ASAHI_PLUGINS", "opnai")
        assert refusal() == "ASAHI_PLUGINS: no installed plugin is called 'opnai'. Did you mean 'openai'?"
        assert list(broken()) == ["'opnai'"]


class TestCommand:
    def test_it_lists_what_each_plugin_registers(self) -> None:
        ran = CliRunner().invoke(cli, ["plugins"])
        assert ran.exit_code == 0
        assert "'builtins' (asahi-kernel" in ran.output
        assert "providers: mock" in ran.output

    def test_a_broken_plugin_is_told_with_exit_code_1(self, install: Install) -> None:
        install("raiser", GOOD.format(name="a") + "    raise RuntimeError('not today')\n")
        for options in ([], ["--json"]):
            ran = CliRunner().invoke(cli, ["plugins", *options])
            assert ran.exit_code == 1
            assert "not today" in ran.output
        assert "BROKEN: 'raiser' (raiser 1.2)" in CliRunner().invoke(cli, ["plugins"]).output

    def test_everything_else_stops_with_exit_code_3(self, install: Install, tmp_path: Path) -> None:
        install("broke", "1 / 0")
        env = {**os.environ, "PYTHONPATH": str(tmp_path / "broke")}
        asahi = Path(sys.executable).with_name("asahi")
        ran = subprocess.run([asahi, "check"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 3
        assert ran.stderr.startswith("asahi: plugin 'broke' (broke 1.2) cannot be imported: ZeroDivisionError")
        assert "Traceback" not in ran.stderr


EVERYTHING = """
from contextlib import asynccontextmanager
from asahi_kernel import Config, Factory, Report, hookimpl

opened = []

def factory(kind):
    @asynccontextmanager
    async def open_it(config, gateway):
        opened.append(kind)
        yield type(kind, (), {"name": "everything"})()
        opened.append(f"closed {kind}")
    return [Factory("everything", Config, open_it)]

@hookimpl
def register_storages(): return factory("storage")
@hookimpl
def register_counters(): return factory("counter")
@hookimpl
def register_embedders(): return factory("embedder")
@hookimpl
def register_vector_stores(): return factory("vector store")
@hookimpl
def register_authenticators(): return factory("authenticator")
@hookimpl
def register_cache_tiers(): return factory("cache tier")
@hookimpl
def register_detectors(): return factory("detector")
@hookimpl
def register_policies(): return factory("policy")
@hookimpl
def register_transforms(): return factory("transform")
@hookimpl
def register_rules(): return factory("rule")
@hookimpl
def register_providers(): return factory("provider")
@hookimpl
def register_sinks(): return factory("sink")
@hookimpl
def register_services(): return factory("service")

@hookimpl
def register_reports():
    async def everything(gateway, scope, asked): ...
    return [Report("everything", Config, everything)]

@hookimpl
def register_routes(gateway):
    from litestar import get
    @get("/everything", opt={"permission": "public"})
    async def everything() -> str:
        return "here"
    return [everything]

@hookimpl
def register_commands(cli):
    @cli.command()
    def everything(): ...
"""
TABLE = {"everything": {}}
CHOSEN = Settings(
    journal=Journal(mode="memory"),
    encryption=Encryption(key=Secret("0123456789abcdef" * 4)),
    storage="everything",
    counter="everything",
    auth="everything",
    cache=Cache(tiers=("everything",)),
    governance=Governance(policies=("everything",)),
    routing=Routing(rules=("everything",), transforms=("everything",)),
    embedders=TABLE,
    vector_stores=TABLE,
    detectors=TABLE,
    providers=TABLE,
    sinks=TABLE,
    services=TABLE,
)


class TestEveryHook:
    @pytest.mark.anyio
    async def test_what_each_kind_registers_is_opened_in_order_and_closed_in_reverse(self, install: Install) -> None:
        """register_storages, register_counters, register_embedders, register_vector_stores, register_authenticators,
        register_cache_tiers, register_detectors, register_policies, register_transforms, register_rules,
        register_providers, register_sinks and register_services."""
        install("everything", EVERYTHING)
        plugins = load_plugins()
        opened: list[str] = plugins.manager.get_plugin("everything").opened
        async with running(Gateway(CHOSEN), plugins):
            order = list(opened)
        assert order == [
            "storage",
            "counter",
            "embedder",
            "vector store",
            "authenticator",
            "cache tier",
            "detector",
            "policy",
            "transform",
            "rule",
            "provider",
            "sink",
            "service",
        ]
        assert opened[len(order) :] == [f"closed {kind}" for kind in reversed(order)]

    def test_register_routes_adds_paths(self, install: Install) -> None:
        install("everything", EVERYTHING)
        app = create_app(Settings(), load_plugins())
        assert "/everything" in {route.path for route in app.app.routes}

    def test_register_commands_adds_to_the_group(self, install: Install) -> None:
        install("everything", EVERYTHING)
        group = Group("asahi")
        load_plugins().manager.hook.register_commands(cli=group)
        assert "everything" in group.commands

    def test_register_reports_is_listed(self, install: Install) -> None:
        install("everything", EVERYTHING)
        found = load_plugins()
        assert found.reports()["everything"].params is Config
        assert "/analytics/everything" in {route.path for route in create_app(Settings(), found).app.routes}
        assert {"reports", "routes", "commands", *KINDS} == set(found.registered("everything"))
