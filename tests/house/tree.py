"""The repository as the house tests see it: its packages, their modules, its pages."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

ROOT = Path(__file__).parents[2]


class Package(Struct, frozen=True):
    """One distribution of the workspace. `project` is the table of its pyproject.toml."""

    folder: Path
    project: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.project["name"])

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        return self.folder / "src" / self.module

    @property
    def entry_points(self) -> dict[str, str]:
        return dict(self.project.get("entry-points", {}).get("asahi", {}))


class Module(Struct, frozen=True):
    """One file of source code."""

    path: Path
    package: Package
    tree: ast.Module

    @property
    def place(self) -> str:
        return str(self.path.relative_to(ROOT))


class Block(Struct, frozen=True):
    """One fenced block of a page, at its line."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def packages() -> tuple[Package, ...]:
    """Every package of the workspace but the metapackage, which has no code."""
    members = project(ROOT)["tool"]["uv"]["workspace"]["members"]
    folders = sorted(found.parent for member in members for found in ROOT.glob(f"{member}/pyproject.toml"))
    return tuple(Package(folder, project(folder)["project"]) for folder in folders)


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))


@cache
def modules() -> tuple[Module, ...]:
    """All source code."""
    return tuple(
        Module(path, package, ast.parse(path.read_text("utf-8")))
        for package in packages()
        for path in sorted(package.source.rglob("*.py"))
    )


def imports(module: Module) -> Iterator[str]:
    """Every dotted name that a module imports, wherever in it."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.place}:{node.lineno}: relative import"
            yield node.module or ""


def pages() -> list[Path]:
    """Every page a reader may follow, decisions aside: those are history."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")]
    return sorted([*found, *(package.folder / "README.md" for package in packages())])


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text("utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(str(page.relative_to(ROOT)), line, found.group(1), found.group(2))
