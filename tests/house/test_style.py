"""The limits of design section 8 on all source code, and what no source code may do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from inspect import isclass, isfunction

import pytest
from tests.house.tree import Module, modules

import asahi_kernel

LONGEST_FILE = 400
LONGEST_FUNCTION = 50
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "subprocess", "dill"}
FORBIDDEN_METHODS = {("os", "system"), ("os", "popen"), ("yaml", "unsafe_load"), ("yaml", "full_load")}
SQL = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|DROP TABLE|ALTER TABLE|MERGE INTO)\s")

each_module = pytest.mark.parametrize("module", modules(), ids=lambda module: module.place)


@each_module
def test_a_file_has_at_most_400_lines(module: Module) -> None:
    assert len(module.path.read_text("utf-8").splitlines()) <= LONGEST_FILE


@each_module
def test_a_function_has_at_most_50_lines(module: Module) -> None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{module.place}:{node.lineno}: {node.name} has {lines} lines"


@each_module
def test_a_module_opens_with_a_docstring(module: Module) -> None:
    assert ast.get_docstring(module.tree)


@each_module
def test_nothing_dangerous_is_done(module: Module) -> None:
    """C3: no code from data, no other process, no SQL made of pieces, no YAML beyond plain values."""
    assert list(dangers(module.tree)) == []


@pytest.mark.parametrize(
    "code",
    [
        "eval(x)",
        "exec('1')",
        "import pickle",
        "from subprocess import run",
        "import os\nos.system('ls')",
        "import yaml\nyaml.load(x)",
        "import yaml\nyaml.load(x, yaml.Loader)",
        "import yaml\nyaml.load(x, Loader=yaml.FullLoader)",
        "import yaml\nyaml.full_load(x)",
        "q = f'SELECT * FROM {table}'",
        "q = 'DELETE FROM t WHERE id = %s' % x",
        "q = 'SELECT {}'.format(x)",
        "q = 'SELECT * FROM ' + x",
    ],
)
def test_a_danger_is_seen(code: str) -> None:
    assert list(dangers(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "import yaml\nclass L(yaml.SafeLoader): ...\nyaml.load(x, L)",
        "import yaml\nyaml.safe_load(x)",
        "q = 'SELECT 1'",
        "text = f'select {x}'",
    ],
)
def test_what_is_safe_is_let_be(code: str) -> None:
    assert not list(dangers(ast.parse(code)))


def test_every_public_name_has_a_docstring() -> None:
    for name in asahi_kernel.__all__:
        value = getattr(asahi_kernel, name)
        if isclass(value) or isfunction(value):
            assert vars(value).get("__doc__") if isclass(value) else value.__doc__, name


def test_every_public_name_is_exported_once_and_in_order() -> None:
    assert list(asahi_kernel.__all__) == sorted(set(asahi_kernel.__all__))


def dangers(tree: ast.Module) -> Iterator[str]:
    """What a module does that no module here may."""
    safe = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["yaml.SafeLoader"]
    } | {"yaml.SafeLoader", "yaml.CSafeLoader"}
    for node in ast.walk(tree):
        told = _danger(node, safe)
        if told:
            yield f"line {getattr(node, 'lineno', 0)}: {told}"


def _danger(node: ast.AST, safe: set[str]) -> str:
    match node:
        case ast.Import(names=names) if FORBIDDEN_IMPORTS & {alias.name.split(".")[0] for alias in names}:
            return "imports what runs or loads code"
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] in FORBIDDEN_IMPORTS:
            return "imports what runs or loads code"
        case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
            return f"calls {name}"
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)) if (owner, name) in FORBIDDEN_METHODS:
            return f"calls {owner}.{name}"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="load")):
            loaders = [*node.args[1:], *(keyword.value for keyword in node.keywords)]
            return "" if [each for each in loaders if ast.unparse(each) in safe] else "yaml.load without a SafeLoader"
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")) if SQL.match(text):
            return "formats SQL"
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod() | ast.Add()) if SQL.match(text):
            return "makes SQL of pieces"
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]) if SQL.match(text):
            return "makes SQL of pieces"
    return ""
