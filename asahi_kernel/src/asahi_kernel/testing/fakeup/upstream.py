"""The fake upstream itself: takes calls, follows scripts, keeps the books."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from ssl import SSLContext

import msgspec

from asahi_kernel.testing.fakeup import anthropic, batches, clouds, cohere, cohere_embed, embeddings, openai
from asahi_kernel.testing.fakeup.connection import Ask, Connection, Gone
from asahi_kernel.testing.fakeup.generation import Answer, Call, generate
from asahi_kernel.testing.fakeup.hosts import HOSTS
from asahi_kernel.testing.fakeup.ledger import Ledger, Price, Row
from asahi_kernel.testing.fakeup.prompt_cache import PromptCache
from asahi_kernel.testing.fakeup.script import Director, Script
from asahi_kernel.testing.fakeup.wire import Wire

_REMEMBERED = 100
_JSON = {"content-type": "application/json"}
_WIRES: tuple[Wire, ...] = (openai, embeddings, anthropic, cohere, cohere_embed)
_EVENTS = {"content-type": "text/event-stream; charset=utf-8"}


class Upstream:
    """A scripted vendor. `active` counts the calls being answered, `connections` the open ones; `heard` and
    `bodies` are the headers and bodies of the last hundred calls.

    Assign `fault` to script every request from then on. `latency_s` passes before the first byte, `pace_s` between two
    tokens. With `keys`, other credentials get a 401. `host` is one that speaks OpenAI's wire in its own way.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        fault: str = "",
        latency_s: float = 0.0,
        pace_s: float = 0.0,
        keys: Collection[str] = (),
        host: str = "",
    ) -> None:
        self._ledger = ledger
        wires = (*_WIRES, HOSTS[host]) if host else _WIRES
        self._wires = {wire.PATH: wire for wire in wires}
        self._director = Director(fault)
        self._latency_s = latency_s
        self._pace_s = pace_s
        self._keys = frozenset(keys)
        self._boot = secrets.token_hex(3)
        self._count = 0
        self._batches = batches.Batches(self._run_member)
        self._peers: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.active = 0
        self.prompt_cache = PromptCache(time.monotonic)
        self.heard: deque[dict[str, str]] = deque(maxlen=_REMEMBERED)
        self.bodies: deque[bytes] = deque(maxlen=_REMEMBERED)
        self.url = ""

    @property
    def ledger(self) -> list[Row]:
        """The calls that have ended, oldest first."""
        return self._ledger.rows

    @property
    def connections(self) -> int:
        return len(self._peers)

    @property
    def fault(self) -> str:
        return self._director.default

    @fault.setter
    def fault(self, words: str) -> None:
        self._director.default = words

    def connection(self) -> Connection:
        """A protocol for a new connection."""
        return Connection(self._accept, self._peers)

    async def settled(self) -> None:
        """Waits until every call so far is in the ledger."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Breaks all connections and waits until every call is in the ledger."""
        for peer in tuple(self._peers):
            peer.close()
        await self.settled()
        self._ledger.close()

    def _accept(self, connection: Connection, ask: Ask) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(connection, ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, connection: Connection, ask: Ask) -> None:
        wire = self._wires.get(ask.path)
        self._ledger.hear(ask.path, ask.body, ask.headers)
        self.heard.append(ask.headers)
        self.bodies.append(ask.body)
        if wire is None and (found := clouds.find(ask)) is not None:
            wire, ask = found
        try:
            if wire is not None and ask.method == "POST":
                await _Attempt(self, connection, ask, wire).run()
            elif (told := self._batched(ask)) is not None:
                await _send(connection, *told)
            elif ask.path == anthropic.COUNT_PATH and ask.method == "POST":
                await _send(connection, *anthropic.count(ask.body))
            elif ask.path == "/v1/models" and ask.method == "GET":
                await _send(connection, 200, self._models())
            else:
                await _send(connection, 404, openai.error(404, f"Invalid URL ({ask.method} {ask.path})"))
            connection.end(ask.keep_alive)
        except Gone:
            return

    def _batched(self, ask: Ask) -> tuple[int, bytes] | None:
        """The answer to a call about files or batches, if it is one."""
        if not ask.path.startswith((batches.FILES, batches.OPENAI, batches.ANTHROPIC)):
            return None
        wire: Wire = anthropic if ask.path.startswith(batches.ANTHROPIC) else openai
        credential, status = _credential(ask), self.script("").status
        if not self.permits(credential):
            return 401, wire.error(401, f"Incorrect API key provided: {credential}.")
        return (status, wire.error(status, "scripted failure")) if status else self._batches.answer(ask, credential)

    def _run_member(self, wire: Wire, body: bytes, credential: str) -> batches.Outcome:
        """Answers a member of a batch, and books it at half the price unless it failed."""
        try:
            call = wire.decode(body)
            script = self.script(call.prompt)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            return batches.Outcome(Script(), 400, wire.error(400, f"fakeup: {error}"))
        if script.status is not None:
            return batches.Outcome(script, script.status, wire.error(script.status, "scripted failure"))
        attempt = self.begin()
        answer = generate(call, script, attempt)
        answer = msgspec.structs.replace(answer, usage=wire.usage(script, answer))
        expired = script.batch == "expired"
        sizes = answer.input_tokens, answer.cached_tokens, answer.output_tokens, answer.cache_write_tokens
        self.finish(
            Row(
                attempt=attempt,
                completion_id=answer.id,
                credential=credential,
                path=wire.PATH,
                model=call.model,
                stream=False,
                status=0 if expired else 200,
                input_tokens=answer.input_tokens,
                cached_tokens=answer.cached_tokens,
                cache_write_tokens=answer.cache_write_tokens,
                output_tokens=0 if expired else answer.output_tokens,
                usage=None if answer.usage is None else answer.usage.decode(),
                cost=0 if expired else self._ledger.cost(call.model, *sizes, share=Fraction(1, 2)),
                bytes_sent=0,
                service="batch",
                closed_by="server",
            )
        )
        return batches.Outcome(script, 200, wire.reply(answer))

    def _models(self) -> bytes:
        names = sorted(self._ledger.prices) or ["fake-1"]
        rows = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "fakeup"} for name in names]
        return msgspec.json.encode({"object": "list", "data": rows})

    def begin(self) -> str:
        """Takes up a call and gives it its id, unique over restarts."""
        self.active += 1
        self._count += 1
        return f"{self._boot}-{self._count}"

    def finish(self, row: Row) -> None:
        """Books a call that has ended."""
        self.active -= 1
        self._ledger.write(row)

    def permits(self, credential: str) -> bool:
        """Whether the credential is among the known ones, if any are."""
        return not self._keys or credential in self._keys

    def script(self, prompt: str) -> Script:
        """What a call with this last user text asks for."""
        return self._director.script(prompt)

    def cost(self, model: str, answer: Answer, written: int) -> int | None:
        """The bill of a call in nano-dollars."""
        return self._ledger.cost(model, answer.input_tokens, answer.cached_tokens, written, answer.cache_write_tokens)

    def cached(self, answer: Answer, call: Call, credential: str) -> Answer:
        """The answer with what its prompt read from the cache or wrote to it, if it has markers."""
        if not any(block.marked for block in call.blocks):
            return answer
        read, written = self.prompt_cache.use(credential, call.model, call.blocks)
        return msgspec.structs.replace(answer, cached_tokens=read, cache_write_tokens=written)

    def latency_s(self, script: Script) -> float:
        return self._latency_s if script.latency_ms is None else script.latency_ms / 1000

    def pace_s(self, script: Script) -> float:
        return self._pace_s if script.pace_ms is None else script.pace_ms / 1000


class _Attempt:
    """One call, from its request to its row in the ledger."""

    def __init__(self, upstream: Upstream, connection: Connection, ask: Ask, wire: Wire) -> None:
        self._upstream = upstream
        self._connection = connection
        self._ask = ask
        self._wire = wire
        self._id = upstream.begin()
        self._credential = _credential(ask)
        self._call: Call | None = None
        self._reply: Answer | None = None
        self._status = 0
        self._written = 0
        self._mark = ""
        self._headers = dict.fromkeys(("x-request-id", "request-id", "x-debug-trace-id"), f"req_{self._id}")

    async def run(self) -> None:
        """Answers; the row is written however that ends."""
        by_client = False
        try:
            await self._respond()
        except Gone as gone:
            by_client = gone.by_client
            raise
        finally:
            self._upstream.finish(self._row(by_client))

    async def _respond(self) -> None:
        if not self._upstream.permits(self._credential):
            return await self._refuse(401, f"Incorrect API key provided: {self._credential}.")
        try:
            call = self._call = self._wire.decode(self._ask.body)
            script = self._upstream.script(call.prompt)
            self._mark = script.mark or ""
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            return await self._refuse(400, f"fakeup: {error}")
        self._connection.cut_at = script.reset_at_byte
        await self._connection.pause(self._upstream.latency_s(script))
        if script.redirect is not None:
            self._headers["location"] = script.redirect
            return await self._refuse(307, "moved")
        if script.status is not None:
            if script.retry_after is not None:
                self._headers["retry-after"] = script.retry_after.replace("_", " ")
            key = f" (key {self._credential})" if script.status in (400, 401, 403, 404) else ""
            return await self._refuse(script.status, f"scripted failure{key}")
        if script.body_error:
            self._status = 200
            return await _send(self._connection, 200, self._wire.error(500, "scripted failure"), self._headers)
        reply = generate(call, script, self._id)
        if not script.cached and not script.cache_write:
            reply = self._upstream.cached(reply, call, self._credential)
        self._reply = reply = msgspec.structs.replace(reply, usage=self._wire.usage(script, reply))
        self._status = 200
        if call.stream:
            return await self._stream(call, script, reply)
        return await self._whole(script, reply)

    async def _refuse(self, status: int, message: str) -> None:
        self._status = status
        await _send(self._connection, status, self._wire.error(status, message), self._headers)

    async def _whole(self, script: Script, reply: Answer) -> None:
        body = self._wire.reply(reply)
        if script.stall_at is not None:
            await self._connection.pause(None)
        if script.reset_at is not None:
            self._connection.reset()
        if script.garbage_at is not None:
            body = body[:-9]
        await self._connection.pause(self._upstream.pace_s(script) * reply.output_tokens)
        self._connection.head(200, _JSON | self._headers, len(body))
        self._written = reply.output_tokens
        if script.eof_at is not None:
            await self._connection.body(body[: len(body) // 2])
            self._connection.drop()
        await self._connection.body(body)

    async def _stream(self, call: Call, script: Script, reply: Answer) -> None:
        connection, pace = self._connection, self._upstream.pace_s(script)
        connection.head(200, _EVENTS | self._headers, None)
        faulty = bool(_FAULTS & {name for name in script.__struct_fields__ if getattr(script, name) is not None})
        for _ in range(script.comments):
            await connection.body(b": keep-alive\n\n")
        for frame, tokens in self._wire.frames(reply, call.include_usage):
            if faulty:
                faulty = await self._strike(script)
            if tokens:
                await connection.pause(pace)
            await connection.body(frame.replace(b"\n", b"\r\n") if script.crlf else frame)
            self._written += tokens
        if script.done_twice:
            await connection.body(frame + b"data: after the end\n\n")

    async def _strike(self, script: Script) -> bool:
        """Does what the script says for this place in a stream; false once there is nothing left to do."""
        connection, written = self._connection, self._written
        if script.stall_at is not None and written >= script.stall_at:
            await connection.pause(None)
        if script.reset_at is not None and written >= script.reset_at:
            connection.reset()
        if script.eof_at is not None and written >= script.eof_at:
            connection.end(keep_alive=False)
            raise Gone(by_client=False)
        if script.error_event_at is not None and written >= script.error_event_at:
            await connection.body(self._wire.error_event())
            connection.end(keep_alive=False)
            raise Gone(by_client=False)
        if script.garbage_at is not None and written >= script.garbage_at:
            await connection.body(b'data: {"choices":[{"del\n\n')
            return False
        if script.long_line_at is not None and written >= script.long_line_at:
            await connection.body(b"data: " + b"x" * (2 << 20) + b"\n\n")
            return False
        return True

    def _row(self, by_client: bool) -> Row:
        call, reply = self._call, self._reply
        model = "" if call is None else call.model
        return Row(
            attempt=self._id,
            completion_id="" if reply is None else reply.id,
            credential=self._credential,
            path=self._ask.path,
            model=model,
            stream=call is not None and call.stream,
            status=self._status,
            input_tokens=0 if reply is None else reply.input_tokens,
            cached_tokens=0 if reply is None else reply.cached_tokens,
            cache_write_tokens=0 if reply is None else reply.cache_write_tokens,
            output_tokens=self._written,
            usage=None if reply is None or reply.usage is None else reply.usage.decode(),
            cost=0 if reply is None else self._upstream.cost(model, reply, self._written),
            bytes_sent=self._connection.sent,
            closed_by="client" if by_client else "server",
            mark=self._mark,
        )


_FAULTS = frozenset({"stall_at", "reset_at", "eof_at", "error_event_at", "garbage_at", "long_line_at"})


def _credential(ask: Ask) -> str:
    direct = ask.headers.get("x-api-key") or ask.headers.get("api-key")
    return direct or ask.headers.get("authorization", "").removeprefix("Bearer ")


async def _send(connection: Connection, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    connection.head(status, _JSON | (headers or {}), len(body))
    await connection.body(body)


@asynccontextmanager
async def running(
    *,
    prices: dict[str, Price] | None = None,
    ledger: Path | None = None,
    bodies: Path | None = None,
    fault: str = "",
    latency_s: float = 0.0,
    pace_s: float = 0.0,
    keys: Collection[str] = (),
    host: str = "",
    port: int = 0,
    tls: SSLContext | None = None,
) -> AsyncIterator[Upstream]:
    """A fake upstream on a loopback port for as long as the block lasts; its address is `url`. With `bodies` it writes
    each request there."""
    books = Ledger(prices or {}, ledger, bodies)
    upstream = Upstream(books, fault=fault, latency_s=latency_s, pace_s=pace_s, keys=keys, host=host)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(upstream.connection, "127.0.0.1", port, backlog=1024, ssl=tls)
    upstream.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        await upstream.close()
