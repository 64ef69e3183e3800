"""`/openapi.json` and an offline `/docs`: the contract, from the handlers themselves."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, get

from asahi_kernel.api.access import PUBLIC
from asahi_kernel.api.contract import contract

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1917;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #d6d3d1}code,pre{font:14px/1.5 ui-monospace,monospace}
.m{display:inline-block;min-width:4rem;font-weight:700}details{margin:.5rem 0;padding:.5rem .75rem;
border:1px solid #d6d3d1;border-radius:.5rem}summary{cursor:pointer}pre{overflow:auto;background:#f5f5f4;padding:.75rem}
@media(prefers-color-scheme:dark){body{color:#f5f5f4;background:#1c1917}pre{background:#292524}
h2,details{border-color:#57534e}}
"""


def docs_routes() -> list[HTTPRouteHandler]:
    @get("/openapi.json", opt={"permission": PUBLIC}, include_in_schema=False)
    async def schema(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return contract(request.app)

    @get("/docs", opt={"permission": PUBLIC}, include_in_schema=False, media_type="text/html")
    async def docs(request: Request[Any, Any, Any]) -> Response[str]:
        headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
        return Response(page(contract(request.app)), media_type="text/html", headers=headers)

    return [schema, docs]


def page(schema: dict[str, Any]) -> str:
    """The contract as one page without script, style sheet or font from elsewhere."""
    groups: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if isinstance(operation, dict):
                tag = (operation.get("tags") or ["other"])[0]
                groups.setdefault(tag, []).append(_operation(path, method, operation))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(entries)}" for tag, entries in groups.items())
    info = schema["info"]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Asahi API</title><style>{_STYLE}</style><h1>Asahi API {escape(info['version'])}</h1>"
        f"<p>The machine-readable contract is <a href=openapi.json>openapi.json</a>.</p>{body}</html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    from msgspec import json

    summary = escape(operation.get("description") or operation.get("summary") or "")
    details = {key: operation[key] for key in ("parameters", "requestBody", "responses") if operation.get(key)}
    shown = escape(json.format(json.encode(details), indent=2).decode())
    head = f"<span class=m>{method.upper()}</span> <code>{escape(path)}</code>"
    return f"<details><summary>{head} {summary}</summary><pre>{shown}</pre></details>"
