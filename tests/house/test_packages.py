"""Every package is whole, has one version with the others, and knows only what it may know."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import packages_distributions

import pytest
from tests.house.tree import ROOT, Package, imports, modules, packages, project

KERNEL = "asahi_kernel"
#: What an installed plugin must not load before it is opened. Importing one of these costs from 50 ms to seconds.
HEAVY = (
    "aiohttp",
    "aiosqlite",
    "anthropic",
    "asyncpg",
    "cohere",
    "httpx",
    "litestar",
    "numpy",
    "openai",
    "opentelemetry.sdk",
    "pinecone",
    "piccolo",
    "presidio_analyzer",
    "redis",
    "spacy",
    "usearch",
    "uvicorn",
)

each_package = pytest.mark.parametrize("package", packages(), ids=lambda package: package.name)
each_entry = pytest.mark.parametrize(
    "target", [target for package in packages() for target in package.entry_points.values()]
)


def test_the_workspace_has_the_kernel_and_a_plugin() -> None:
    assert {"asahi-kernel", "asahi-openai"} <= {package.name for package in packages()}


@each_package
def test_a_package_is_whole(package: Package) -> None:
    assert (package.source / "__init__.py").is_file()
    assert (package.source / "py.typed").is_file()
    assert len((package.folder / "README.md").read_text("utf-8")) > 200
    assert package.project["license"] == "Apache-2.0"
    assert package.project["requires-python"] == ">=3.11"


def test_all_packages_have_one_version() -> None:
    root = project(ROOT)["project"]
    assert {package.project["version"] for package in packages()} == {root["version"]}
    pinned = [*root["dependencies"], *(each for extra in root["optional-dependencies"].values() for each in extra)]
    pins = [each.split("==")[1] for each in pinned if "==" in each]
    assert set(pins) == {root["version"]}


def test_the_metapackage_knows_every_plugin() -> None:
    extras = project(ROOT)["project"]["optional-dependencies"]
    for package in packages():
        if package.module != KERNEL:
            short = package.name.removeprefix("asahi-")
            assert any(each.startswith(package.name) for each in extras[short])
            assert short in extras["all"][0]


@each_package
def test_a_package_imports_only_what_it_declares(package: Package) -> None:
    """So the kernel imports no plugin and no vendor's SDK, and no plugin imports another."""
    extras = package.project.get("optional-dependencies", {}).values()
    declared = [*package.project["dependencies"], *(each for extra in extras for each in extra)]
    names = {re.split(r"[^\w.-]", each)[0].lower().replace("_", "-") for each in declared}
    distributions = packages_distributions()
    for module in modules():
        if module.package != package:
            continue
        for name in imports(module):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top == package.module:
                continue
            owners = {owner.lower().replace("_", "-") for owner in distributions.get(top, [top])}
            assert owners & names, f"{module.place} imports {name}, which {package.name} does not depend on"


def test_the_kernel_names_no_plugin() -> None:
    plugins = {package.module for package in packages()} - {KERNEL}
    for module in modules():
        if module.package.module == KERNEL:
            assert not {name.split(".")[0] for name in imports(module)} & plugins, module.place


@each_package
def test_every_entry_point_resolves(package: Package) -> None:
    for target in package.entry_points.values():
        assert import_module(target).__doc__


@each_entry
def test_importing_a_plugin_leaves_its_sdk_out(target: str) -> None:
    code = f"import sys, json, {target}; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(json.loads(ran.stdout)) & set(HEAVY)
