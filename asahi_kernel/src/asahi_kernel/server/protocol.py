"""uvicorn's HTTP protocol with a strict edge: whatever is malformed, ambiguous, too large or too slow is answered here,
once, and its connection read no further."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from asahi_kernel.errors import (
    AsahiError,
    Exhausted,
    Invalid,
    InvalidJSON,
    MethodNotAllowed,
    RequestTimeout,
    TooLarge,
)
from asahi_kernel.server.headers import CHECKS, Head
from asahi_kernel.server.hosts import HostRule
from asahi_kernel.server.limits import EdgeLimits
from asahi_kernel.server.refusal import METHODS, HeadersTooLarge, UriTooLong, render
from asahi_kernel.server.target import TargetRule
from asahi_kernel.server.watch import Watch

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_IDLE, _HEAD, _BODY = range(3)
_METHOD = re.compile(rb"[A-Za-z][A-Za-z_-]{0,39}(?: |\Z)")
_NO_LINGER = struct.pack("ii", 1, 0)
_log = logging.getLogger(__name__)


class EdgeProtocol(HttpToolsProtocol):
    """One connection. Made by `edge_protocol`, which binds the limits.

    A refusal is an `AsahiError` raised in a parser callback: the parser then stops for good, so nothing behind the
    refused request is ever read as another one. Answers to earlier pipelined requests come first.
    """

    limits: ClassVar[EdgeLimits]
    hosts: ClassVar[HostRule]
    targets: ClassVar[TargetRule]
    drains: ClassVar[tuple[Callable[[], None], ...]]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.url = b""
        self._phase = _IDLE
        self._head: Head = None  # type: ignore[assignment]
        self._arrived = self._begun = 0
        self._bytes = self._unsure_bytes = self._body_bytes = 0
        self._deadline = self._stuck_since = 0.0
        self._stuck_bytes = self._discarded = 0
        self._deaf = self._draining = self._upgrading = False
        self._last_words = b""
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.time() + self.limits.keep_alive_s
        watch = vars(self.server_state).get("edge_watch")
        if watch is None:
            drains = [*self.drains, *filter(None, [self.app_state.get("on_drain")])]
            watch = Watch(cast("set[object]", self.server_state.connections), self.limits, drains)
            vars(self.server_state)["edge_watch"] = watch
        watch.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells only the newest of pipelined requests, so the one being answered would work on for nobody.
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._discard(len(data))
            return
        self._arrived = len(data)
        self._begun = 0
        if self._phase != _IDLE:
            self._bytes += self._arrived
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + data[upgrade.args[0] :]
                continue
            except httptools.HttpParserError as error:
                self._refuse(_meaning(error, data))
                return
            break
        if self._phase != _IDLE:
            self._expect_more()
        elif not self._begun and not self._deadline and (self.cycle is None or self.cycle.response_complete):
            self._deadline = self.loop.time() + self.limits.keep_alive_s

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase = _HEAD
        self._head = Head()
        self._deadline = 0.0
        self._bytes = self._arrived
        self._unsure_bytes = self._arrived if self._begun else 0
        self._begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase != _HEAD:
            return  # a trailer, which could otherwise pass for a header that was checked
        name = name.lower()
        self.headers.append((name, value))
        check = CHECKS.get(name)
        if check is not None:
            check(self._head, value)

    def on_headers_complete(self) -> None:
        # Stands in for uvicorn's method, which would parse the target and the method once more.
        head, limits, parser, scope = self._head, self.limits, self.parser, self.scope
        if len(self.url) > limits.max_target_bytes:
            raise _too_long(limits)
        if self._bytes > limits.max_header_bytes or len(self.headers) > limits.max_headers:
            self._check_header_size()
        if head.host is None:
            raise Invalid("the request has no Host header")
        if not self.hosts.accepts(head.host, self.server):
            raise Invalid("the Host header is malformed or names a host that this server does not answer to")
        method = METHODS.get(parser.get_method())
        if method is None:
            raise MethodNotAllowed("this method is not allowed")
        scope["method"] = method
        scope["path"], scope["raw_path"], scope["query_string"] = self.targets.split(self.url)
        version = parser.get_http_version()
        if version != "1.1":
            if version != "1.0" or head.chunked:
                raise Invalid("only HTTP/1.1 and plain HTTP/1.0 are spoken here")
            scope["http_version"] = version
        self._upgrading = parser.should_upgrade()
        if self._upgrading:
            return
        if head.length > limits.max_body_bytes:
            self._check_body_size(head.length)
        if len(self.pipeline) >= limits.max_pipelined:
            raise Exhausted("too many requests on one connection are waiting for their answers")
        self._phase = _BODY
        self._body_bytes = 0
        self._deadline = 0.0
        self._accept(version == "1.1" and not self._draining and parser.should_keep_alive())

    def _accept(self, keep_alive: bool) -> None:
        """Starts the request, or queues it behind those that came before it on the connection."""
        before = self.cycle
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self._head.expects,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        if self._head.chunked:
            self._body_bytes += len(body)
            if self._body_bytes > self.limits.max_body_bytes:
                self._check_body_size(self._body_bytes)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = _IDLE
        self._deadline = 0.0
        if not self._upgrading and not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        # Stands in for uvicorn's method, which would arm a timer per request; the watch needs only the deadline.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_words:
            self._speak(self._last_words)
        elif self._phase == _IDLE:
            self._deadline = self.loop.time() + self.limits.keep_alive_s
        elif self._phase == _BODY and self._head.expects and self.cycle.response_complete:
            self._speak(b"")  # the announced body may never come, so what comes next cannot be told from it

    def eof_received(self) -> None:
        if self._phase == _BODY and not self._deaf and not self.cycle.response_complete:
            self._refuse(InvalidJSON("the body ended early"))
        self.transport.close()

    def shutdown(self) -> None:
        """Called by uvicorn when the drain begins. An idle client may be sending right now, so it gets a moment."""
        self._draining = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self._phase == _BODY:
            self.transport.close()
        elif not self._deadline or self._phase == _IDLE:
            self._deadline = self.loop.time() + self.limits.drain_grace_s

    def resume_writing(self) -> None:
        self._stuck_since = 0.0
        super().resume_writing()

    def sweep(self, now: float) -> None:
        """Called about once a second: ends what is overdue."""
        if self._deadline and now >= self._deadline:
            if self.flow.read_paused and not self._deaf:
                self._deadline = now + 1.0  # we are the ones who do not read
            elif self._phase == _IDLE or self._deaf or (self._phase == _BODY and self.cycle.response_complete):
                self.transport.close()
            else:
                self._refuse(RequestTimeout("the request was sent too slowly"))
        if self.flow.write_paused or self.transport.is_closing():
            self._end_if_stuck(now)
        else:
            self._stuck_since = 0.0

    def _end_if_stuck(self, now: float) -> None:
        waiting = self.transport.get_write_buffer_size()
        if not self._stuck_since or waiting < self._stuck_bytes:
            self._stuck_since = now
            self._stuck_bytes = waiting
        elif now - self._stuck_since >= self.limits.write_timeout_s:
            self._abort()

    def _abort(self) -> None:
        """Ends the connection by a reset, or the kernel would keep megabytes for a client that does not read."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def _expect_more(self) -> None:
        """A message is unfinished: bounds what it has cost so far and gives it a deadline."""
        bound = self.limits.max_header_bytes + self.limits.max_target_bytes
        if self._phase == _HEAD and len(self.url) > self.limits.max_target_bytes:
            self._refuse(_too_long(self.limits))
        elif self._phase == _HEAD and self._bytes - self._unsure_bytes > bound:
            self._refuse(_too_many_headers(self.limits))
        elif self._phase == _BODY and self._bytes - self._unsure_bytes > 2 * self._body_limit() + 4 * bound:
            self._refuse(TooLarge("the body is cut into too many small chunks"))
        elif not self._deadline:
            head = self._phase == _HEAD
            self._deadline = self.loop.time() + (self.limits.header_timeout_s if head else self.limits.body_timeout_s)

    def _check_header_size(self) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.max_header_bytes or len(self.headers) > self.limits.max_headers:
            raise _too_many_headers(self.limits)

    def _check_body_size(self, size: int) -> None:
        limit = self._body_limit()
        if size > limit:
            raise TooLarge(f"the body is larger than {limit} bytes")

    def _body_limit(self) -> int:
        path = self.url.partition(b"?")[0].decode("latin-1")
        limits = self.limits
        return limits.max_inference_body_bytes if path in limits.inference_paths else limits.max_body_bytes

    def _without_upgrade(self) -> bytes:
        """The head of a request that offers another protocol, without the offer: a client must be ready for that.

        The parser would take the body for that other protocol, and its end for the next request.
        """
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        lines += [name + b": " + value for name, value in self.headers if name not in (b"connection", b"upgrade")]
        return b"\r\n".join([*lines, b"", b""])

    def _refuse(self, error: AsahiError) -> None:
        """Answers with an error as soon as the earlier answers are out, and reads no further request."""
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        with_body = not self.url or self.parser.get_method() != b"HEAD"
        words = render(error, self.url, self.server_state.default_headers, body=with_body)
        in_flight = self.cycle is not None and not self.cycle.response_complete
        if self._phase == _BODY and self.pipeline:
            self.pipeline.popleft()
            self._last_words = words
        elif self._phase == _BODY and (not in_flight or self.cycle.response_started):
            self.transport.close()
        elif self._phase == _BODY:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._speak(words)
        elif in_flight:
            self._last_words = words
        else:
            self._speak(words)

    def _speak(self, words: bytes) -> None:
        """Says the last words and half-closes; what still arrives is thrown away, as a reset could lose the answer."""
        self._deaf = True
        self._last_words = b""
        self.flow.resume_reading()
        self._deadline = self.loop.time() + self.limits.linger_s
        if words:
            self.transport.write(words)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > self.limits.linger_bytes:
            self._abort()


def edge_protocol(limits: EdgeLimits, *drains: Callable[[], None]) -> type[EdgeProtocol]:
    """A protocol class for one server: pass it as uvicorn's `http`. `drains` are called when the server drains, and so
    is what the application puts into its lifespan state as `on_drain`, provided that there ever was a connection."""
    namespace = {
        "limits": limits,
        "hosts": HostRule(limits.bind_host, limits.allowed_hosts),
        "targets": TargetRule(),
        "drains": drains,
    }
    return type("BoundEdgeProtocol", (EdgeProtocol,), namespace)


def _meaning(error: httptools.HttpParserError, data: bytes) -> AsahiError:
    """What the parser's complaint is to the client: the refusal a callback raised, or a plain 400."""
    cause = error.__context__
    if isinstance(cause, AsahiError):
        return cause
    if isinstance(error, httptools.HttpParserCallbackError):
        _log.error("the edge failed on a request", exc_info=cause)
    if isinstance(error, httptools.HttpParserInvalidMethodError) and _METHOD.match(data):
        return MethodNotAllowed("this method is not allowed")
    return Invalid("the request is not valid HTTP/1.1")


def _too_long(limits: EdgeLimits) -> UriTooLong:
    return UriTooLong(f"the address is longer than {limits.max_target_bytes} bytes")


def _too_many_headers(limits: EdgeLimits) -> HeadersTooLarge:
    return HeadersTooLarge(f"send at most {limits.max_headers} headers of {limits.max_header_bytes} bytes in all")
