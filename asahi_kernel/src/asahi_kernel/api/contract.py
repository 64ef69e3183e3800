"""The OpenAPI contract: what Litestar knows of the typed handlers, and what the raw inference handlers take."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from litestar import Litestar

from asahi_kernel.wire.anthropic.request import Body as AnthropicBody
from asahi_kernel.wire.native.reply import Problem, Reply
from asahi_kernel.wire.native.request import Body as NativeBody
from asahi_kernel.wire.openai.embeddings import Body as EmbeddingsBody
from asahi_kernel.wire.openai.request import Body as OpenAIBody
from asahi_kernel.wire.responses.request import Body as ResponsesBody

_FORMAT = {"enum": ["json", "csv"], "default": "json"}
_REF = "#/components/schemas/{name}"
#: What every report is in.
_WRAPPED = {
    "type": "object",
    "properties": {"data": {}, "meta": {"type": "object"}},
    "required": ["data", "meta"],
}
_PROBLEM = {"$ref": _REF.format(name=Problem.__name__)}


def contract(app: Litestar) -> dict[str, Any]:
    """The whole contract as JSON-ready data."""
    schema: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    paths, components = _inference()
    typed = {path: _with_errors(path, item) for path, item in schema.get("paths", {}).items()}
    schema["paths"] = {**paths, **typed}
    for path, parameters in _parameters(app):
        operation = schema["paths"][path]["get"]
        operation["parameters"] = parameters
        operation["responses"]["200"]["content"] = {"application/json": {"schema": _WRAPPED}, "text/csv": {}}
    schema.setdefault("components", {}).setdefault("schemas", {}).update(components)
    return schema


def _with_errors(path: str, item: dict[str, Any]) -> dict[str, Any]:
    """Whatever may go wrong on a typed route is told in our shape, not in the framework's; `/v1` takes no schema of
    ours for what its clients know."""
    told = {}
    for method, operation in item.items():
        if isinstance(operation, dict) and "responses" in operation:
            good = {status: each for status, each in operation["responses"].items() if status < "400"}
            if path.startswith("/v1/"):
                good = {status: {**each, "content": {"application/json": {}}} for status, each in good.items()}
            operation = {**operation, "responses": {**good, **_errors(path)}}
        told[method] = operation
    return told


def _errors(path: str) -> dict[str, Any]:
    if path.startswith("/v1/"):
        whose = "Anthropic" if path.startswith("/v1/messages") else "OpenAI"
        return {"default": {"description": f"An error in {whose}'s shape", "content": {"application/json": {}}}}
    content = {"application/problem+json": {"schema": _PROBLEM}}
    return {"default": {"description": "Problem (RFC 9457)", "content": content}}


def _parameters(app: Litestar) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What the reports take: they decode their queries themselves."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if kind := handler.opt.get("parameters"):
                (_,), found = msgspec.json.schema_components([kind], ref_template=_REF)
                properties = {**found[kind.__name__]["properties"], "org_id": {"type": "string"}, "format": _FORMAT}
                yield (
                    route.path,
                    [
                        {"name": name, "in": "query", "required": False, "schema": each}
                        for name, each in properties.items()
                    ],
                )


@cache
def _inference() -> tuple[dict[str, Any], dict[str, Any]]:
    types = (
        _named(NativeBody, "InferRequest"),
        _named(OpenAIBody, "ChatCompletionRequest"),
        _named(AnthropicBody, "MessagesRequest"),
        _named(EmbeddingsBody, "EmbeddingsRequest"),
        _named(ResponsesBody, "ResponsesRequest"),
    )
    (native, openai, anthropic, embeddings, responses, reply, problem), components = msgspec.json.schema_components(
        [*types, Reply, Problem], ref_template=_REF, schema_hook=_anything
    )
    assert problem == _PROBLEM
    errors, openai_errors = _errors("/infer"), _errors("/v1/chat/completions")
    anthropic_errors = _errors("/v1/messages")
    paths = {
        "/infer": _post(
            "Native inference.", native, {"application/json": {"schema": reply}, "text/event-stream": {}}, errors
        ),
        "/v1/chat/completions": _post(
            "OpenAI Chat Completions.", openai, {"application/json": {}, "text/event-stream": {}}, openai_errors
        ),
        "/v1/embeddings": _post("OpenAI embeddings.", embeddings, {"application/json": {}}, openai_errors),
        "/v1/responses": _post(
            "OpenAI Responses, without stored state.",
            responses,
            {"application/json": {}, "text/event-stream": {}},
            openai_errors,
        ),
        "/v1/messages": _post(
            "Anthropic Messages.", anthropic, {"application/json": {}, "text/event-stream": {}}, anthropic_errors
        ),
        "/v1/messages/count_tokens": _post(
            "Anthropic's count of input tokens.", anthropic, {"application/json": {}}, anthropic_errors
        ),
    }
    return paths, components


def _anything(kind: type) -> dict[str, Any]:
    """The schema of a piece that goes to the vendor as it came."""
    return {"description": "any JSON"}


def _named(kind: type[msgspec.Struct], name: str) -> type[msgspec.Struct]:
    """The same Struct under a name that is unique in the contract."""
    return type(name, (kind,), {"__module__": kind.__module__, "__doc__": kind.__doc__})


def _post(summary: str, body: Any, content: dict[str, Any], errors: dict[str, Any]) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "tags": ["inference"],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {"200": {"description": "The answer", "content": content}, **errors},
        }
    }
