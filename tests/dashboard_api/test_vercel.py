"""The files for Vercel: every endpoint is behind the rewrite, and pages are as guarded as the gateway's own."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from asahi_dashboard_api import front
from asahi_dashboard_api.export import policy
from asahi_kernel.api.contract import contract
from asahi_kernel.api.transport import fixed_headers
from asahi_kernel.app import create_app
from asahi_kernel.settings import Api, Settings

DASHBOARD = Path(__file__).parents[2] / "dashboard"
FILE = json.loads((DASHBOARD / "vercel.json").read_text("utf-8"))
PAGE = (
    '<!DOCTYPE html><html lang="en"><head><title>x</title><script src="/a.js"></script><script>let a = "ü"</script>'
    "</head><body><script>let b</script><script>let b</script></body></html>"
)


def matches(source, path):
    """Whether a pattern of that file is meant for a path: `:name*` is any number of its parts."""
    return re.fullmatch(re.sub(r"/:\w+\*", r"(?:/.*)?", source), path) is not None


def headers_of(path):
    found = {}
    for rule in FILE["headers"]:
        if matches(rule["source"], path):
            found |= {each["key"].lower(): each["value"] for each in rule["headers"]}
    return found


def test_every_endpoint_of_the_contract_is_reached_and_no_page_is_sent_away():
    (rewrite,) = FILE["rewrites"]
    paths = contract(create_app(Settings(profile="development", storage="memory")).app)["paths"]
    assert len(paths) > 50
    prefix = re.search(r"NEXT_PUBLIC_API_PREFIX=(\S+)", FILE["buildCommand"])[1]
    assert [path for path in paths if not matches(rewrite["source"], prefix + path)] == []
    assert rewrite["destination"].endswith("/:path*")
    pages = [each.parent.relative_to(DASHBOARD / "app") for each in (DASHBOARD / "app").rglob("page.tsx")]
    shown = ["/" + "/".join(part for part in page.parts if not part.startswith("(")) + "/" for page in pages]
    assert len(shown) > 14
    assert [path for path in shown if matches(rewrite["source"], path)] == []
    assert "trailingSlash" not in FILE, "it would send every endpoint on to a page"


def test_pages_carry_the_headers_of_the_gateway_that_asks_for_https():
    served = fixed_headers(Settings(api=Api(require_https=True)))
    served += [(name.decode(), value.decode()) for name, value in front._ALWAYS]
    told = headers_of("/models/")
    assert {name: told.get(name) for name, _ in served} == dict(served)
    assert told["content-security-policy"] in policy(b"")
    assert headers_of("/_next/static/chunks/a.js")["cache-control"] == front._FOREVER.decode()
    assert "no-store" in headers_of("/api/governance/audit")["cache-control"]


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js on this machine")
def test_the_policy_that_is_written_into_a_page_is_the_one_that_the_gateway_would_send(tmp_path):
    (tmp_path / "models").mkdir()
    page = tmp_path / "models/index.html"
    page.write_text(PAGE, "utf-8")
    subprocess.run(["node", str(DASHBOARD / "scripts/policies.mjs"), str(tmp_path)], check=True, timeout=60)
    written = page.read_text("utf-8")
    meta = re.search(r'<head><meta http-equiv="Content-Security-Policy" content="([^"]+)"/>', written)
    assert unescape(meta[1]) == policy(PAGE.encode()).removesuffix("; frame-ancestors 'none'")
    assert written.replace(meta[0], "<head>") == PAGE
