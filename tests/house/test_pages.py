"""The pages are true: their blocks run or parse, their commands exist, their links lead somewhere.

`bash` runs against a served gateway, `python` too, each page's blocks as one program; `yaml` is decoded as
configuration; `toml` and `json` are parsed. A `console` block shows commands that a test must not run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.house.tree import ROOT, Block, blocks, pages

from asahi_kernel.cli import cli
from asahi_kernel.config import choose, decode, expand, find, parse, split_resilience
from asahi_kernel.factory import Factory
from asahi_kernel.plugins import KINDS, load_plugins
from asahi_kernel.registry import build
from asahi_kernel.settings import Settings
from asahi_kernel.shorthand import share_redis

KNOWN = {"bash", "console", "json", "python", "text", "toml", "yaml"}
ADDRESS = "http://127.0.0.1:8000"
#: Standard error is kept out of the way; a refusal makes curl fail, and with it the block.
SHELL = 'set -euo pipefail; curl() { command curl -sS --fail-with-body "$@"; }\n'

ALL = [block for page in pages() for block in blocks(page)]


class Anything(dict[str, str]):
    """An environment in which every variable is set."""

    def get(self, key: str, default: Any = None) -> Any:
        return f"a-value-of-{key.lower()}-0123456789"


def of(*languages: str) -> Any:
    found = [block for block in ALL if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A gateway in the development profile: its address, and an empty directory."""
    folder = tmp_path_factory.mktemp("served")
    command = [asahi(), "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, env=plain(), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if "Asahi listens on " in line:
                    yield line.split()[3], folder
                    break
            else:
                pytest.fail("".join(said))
        finally:
            process.terminate()
            process.stderr.read()


def asahi() -> str:
    return str(Path(sys.executable).with_name("asahi"))


def plain() -> dict[str, str]:
    """This environment without what would configure Asahi, and with its command in front."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASAHI_")}
    kept = {name: value for name, value in kept.items() if name not in {"OPENAI_API_KEY", "PORT"}}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=plain(), capture_output=True, text=True, check=False, timeout=60)


def test_every_block_says_what_it_is() -> None:
    assert [block.place for block in ALL if block.language not in KNOWN] == []
    assert {block.language for block in ALL} >= {"bash", "python", "yaml"}


@of("bash")
def test_a_bash_block_runs(block: Block, served: tuple[str, Path]) -> None:
    address, folder = served
    ran = run(["bash", "-c", SHELL + block.text.replace(ADDRESS, address)], folder)
    assert ran.returncode == 0, f"{block.place}\n{ran.stdout}\n{ran.stderr}"
    assert ran.stdout.strip()
    assert ":8000" not in block.text.replace(ADDRESS, "")


@pytest.mark.parametrize("page", sorted({block.page for block in ALL if block.language == "python"}))
def test_a_pages_python_runs(page: str, served: tuple[str, Path]) -> None:
    """Its contract classes too: the file is run once as a program and once as a test module."""
    address, folder = served
    program = folder / ("test_" + re.sub(r"\W", "_", page) + ".py")
    text = "\n".join(block.text for block in ALL if (block.page, block.language) == (page, "python"))
    program.write_text(text.replace(ADDRESS, address), "utf-8")
    ran = run([sys.executable, "-W", "error", str(program)], folder)
    assert ran.returncode == 0, ran.stderr
    if "Contract)" in text:
        ran = run([sys.executable, "-m", "pytest", "-q", str(program)], folder)
        assert ran.returncode == 0, ran.stdout


@of("yaml")
def test_a_yaml_block_is_a_good_configuration(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "asahi.yaml"
    path.write_text(block.text, "utf-8")
    accept(path)


@pytest.mark.parametrize("path", [*ROOT.glob("config/*.yaml"), *ROOT.glob("examples/*/*.yaml")], ids=str)
def test_a_configuration_file_is_good(path: Path) -> None:
    accept(path)


def test_a_page_that_is_wrong_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "asahi.yaml"
    for wrong in ("api: {prot: 1}", "providers: {openai: {api_kei: x}}", "rules: {office_hours: {open: 7}}"):
        path.write_text(wrong)
        with pytest.raises(Exception, match="unknown key"):
            accept(path)


def accept(path: Path) -> None:
    """Decode a file against the kernel, the installed plugins and the examples, as far as can be without opening."""
    tree = parse(path)
    share_redis(tree, {})
    settings = decode(expand(tree, Anything()), Settings, str(path))
    catalogues = installed()
    for name, table in settings.providers.items():
        factory = find("providers", name, table, catalogues["providers"])
        decode(split_resilience(name, table, factory.config)[1], factory.config, f"providers.{name}")
    for kind in set(KINDS) - {"storages", "counters", "authenticators", "providers"}:
        for name, table in getattr(settings, kind).items():
            choose(kind, name, table, catalogues[kind])
    for kind, section in (("storages", "storage"), ("counters", "counter"), ("authenticators", "auth")):
        choice = getattr(settings, section) or {"storage": "memory", "auth": "static"}[section]
        choose(section, section, {"type": choice} if isinstance(choice, str) else choice, catalogues[kind])
    for rule in settings.routing.rules or ():
        choose("rules", rule, settings.rules.get(rule, {}), catalogues["rules"])
    build(settings, settings.providers or ["mock"], mock=not settings.providers)


def installed() -> dict[str, dict[str, Factory[Any, Any]]]:
    """What our plugins and the examples register."""
    plugins = load_plugins()
    found = {kind: plugins.catalogue(kind) for kind in KINDS}
    for path in sorted(ROOT.glob("examples/*/*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for kind in KINDS:
            for factory in getattr(module, f"register_{kind}", lambda: ())():
                found[kind][factory.name] = factory
    return found


@of("toml", "json")
def test_a_toml_or_json_block_parses(block: Block) -> None:
    assert (tomllib if block.language == "toml" else json).loads(block.text)


@of("console")
def test_a_console_blocks_commands_exist(block: Block) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    load_plugins().manager.hook.register_commands(cli=cli)
    for line in block.text.splitlines():
        assert line.startswith("$ "), block.place
        match line.split()[1:]:
            case ["make", target]:
                assert target in targets, f"{block.place}: make {target}"
            case ["asahi", command, *_]:
                assert command in cli.commands, f"{block.place}: asahi {command}"


@pytest.mark.parametrize("page", [*pages(), *ROOT.glob("docs/decisions/*.md")], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in text.splitlines()}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        place, _, anchor = target.partition("#")
        if not place.startswith("http"):
            assert (page.parent / place).exists(), f"{page}: {target}"
            assert not anchor or place or anchor in headings, f"{page}: {target}"


def test_the_decisions_are_numbered_and_of_one_shape() -> None:
    found = sorted(ROOT.glob("docs/decisions/*.md"))
    numbers = [path.name[:4] for path in found]
    assert len(set(numbers)) == len(numbers)
    for path in found:
        text = path.read_text("utf-8")
        for heading in ("Context", "Choice", "Price"):
            assert re.search(rf"^#+ {heading}", text, re.MULTILINE), f"{path.name} lacks {heading}"


def test_yaml_files_of_the_repository_parse() -> None:
    for path in [*ROOT.glob("*.yaml"), *ROOT.glob(".*.yaml"), *ROOT.glob(".github/**/*.yml")]:
        assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict), path
