"""The export: every file of the built pages, in memory and ready to be sent.

One build serves at any address: it was made with two markers in the place of the base path and of the API's prefix.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from gzip import compress
from html import escape
from mimetypes import guess_type
from pathlib import Path

BASE_MARKER, API_MARKER = b"/__asahi_base__", b"/__asahi_api__"
_REWRITTEN = frozenset({".html", ".js", ".css", ".txt", ".json"})
_PACKED = frozenset({".html", ".js", ".css", ".txt", ".json", ".svg", ".map"})
_TYPES = {".js": "text/javascript", ".txt": "text/plain", ".woff2": "font/woff2", ".woff": "font/woff"}
_INLINE = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
#: A row of the framework's own format that says its length in bytes: a marker in it could not be replaced.
_MEASURED = re.compile(rb"(?:^|\n)[0-9a-f]+:T[0-9a-f]+,")
_POLICY = (
    "default-src 'none'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
#: Smaller than this is not worth packing.
_SMALL = 600


class File:
    """One file: its bytes, and what is said with them."""

    def __init__(self, name: str, body: bytes) -> None:
        self.name = name
        self.body = body
        suffix = Path(name).suffix
        kind = _TYPES.get(suffix) or guess_type(name)[0] or "application/octet-stream"
        self.media_type = f"{kind}; charset=utf-8" if kind.startswith("text/") or suffix == ".json" else kind
        self.immutable = "/_next/static/" in f"/{name}"
        self.policy = policy(body) if suffix == ".html" else None
        self._packs = suffix in _PACKED and len(body) > _SMALL

    @cached_property
    def etag(self) -> str:
        """A digest of what it holds."""
        return hashlib.sha256(self.body).hexdigest()[:32]

    @cached_property
    def packed(self) -> bytes | None:
        """The same, compressed; None where that does not pay. Made when it is first asked for."""
        return compress(self.body, 9, mtime=0) if self._packs else None


class Export:
    """Files by their path below the base, and the paths that are pages: those that end in a slash."""

    def __init__(self, files: Mapping[str, bytes], missing: File | None = None) -> None:
        self.files = {f"/{name}": File(name, body) for name, body in files.items()}
        pages = [name for name in self.files if name.endswith("/index.html")]
        self.pages = {name.removesuffix("index.html"): self.files[name] for name in pages}
        self.missing = missing or self.files.get("/404.html")

    @classmethod
    def without_build(cls, how: str) -> Export:
        """One page in the place of all, which says how to get them."""
        return cls({"index.html": _PLAIN.format(how=escape(how)).encode()})


def read(folder: Path, base: str, api: str) -> Export | None:
    """The build in a folder, made to be served below `base` with the API below `api`; None where there is none."""
    if not (folder / "index.html").is_file():
        return None
    found = sorted(each for each in folder.rglob("*") if each.is_file())
    return Export({each.relative_to(folder).as_posix(): rewritten(each, base, api) for each in found})


def rewritten(path: Path, base: str, api: str) -> bytes:
    """A file's bytes, the markers replaced. Raises `ValueError` where that would break the file."""
    body = path.read_bytes()
    if path.suffix not in _REWRITTEN or not (BASE_MARKER in body or API_MARKER in body):
        return body
    for found in _MEASURED.finditer(body):
        length = int(body[found.start() : found.end()].rpartition(b"T")[2].rstrip(b","), 16)
        if BASE_MARKER in body[found.end() : found.end() + length]:
            raise ValueError(f"{path.name}: a row of stated length holds the base path: build the pages anew")
    return body.replace(BASE_MARKER, base.encode()).replace(API_MARKER, api.encode())


def policy(page: bytes) -> str:
    """The Content-Security-Policy of a page: its own scripts by their hashes, and nothing from elsewhere."""
    bodies = {found.group(1) for found in _INLINE.finditer(page)}
    digests = sorted(base64.b64encode(hashlib.sha256(body).digest()).decode() for body in bodies)
    return _POLICY.format(hashes="".join(f" 'sha256-{digest}'" for digest in digests))


_PLAIN = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Asahi</title><style>body{{font:16px/1.6 system-ui,sans-serif;max-width:42rem;margin:15vh auto;padding:0 1.5rem;
color:#1a1a1a;background:#fff}}code{{background:#f5f5f5;padding:.1em .3em;border-radius:.25em}}a{{color:#b23c09}}
@media(prefers-color-scheme:dark){{body{{color:#f5f5f4;background:#1c1917}}code{{background:#292524}}a{{color:#ff9466}}}}
</style><main><h1>Asahi is running</h1><p>The gateway answers. Its dashboard has not been built: {how}, then start the
gateway again.</p><p>The API is described at <a href="docs">/docs</a>, and its state is at <a href="health">/health</a>.
</p></main></html>
"""
