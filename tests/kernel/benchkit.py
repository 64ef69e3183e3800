"""What the tests of the savings benchmark share: the command, a run from code, plugins and files of their own."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from asahi_kernel import plugins, serving
from asahi_kernel.benchmark.running import Plan, run
from asahi_kernel.benchmark.workload import built_in
from asahi_kernel.cli import cli
from asahi_kernel.config import decode as settings_of
from asahi_kernel.hookspecs import hookimpl
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings

FAST = {"profile": "development", "providers": {"mock": {"latency_share": 0}}}


@pytest.fixture(name="asahi")
def command(monkeypatch, tmp_path):
    """The command line, without this machine's configuration; a mapping becomes the configuration file."""
    monkeypatch.chdir(tmp_path)
    for variable in (serving.OVERRIDES, "ASAHI_CONFIG", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)

    def call(*arguments, config=None, answer=None):
        if config is not None:
            (tmp_path / "asahi.yaml").write_text(json.dumps(config))
            arguments = ("--config", str(tmp_path / "asahi.yaml"), *arguments)
        return CliRunner().invoke(cli, ["benchmark", *map(str, arguments)], input=answer)

    return call


def plan(cases=None, tree=FAST, concurrency=1, seed=1):
    return Plan(
        settings=settings_of(tree, Settings, "test"),
        plugins=plugins.load_plugins(),
        cases=cases or built_in(seed),
        source="test",
        seed=seed,
        concurrency=concurrency,
    )


def report(**how):
    """A run from code."""
    return asyncio.run(run(plan(**how), lambda: None))


def registered(monkeypatch, **hooks):
    """Every plugin loaded from now on is joined by one that registers these factories."""
    found = load_plugins()
    plugin = type("Plugin", (), {})
    for hook, factory in hooks.items():
        setattr(plugin, hook, hookimpl(_registering(hook, factory)))
    found.manager.register(plugin(), name="test")
    monkeypatch.setattr(plugins, "load_plugins", lambda **_: found)


def _registering(hook, factory):
    def register(self):
        return [factory]

    register.__name__ = hook
    return register


def lines_of(tmp_path, *lines):
    """A file of JSON lines; a text stands as it is."""
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return file
