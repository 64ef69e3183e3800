"""The sink `kafka`: every settled request as a message, at least once, by way of a spool on the disk."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from asahi_kernel.background import repeated
from asahi_kernel.errors import ConfigError
from asahi_telemetry.reaching import Reaching
from asahi_telemetry.spool import Spool, line_of

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Sink
    from asahi_kernel.records import Event
    from asahi_telemetry.config import KafkaConfig

log = logging.getLogger(__name__)
_EVERY_S = 0.2
_FIRST_REST_S, _LONGEST_REST_S = 1.0, 60.0
_ADOPT_S = 10.0
_POLL_S = 0.05


class _Of(Struct):
    org_id: str


class _Line(Struct):
    id: str
    event: _Of


_read = msgspec.json.Decoder(_Line).decode


class Stream:
    """`write` only puts lines into the spool; a thread has them sent. A dead broker fills the spool, and once that is
    full events are dropped, and counted; when it is back, all that waits goes out in its order."""

    def __init__(self, config: KafkaConfig, gateway: Gateway, spool: Spool, producer: Any) -> None:
        self._config = config
        self._faults = gateway.faults
        self._spool = spool
        self._producer = producer
        self._using, self._sending = threading.Lock(), threading.Lock()
        self._ending = threading.Event()
        self._reaching = Reaching(log, "events", "kafka")
        self._rests_until = 0.0
        self._rest_s = _FIRST_REST_S
        self._adopt_at = time.monotonic() + _ADOPT_S

    async def write(self, events: Sequence[Event]) -> None:
        dropped = await asyncio.to_thread(self._append, [line_of(event) for event in events])
        if dropped:
            self._faults["kafka.dropped"] += dropped

    async def send(self) -> None:
        """Send what waits, unless the broker is being left alone."""
        if time.monotonic() < self._rests_until:
            return
        sent = await asyncio.to_thread(self._send)
        if sent:
            self._rest_s = _FIRST_REST_S
        else:
            self._faults["kafka.unsent"] += 1
            self._rests_until = time.monotonic() + self._rest_s
            self._rest_s = min(2 * self._rest_s, _LONGEST_REST_S)
        if not self._ending.is_set():
            self._reaching.told(sent)

    def end(self) -> None:
        """Send no more: what waits is for the next start."""
        self._ending.set()

    def close(self) -> None:
        """Give up the spool, once nobody sends from it any more."""
        self._ending.set()
        with self._sending, self._using:
            self._spool.close()

    def _append(self, lines: Sequence[bytes]) -> int:
        with self._using:
            return self._spool.append(lines)

    def _send(self) -> bool:
        """Whether all that waits arrived. One thread at a time: a task that is cancelled leaves its thread at work."""
        with self._sending:
            return self._sent()

    def _sent(self) -> bool:
        with self._using:
            if time.monotonic() >= self._adopt_at:
                self._adopt_at = time.monotonic() + _ADOPT_S
                self._spool.adopt()
        while not self._ending.is_set():
            with self._using:
                found = self._spool.oldest()
            if found is None:
                break
            if not self._delivered(found[1]):
                return False
            with self._using:
                self._spool.done()
        return True

    def _delivered(self, lines: Sequence[bytes]) -> bool:
        """Whether the broker has all of them, but for those that it will never take."""
        batch = _Batch()
        for line in lines:
            if not self._produced(line, batch):
                return False
        until = time.monotonic() + 2 * self._config.timeout_s
        while batch.waiting and not self._ending.is_set() and time.monotonic() < until:
            self._producer.poll(_POLL_S)
        if batch.refused:
            self._faults["kafka.refused"] += batch.refused
        return not batch.waiting and not batch.failed

    def _produced(self, line: bytes, batch: _Batch) -> bool:
        from confluent_kafka import KafkaException

        try:
            told = _read(line)
        except msgspec.MsgspecError:
            batch.refused += 1  # the disk has changed it
            return True
        headers = [("id", told.id.encode())]
        while not self._ending.is_set():
            try:
                batch.waiting += 1
                self._producer.produce(
                    self._config.topic, line, told.event.org_id.encode(), on_delivery=batch.heard, headers=headers
                )
            except BufferError:
                batch.waiting -= 1
                self._producer.poll(_POLL_S)
                continue
            except KafkaException as error:
                batch.heard(error.args[0], None)
            return True
        return False


class _Batch:
    """What became of the messages of one segment."""

    def __init__(self) -> None:
        self.waiting = self.failed = self.refused = 0

    def heard(self, error: Any, message: Any) -> None:
        """The broker's word on one of them."""
        self.waiting -= 1
        if error is None:
            return
        if error.name() in {"MSG_SIZE_TOO_LARGE", "_MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_RECORD"}:
            self.refused += 1
        else:
            self.failed += 1


@asynccontextmanager
async def opened(config: KafkaConfig, gateway: Gateway) -> AsyncIterator[Sink]:
    """The sink. A broker that is away stops no start."""
    producer = _producer(config)
    folder = Path(config.dir) if config.dir else Path(gateway.settings.journal.dir).parent / "kafka"
    spool = Spool(folder, config.max_spool_bytes)
    await asyncio.to_thread(spool.open, "sinks.kafka.dir")
    stream = Stream(config, gateway, spool, producer)
    try:
        async with repeated("sink.kafka", stream.send, _EVERY_S, gateway.faults):
            yield stream
        await _last(stream)
    finally:
        stream.end()
        await asyncio.to_thread(stream.close)


async def _last(stream: Stream) -> None:
    """What came last, if the broker takes it within two seconds."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(2.0, stream.end)
    await stream.send()
    timer.cancel()


def _producer(config: KafkaConfig) -> Any:
    try:
        from confluent_kafka import KafkaException, Producer
    except ImportError:
        raise ConfigError("sinks.kafka needs `pip install asahi-telemetry[kafka]`") from None
    given = {
        "bootstrap.servers": config.bootstrap_servers,
        "client.id": "asahi",
        "acks": "all",
        "max.in.flight.requests.per.connection": 1,
        "message.timeout.ms": round(config.timeout_s * 1e3),
        "linger.ms": 20,
        "compression.type": "lz4",
        "security.protocol": config.security_protocol,
        "sasl.mechanism": config.sasl_mechanism,
        "sasl.username": config.sasl_username,
        "sasl.password": config.sasl_password.reveal() if config.sasl_password else None,
        "ssl.ca.location": config.ca_location,
    }
    try:
        quiet = logging.getLogger("confluent_kafka")
        quiet.setLevel(logging.CRITICAL)  # it tells of each try to connect; we of each change
        return Producer({name: value for name, value in given.items() if value is not None}, logger=quiet)
    except (KafkaException, TypeError, ValueError) as error:
        why = type(error).__name__
        raise ConfigError(f"sinks.kafka: librdkafka does not take this configuration ({why})") from None
