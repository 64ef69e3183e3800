"""The sink `sentry`: faults with their stacks, and a share of the requests as transactions, where `SENTRY_DSN` is set.
What an exception says, local variables, bodies, organisations, users and keys go nowhere."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from asahi_kernel.background import repeated
from asahi_kernel.errors import ConfigError
from asahi_kernel.logs import message_of
from asahi_kernel.served import current
from asahi_kernel.tracing import sampled, trace_id
from asahi_telemetry.reaching import Silent

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Sink
    from asahi_kernel.records import Event
    from asahi_telemetry.config import SentryConfig
    from asahi_telemetry.spans import Layout

_EVERY_S = 0.5
#: Transactions that are sent in one go; more than these in half a second are dropped and counted.
_MOST = 50
_QUIET_S = 60.0
_MOST_FAULTS = 1_000
#: Attributes of spans that say who asked.
_OURS_ALONE = frozenset({"asahi.org"})


class Transactions:
    """Takes a share of the settled requests; a thread tells of them."""

    def __init__(self, gateway: Gateway, client: Any, layout: Layout) -> None:
        self._gateway = gateway
        self._rate = gateway.settings.observability.sentry_sample_rate
        self._client = client
        self._layout = layout
        self._waiting: deque[Event] = deque()

    async def write(self, events: Sequence[Event]) -> None:
        for event in events:
            if sampled(trace_id(event.request_id, event.parent), self._rate):
                if len(self._waiting) < _MOST:
                    self._waiting.append(event)
                else:
                    self._gateway.faults["sentry.dropped"] += 1

    async def send(self) -> None:
        """Tell of what waits."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if batch:
            await asyncio.to_thread(self._tell, batch)

    def _tell(self, batch: Sequence[Event]) -> None:
        for event in batch:
            self._client.capture_event(_transaction(self._layout, event))


class Faults(logging.Handler):
    """Tells of what is logged with a stack: each place once in a minute, or a storm of one fault would hold up all
    requests."""

    def __init__(self, client: Any, faults: Counter[str]) -> None:
        super().__init__(logging.WARNING)
        self._client = client
        self._faults = faults
        self._told: dict[tuple[str, str, str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not self._new(record.name, error):
            return
        try:
            self._tell(record, error)
        except Exception:  # noqa: BLE001 - the fault is in the log, and one of its teller's must not become another
            self._faults["sentry.unsent"] += 1

    def _tell(self, record: logging.LogRecord, error: BaseException) -> None:
        from sentry_sdk.utils import event_from_exception

        found, _ = event_from_exception(error, client_options=self._client.options)
        told: dict[str, Any] = {**found, "logger": record.name, "level": record.levelname.lower()}
        told["logentry"] = {"message": message_of(record)}
        served = current.get()
        if served is not None:
            told["transaction"] = served.route or ""
            told["tags"] = {"request_id": served.request_id}
            told["contexts"] = {"trace": {"trace_id": served.trace_id, "span_id": served.trace_id[:16]}}
        self._client.capture_event(told)

    def _new(self, logger: str, error: BaseException) -> bool:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = (place.tb_frame.f_code.co_filename, place.tb_lineno) if place is not None else ("", 0)
        key, now = (logger, type(error).__qualname__, *where), time.monotonic()
        if now - self._told.get(key, now - _QUIET_S) < _QUIET_S:
            return False
        if len(self._told) >= _MOST_FAULTS:
            self._told.clear()
        self._told[key] = now
        return True


def without_words(event: Any, hint: Any) -> Any:
    """The event without what exceptions say, which may quote a prompt or a key, and without the machine's name."""
    for each in event.get("exception", {}).get("values", ()):
        each["value"] = ""
        for frame in each.get("stacktrace", {}).get("frames", ()):
            frame.pop("vars", None)
    for name in ("user", "request", "extra", "breadcrumbs", "server_name", "modules"):
        event.pop(name, None)
    return event


@asynccontextmanager
async def opened(
    config: SentryConfig, gateway: Gateway, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[Sink]:
    """The sink; without a DSN it does nothing, and no SDK is loaded."""
    dsn = environment.get("SENTRY_DSN")
    if not dsn:
        yield Silent()
        return
    client = _client(dsn, environment, config)
    from asahi_telemetry.collector import ourselves
    from asahi_telemetry.spans import Layout

    transactions = Transactions(gateway, client, Layout(ourselves()))
    faults = Faults(client, gateway.faults)
    logging.getLogger().addHandler(faults)
    try:
        async with repeated("sink.sentry", transactions.send, _EVERY_S, gateway.faults):
            yield transactions
        await transactions.send()
    finally:
        logging.getLogger().removeHandler(faults)
        await asyncio.to_thread(client.close, config.timeout_s)


def _client(dsn: str, environment: Mapping[str, str], config: SentryConfig) -> Any:
    """A client of our own: nothing in the process is patched, and nobody else's is used."""
    try:
        from sentry_sdk import Client
        from sentry_sdk.utils import BadDsn
    except ImportError:
        raise ConfigError("SENTRY_DSN is set, which needs `pip install asahi-telemetry[sentry]`") from None
    try:
        return Client(
            dsn=dsn,
            release=f"asahi@{version('asahi-kernel')}",
            environment=environment.get("SENTRY_ENVIRONMENT", "production"),
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            before_send=without_words,
            before_send_transaction=without_words,
            traces_sample_rate=1.0,
            propagate_traces=False,
            auto_session_tracking=False,
            enable_backpressure_handling=False,
            shutdown_timeout=config.timeout_s,
            spotlight=False,
        )
    except BadDsn:
        raise ConfigError("SENTRY_DSN: this is no DSN of Sentry") from None


def _transaction(layout: Layout, event: Event) -> dict[str, Any]:
    root, *parts = [_span(each) for each in layout.spans(event, "")]
    context = {name: root[name] for name in ("trace_id", "span_id", "parent_span_id", "op", "status", "data")}
    return {
        "type": "transaction",
        "transaction": root["description"],
        "transaction_info": {"source": "route"},
        "contexts": {"trace": context},
        "start_timestamp": root["start_timestamp"],
        "timestamp": root["timestamp"],
        "tags": {"request_id": event.request_id, "status": event.status},
        "spans": parts,
    }


def _span(span: Any) -> dict[str, Any]:
    operations = {"SERVER": "http.server", "CLIENT": "http.client"}
    return {
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "op": operations.get(span.kind.name, "asahi"),
        "description": span.name,
        "status": "internal_error" if span.status.status_code.name == "ERROR" else "ok",
        "start_timestamp": span.start_time / 1e9,
        "timestamp": span.end_time / 1e9,
        "data": {name: value for name, value in span.attributes.items() if name not in _OURS_ALONE},
    }
