"""The dashboard's pages on another host than the gateway: as plain files, or as `dashboard/vercel.json` says."""

import json
import mimetypes
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from asahi_dashboard_api.export import rewritten

ROOT = Path(__file__).parents[2]
VERCEL = json.loads((ROOT / "dashboard/vercel.json").read_text("utf-8"))
#: What a proxy does not hand on.
OWN = {"connection", "content-length", "date", "server", "transfer-encoding"}


def pages(built: Path, folder: Path, api: str) -> None:
    """A copy of the build whose pages ask an API at `api`."""
    for path in (each for each in built.rglob("*") if each.is_file()):
        target = folder / path.relative_to(built)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(rewritten(path, "", api))


def with_policies(folder: Path) -> None:
    """What the build command does to the pages at the end."""
    subprocess.run(["node", str(ROOT / "dashboard/scripts/policies.mjs"), str(folder)], check=True, timeout=60)


class Host:
    """A host of files; with a `gateway` it has the rewrite and the headers of `vercel.json`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.gateway = ""


@contextmanager
def hosted(folder: Path) -> Iterator[Host]:
    """A host of the files in a folder, at an address that pages of a gateway at 127.0.0.1 do not have."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            rewrite = _match(VERCEL["rewrites"][0]["source"], path) if host.gateway else None
            if rewrite is not None:
                self._proxy()
                return
            file = folder / path.lstrip("/")
            file = file / "index.html" if file.is_dir() else file
            found = file.is_file()
            body = (file if found else folder / "404.html").read_bytes()
            kind = mimetypes.guess_type(file.name)[0] or "text/html"
            self._send(200 if found else 404, [("content-type", kind)], body)

        def _proxy(self) -> None:
            url = self.path.replace("/api", host.gateway, 1)
            length = int(self.headers.get("content-length") or 0)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in {*OWN, "host"}}
            asked = urllib.request.Request(url, self.rfile.read(length) or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(asked) as found:
                    told, status, body = found.headers.items(), found.status, found.read()
            except urllib.error.HTTPError as error:
                told, status, body = error.headers.items(), error.code, error.read()
            self._send(status, [(name, value) for name, value in told if name.lower() not in OWN], body)

        def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            ruled = _headers(self.path) if host.gateway else {}
            for name, value in [*[each for each in headers if each[0].lower() not in ruled], *ruled.items()]:
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = Host(f"http://localhost:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _match(source: str, path: str) -> re.Match[str] | None:
    return re.fullmatch(re.sub(r"/:\w+\*", r"(?:/.*)?", source), path)


def _headers(path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for rule in VERCEL["headers"]:
        if _match(rule["source"], path.partition("?")[0]):
            found |= {each["key"].lower(): each["value"] for each in rule["headers"]}
    # It would keep the browser from this host for a year.
    found.pop("strict-transport-security", None)
    return found
