"""What the pages rest on: the contract that their types are made of, and which addresses they share with endpoints."""

import hashlib
import importlib.util
import json
import re
from pathlib import Path

import pytest
from tests.dashboard_api.test_front import SHARED

from asahi_kernel.app import create_app
from asahi_kernel.settings import Settings

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "dashboard"


def pages() -> set[str]:
    """The addresses of the pages, as their folders say them."""
    found = (path.parent.relative_to(DASHBOARD / "app").parts for path in (DASHBOARD / "app").rglob("page.tsx"))
    return {"/" + "/".join(part for part in parts if not part.startswith("(")) for parts in found}


def endpoints() -> set[str]:
    app = create_app(Settings(profile="development", storage="memory")).app
    return {route.path for route in app.routes}


def overlap(of_pages: set[str], of_api: set[str]) -> set[str]:
    return {path for path in of_pages if path in of_api and path != "/"}


def test_every_address_that_pages_and_endpoints_share_is_known() -> None:
    assert overlap(pages(), endpoints()) == set(SHARED)


def test_an_unknown_overlap_is_seen() -> None:
    assert overlap(pages() | {"/health"}, endpoints()) == {*SHARED, "/health"}


def test_no_endpoint_ends_in_a_slash() -> None:
    assert [path for path in endpoints() if path != "/" and path.endswith("/")] == []


def test_the_types_are_those_of_the_contract() -> None:
    """Red after a change of any route: run `make types`."""
    spec = importlib.util.spec_from_file_location("contract", ROOT / "scripts/contract.py")
    assert spec is not None
    assert spec.loader is not None
    contract = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(contract)
    first = (DASHBOARD / "lib/schema.d.ts").read_text("utf-8").splitlines()[0]
    assert first.split()[-1] == hashlib.sha256(contract.text()).hexdigest(), "run `make types`"


def test_the_lock_holds_the_pins() -> None:
    package = json.loads((DASHBOARD / "package.json").read_text("utf-8"))
    lock = json.loads((DASHBOARD / "package-lock.json").read_text("utf-8"))["packages"]
    pins = package["dependencies"] | package["devDependencies"]
    assert {name: lock[f"node_modules/{name}"]["version"] for name in pins} == pins
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pins.values())


@pytest.mark.parametrize("folder", ["app", "components", "lib"])
def test_no_page_asks_another_host(folder: str) -> None:
    """Addresses of others stand only in what is shown or compared."""
    allowed = {"http://www.w3.org/2000/svg", "http://localhost:8000/v1"}
    for path in (DASHBOARD / folder).rglob("*.ts*"):
        if path.name != "schema.d.ts":
            found = set(re.findall(r"https?://[\w.:/-]+", path.read_text("utf-8")))
            assert found <= allowed, path
