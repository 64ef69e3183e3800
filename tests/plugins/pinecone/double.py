"""A double of Pinecone's data plane on the loopback, as far as its HTTP API documents what is used here.

docs.pinecone.io/reference/api: `/vectors/upsert`, `/query`, `/vectors/fetch`, `/vectors/delete`,
`/describe_index_stats`, and of the control plane `GET /indexes/{name}`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

KEY = "pc-test-key"


class Double:
    """`delay_s` holds answers back, `status` answers every call with an error of that status."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.vectors: dict[str, dict[str, dict[str, Any]]] = {}
        self.calls: list[str] = []
        self.largest = 0
        self.delay_s = 0.0
        self.status = 0
        self.url = ""

    @web.middleware
    async def check(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """What every call must bring."""
        self.calls.append(request.path)
        self.largest = max(self.largest, request.content_length or 0)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.status:
            return web.json_response({"code": 13, "message": "scripted", "details": []}, status=self.status)
        if request.headers.get("api-key") != KEY or not request.headers.get("x-pinecone-api-version"):
            return web.json_response({"error": "unauthorized"}, status=401)
        return await handler(request)

    async def upsert(self, request: web.Request) -> web.Response:
        body = await request.json()
        for each in body["vectors"]:
            if len(each["values"]) != self.dimension:
                told = f"Vector dimension {len(each['values'])} does not match the dimension of the index"
                return web.json_response({"code": 3, "message": told, "details": []}, status=400)
        self.vectors.setdefault(body.get("namespace", ""), {}).update({each["id"]: each for each in body["vectors"]})
        return web.json_response({"upsertedCount": len(body["vectors"])})

    async def query(self, request: web.Request) -> web.Response:
        body = await request.json()
        held = self.vectors.get(body.get("namespace", ""), {}).values()
        scored = sorted(((_cosine(body["vector"], each["values"]), each) for each in held), key=lambda pair: -pair[0])
        matches = [
            {"id": each["id"], "score": score, "values": [], "metadata": each["metadata"]}
            for score, each in scored[: body["topK"]]
        ]
        told = {"matches": matches, "namespace": body.get("namespace", ""), "usage": {"readUnits": 1}}
        return web.json_response(told)

    async def fetch(self, request: web.Request) -> web.Response:
        held = self.vectors.get(request.query.get("namespace", ""), {})
        found = {key: held[key] for key in request.query.getall("ids") if key in held}
        told = {"vectors": found, "namespace": request.query.get("namespace", ""), "usage": {"readUnits": 1}}
        return web.json_response(told)

    async def delete(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["namespace"] not in self.vectors:
            return web.json_response({"code": 5, "message": "Namespace not found", "details": []}, status=404)
        if body.get("deleteAll"):
            del self.vectors[body["namespace"]]
        for key in body.get("ids", ()):
            self.vectors[body["namespace"]].pop(key, None)
        return web.json_response({})

    async def stats(self, request: web.Request) -> web.Response:
        spaces = {name: {"vectorCount": len(held)} for name, held in self.vectors.items()}
        total = sum(len(held) for held in self.vectors.values())
        told = {"namespaces": spaces, "dimension": self.dimension, "indexFullness": 0, "totalVectorCount": total}
        return web.json_response(told | {"metric": "cosine", "vectorType": "dense"})

    async def describe(self, request: web.Request) -> web.Response:
        if request.match_info["name"] != "asahi-vectors":
            return web.json_response({"error": {"code": "NOT_FOUND", "message": "no index"}, "status": 404}, status=404)
        vector = {"type": "dense_vector", "dimension": self.dimension, "metric": "cosine"}
        return web.json_response(
            {
                "name": "asahi-vectors",
                "host": self.url,
                "schema": {"fields": {"_values": vector}},
                "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"},
                "deletion_protection": "disabled",
                "status": {"ready": True, "state": "Ready"},
            }
        )


@asynccontextmanager
async def serving(dimension: int = 4) -> AsyncIterator[Double]:
    double = Double(dimension)
    application = web.Application(middlewares=[double.check], client_max_size=2 << 20)
    application.router.add_post("/vectors/upsert", double.upsert)
    application.router.add_post("/query", double.query)
    application.router.add_get("/vectors/fetch", double.fetch)
    application.router.add_post("/vectors/delete", double.delete)
    application.router.add_post("/describe_index_stats", double.stats)
    application.router.add_get("/indexes/{name}", double.describe)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    double.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        yield double
    finally:
        await runner.cleanup()


def _cosine(one: list[float], other: list[float]) -> float:
    sizes = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(x * x for x in other))
    return sum(x * y for x, y in zip(one, other, strict=True)) / sizes if sizes else 0.0
