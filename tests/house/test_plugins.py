"""Each hook is documented and tested; each factory of ours passes a contract; each setting is documented."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.house.tree import ROOT, packages

from asahi_kernel import hookspecs
from asahi_kernel.plugins import KINDS, load_plugins
from asahi_kernel.settings import Resilience, Settings
from asahi_kernel.testing.contracts import Contract

OURS = {name for package in packages() for name in package.entry_points}
#: Factories that take no options, named together at the end of the page.
WITHOUT_OPTIONS = {
    *("retention", "prompts", "local", "open", "exact", "explicit", "health", "capability", "bounds", "cheapest"),
    *("models", "compliance", "builtin", "policy", "region", "plan", "rate", "quota", "audit", "erasing"),
}


def hooks() -> dict[str, str]:
    """Each hook's name and exact signature."""
    tree = ast.parse(inspect.getsource(hookspecs))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {node.name: f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}" for node in found}


def factories() -> list[tuple[str, str]]:
    plugins = load_plugins()
    return [
        (kind, name)
        for plugin in sorted(OURS & set(plugins.labels))
        for kind, names in plugins.registered(plugin).items()
        for name in names
    ]


@cache
def contracted() -> set[str]:
    """The names of all factories that a contract class in the tests is given, parametrized or not."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "house" not in path.parts and "Contract)" in path.read_text("utf-8"):
            name = f"house_{path.stem}_{abs(hash(path))}"
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
    return {each.name for subclass in _subclasses(Contract) for each in _factories(subclass)}


def _subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _factories(kind: Any) -> list[Any]:
    marks = [mark for mark in getattr(kind, "pytestmark", ()) if mark.name == "parametrize"]
    parameters = [each for mark in marks if mark.args[0] == "factory" for each in mark.args[1]]
    return [*parameters, *([kind.factory] if hasattr(kind, "factory") else [])]


@pytest.mark.parametrize("hook", hooks())
def test_a_hook_is_documented_with_its_exact_signature(hook: str) -> None:
    page = (ROOT / "docs/writing-a-plugin.md").read_text("utf-8")
    assert f"| `{hooks()[hook]}` | " in page


@pytest.mark.parametrize("hook", hooks())
def test_a_hook_has_a_docstring_and_a_test(hook: str) -> None:
    assert getattr(hookspecs, hook).__doc__
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if "house" not in path.parts]
    assert any(re.search(rf"\bdef {hook}\(", path.read_text("utf-8")) for path in tests)


def test_every_kind_has_a_hook() -> None:
    assert {f"register_{kind}" for kind in (*KINDS, "reports", "routes", "commands")} == set(hooks())


@pytest.mark.parametrize(("kind", "name"), factories())
def test_each_factory_has_a_contract_test(kind: str, name: str) -> None:
    assert name in contracted(), f"no subclass of a contract in tests/ is given the {kind} factory {name!r}"


def sections() -> dict[str, dict[str, tuple[str, str]]]:
    """The page on configuration: heading → key → default and effect."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    heading = ""
    for line in (ROOT / "docs/configuration.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif row := re.match(r"\| `(\w+)` \| (.+?) \| (.+) \|$", line):
            found.setdefault(heading, {})[row.group(1)] = (row.group(2), row.group(3))
    return found


def schemas() -> list[tuple[str, type[msgspec.Struct]]]:
    """Heading → Struct, for every table of the file."""
    found: list[tuple[str, type[msgspec.Struct]]] = [("Top level", Settings), ("`providers.<name>`", Resilience)]
    for heading, schema in found:
        for field in msgspec.inspect.type_info(schema).fields:
            for kind in getattr(field.type, "types", (field.type,)):
                kind = getattr(kind, "item_type", kind)
                if isinstance(kind, msgspec.inspect.StructType):
                    inner = f"`{field.name}`" if heading == "Top level" else f"{heading[:-1]}.{field.name}`"
                    found.append((inner, kind.cls))
    plugins = load_plugins()
    places = {"providers": "providers.<name>", "authenticators": "auth", "storages": "storage", "counters": "counter"}
    for kind, name in factories():
        config = plugins.catalogue(kind)[name].config
        if config.__struct_fields__:
            found.append((f"`{places.get(kind, f'{kind}.<name>')}` with `type: {name}`", config))
    return found


@pytest.mark.parametrize(("heading", "schema"), schemas(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_setting_is_documented_with_its_default(heading: str, schema: type[msgspec.Struct]) -> None:
    rows = sections().get(heading, {})
    tables = {inner for inner, _ in schemas()}
    for field in msgspec.structs.fields(schema):
        if f"`{field.name}`" in tables and heading == "Top level" and field.name not in rows:
            continue
        assert field.name in rows, f"docs/configuration.md: {heading} lacks {field.name}"
        default, effect = rows[field.name]
        assert default == _default(field), f"docs/configuration.md: {heading}, {field.name}"
        assert len(effect) > 4
    assert not set(rows) - set(schema.__struct_fields__), f"docs/configuration.md: {heading} has keys that are gone"


def test_no_section_is_left_over() -> None:
    documented = {heading for heading in sections() if heading.startswith("`")}
    assert documented == {heading for heading, _ in schemas()} - {"Top level"}


def test_what_takes_no_options_is_said() -> None:
    plugins = load_plugins()
    bare = {name for kind, name in factories() if not plugins.catalogue(kind)[name].config.__struct_fields__}
    assert bare - {"memory"} == WITHOUT_OPTIONS


def _default(field: Any) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    elif field.default is msgspec.NODEFAULT:
        return "required"
    else:
        value = field.default
    if isinstance(value, msgspec.Struct):
        return "see below"
    return f"`{json.dumps(msgspec.to_builtins(value))}`"


def test_the_pages_example_is_the_example() -> None:
    page = (ROOT / "docs/writing-a-plugin.md").read_text("utf-8")
    shout = ROOT / "examples/asahi-shout"
    for path in (shout / "asahi_shout.py", shout / "pyproject.toml", shout / "shout.yaml"):
        assert path.read_text("utf-8") in page, path
    assert len((shout / "asahi_shout.py").read_text().splitlines()) <= 30
    assert len((shout / "pyproject.toml").read_text().splitlines()) <= 11
    rule = Path(ROOT / "examples/asahi-office-hours/asahi_office_hours.py").read_text("utf-8")
    assert rule[rule.index("class OfficeConfig") :] in page
    assert (ROOT / "examples/asahi-office-hours/office-hours.yaml").read_text("utf-8") in page
