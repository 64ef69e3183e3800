"""Events reach Kafka at least once, over outages and restarts, and no request waits for it."""

import asyncio
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import date

import pytest
from tests.kernel.kit import ask, gateway_of
from tests.plugins.telemetry.brokering import brokering

from asahi_kernel.errors import ConfigError
from asahi_kernel.gateway import Gateway
from asahi_kernel.settings import Settings
from asahi_kernel.testing.samples import event
from asahi_telemetry.config import JSONLConfig, KafkaConfig
from asahi_telemetry.jsonl import Files
from asahi_telemetry.jsonl import opened as opened_jsonl
from asahi_telemetry.kafka import Stream, opened
from asahi_telemetry.spool import Spool, line_of

pytestmark = pytest.mark.anyio
NOWHERE = "127.0.0.1:9"


@pytest.fixture(scope="module")
def broker():
    with brokering() as running:
        yield running


@asynccontextmanager
async def streaming(folder, address, **fields):
    """The sink alone, with its gateway."""
    gateway = Gateway(Settings(profile="development"))
    config = KafkaConfig(bootstrap_servers=address, dir=str(folder), **({"timeout_s": 1.0} | fields))
    async with opened(config, gateway) as sink:
        yield sink, gateway


def ids(messages):
    return [dict(each.headers())["id"].decode() for each in messages]


def held(folder):
    return sum(path.stat().st_size for path in folder.glob("*.jsonl"))


async def test_every_request_is_a_message_with_its_id_and_no_word_of_it(tmp_path, broker):
    tree = {"sinks": {"kafka": {"bootstrap_servers": broker.address, "dir": str(tmp_path)}}}
    async with gateway_of(tree) as gateway:
        answers = [await ask(gateway) for _ in range(5)]
        await gateway.journal.flush()
        for _ in range(100):
            await asyncio.sleep(0.05)
            if not held(tmp_path):
                break
        assert gateway.faults["kafka.unsent"] == 0
    wanted = {each.request_id for each in answers}
    messages = [each for each in await asyncio.to_thread(broker.read, 5) if ids([each])[0] in wanted]
    assert sorted(ids(messages)) == sorted(wanted)
    for message in messages:
        told = json.loads(message.value())
        assert (told["id"], told["schema"]) == (told["event"]["request_id"], 1)
        assert (message.key(), told["event"]["org_id"]) == (b"here", "here")
        assert b"capital of France" not in message.value()


async def test_a_frozen_broker_holds_up_nobody_and_gets_everything_when_it_is_back(tmp_path, caplog):
    with brokering() as broker:
        async with streaming(tmp_path, broker.address) as (sink, gateway):
            sent = [event() for _ in range(60)]
            await sink.write(sent[:20])
            await asyncio.sleep(0.6)
            broker.freeze()
            begun = time.perf_counter()
            for each in sent[20:]:
                await sink.write([each])
            assert time.perf_counter() - begun < 2
            for _ in range(100):
                await asyncio.sleep(0.1)
                if gateway.faults["kafka.unsent"] >= 2:
                    break
            assert gateway.faults["kafka.unsent"] >= 2
            assert held(tmp_path) > 0
            broker.thaw()
            for _ in range(150):
                await asyncio.sleep(0.1)
                if not held(tmp_path):
                    break
            assert gateway.faults["kafka.dropped"] == 0
        found = ids(await asyncio.to_thread(broker.read, 60))
    assert set(found) == {each.request_id for each in sent}
    assert [each.getMessage() for each in caplog.records if each.name == "asahi_telemetry.kafka"] == [
        "events do not reach kafka",
        "events reach kafka again",
    ]


async def test_what_a_dead_broker_did_not_take_is_there_after_a_restart(tmp_path, broker):
    sent = [event() for _ in range(10)]
    begun = time.monotonic()
    async with streaming(tmp_path, NOWHERE) as (sink, _):
        await sink.write(sent)
    assert time.monotonic() - begun < 8, "a dead broker holds up no end"
    async with streaming(tmp_path, broker.address):
        for _ in range(100):
            await asyncio.sleep(0.05)
            if not held(tmp_path):
                break
    found = ids(await asyncio.to_thread(broker.read, 15))
    assert {each.request_id for each in sent} <= set(found)
    assert list(tmp_path.glob("*.jsonl")) == list(tmp_path.glob("*.live")) == []


async def test_a_full_spool_drops_and_counts(tmp_path):
    async with streaming(tmp_path, NOWHERE, max_spool_bytes=1 << 16) as (sink, gateway):
        for _ in range(40):
            await sink.write([event() for _ in range(10)])
        dropped = gateway.faults["kafka.dropped"]
        kept = sum(len(path.read_bytes().splitlines()) for path in tmp_path.glob("*.jsonl"))
        assert dropped > 0
        assert kept + dropped == 400
        assert held(tmp_path) <= 1 << 16


async def test_what_the_broker_will_never_take_keeps_nothing_back(tmp_path, broker):
    monster, last = event(tags={"x": "y" * 2_000_000}), event()
    async with streaming(tmp_path, broker.address) as (sink, gateway):
        await sink.write([monster])
        await sink.write([last])
        for _ in range(100):
            await asyncio.sleep(0.05)
            if not held(tmp_path):
                break
        assert gateway.faults["kafka.refused"] == 1
    found = ids(await asyncio.to_thread(broker.read, 99, 1.5))
    assert last.request_id in found
    assert monster.request_id not in found


class Slow:
    """A producer whose broker acknowledges a little later; `taken` is what it has."""

    def __init__(self):
        self.taken, self._waiting = [], []

    def produce(self, topic, line, key, on_delivery, headers):
        self._waiting.append((line, on_delivery))

    def poll(self, seconds):
        time.sleep(seconds)
        waiting, self._waiting = self._waiting, []
        for line, heard in waiting:
            self.taken.append(line)
            heard(None, None)


def test_two_that_send_at_once_delete_only_what_arrived(tmp_path):
    """As where the task that sends is cancelled at the end, and its thread goes on."""
    spool, producer, sent = spool_of(tmp_path), Slow(), lines(20)
    stream = Stream(KafkaConfig(bootstrap_servers=NOWHERE), Gateway(Settings(profile="development")), spool, producer)
    for number in range(0, 20, 2):
        spool.append(sent[number : number + 2])
        spool._end()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: stream._send(), range(3))) == [True] * 3
    assert set(producer.taken) == set(sent)
    assert held(tmp_path) == 0


def spool_of(folder, most=1 << 20):
    spool = Spool(folder, most)
    spool.open("dir")
    return spool


def killed(spool):
    """As a process that died leaves it."""
    os.close(spool._lock)


def lines(count):
    return [line_of(event()) for _ in range(count)]


def test_the_dead_are_taken_over_once_and_the_living_are_not(tmp_path):
    first, second, sent = spool_of(tmp_path), spool_of(tmp_path), lines(3)
    first.append(sent)
    second.adopt()
    assert second.oldest() is None, "the first one lives"
    killed(first)
    second.adopt()
    third = spool_of(tmp_path)
    assert second.oldest()[1] == sent
    assert third.oldest() is None
    assert second.size == sum(len(each) + 1 for each in sent)
    second.done()
    assert (second.oldest(), second.size) == (None, 0)


def test_a_line_that_a_crash_cut_off_is_none(tmp_path):
    first, sent = spool_of(tmp_path), lines(2)
    first.append(sent)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    killed(first)
    assert spool_of(tmp_path).oldest()[1] == sent[:1]


def test_a_segment_stays_until_all_of_it_arrived(tmp_path):
    spool, sent = spool_of(tmp_path), lines(4)
    spool.append(sent[:2])
    assert spool.oldest()[1] == sent[:2]
    spool.append(sent[2:])
    assert spool.oldest()[1] == sent[:2], "it was not told that they arrived"
    spool.done()
    assert spool.oldest()[1] == sent[2:]


def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"sinks\.kafka\.dir"):
        Spool(tmp_path / "file" / "x", 1).open("sinks.kafka.dir")


async def test_without_the_sdk_the_start_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigError, match=r"pip install asahi-telemetry\[kafka\]"):
        async with streaming(tmp_path, NOWHERE):
            pass


async def test_what_librdkafka_does_not_take_stops_the_start_without_the_password(tmp_path):
    from asahi_kernel import Secret

    with pytest.raises(ConfigError, match="does not take this") as raised:
        async with streaming(
            tmp_path, NOWHERE, security_protocol="ssl", ca_location="/nowhere", sasl_password=Secret("hunter22-canary")
        ):
            pass
    assert "canary" not in str(raised.value)


async def test_files_of_lines_are_one_a_day_and_the_old_ones_go(tmp_path):
    for name in ("events-2020-01-01-aa.jsonl", "events-2999-01-01-bb.jsonl", "mine.jsonl"):
        (tmp_path / name).write_text("")
    sent = [event() for _ in range(3)]
    async with opened_jsonl(JSONLConfig(dir=str(tmp_path)), Gateway(Settings(profile="development"))) as files:
        await files.write(sent[:2])
        await files.write(sent[2:])
    (path,) = [each for each in tmp_path.glob("events-*") if each.stat().st_size]
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [each.request_id for each in sent]
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "events-2999-01-01-bb.jsonl", "mine.jsonl"}
    assert path.stat().st_mode & 0o077 == 0


def test_a_folder_for_files_that_cannot_be_written_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"sinks\.jsonl\.dir"):
        Files(tmp_path / "file" / "x", 1).open()


async def test_two_threads_turn_the_page_of_a_day_once(tmp_path, monkeypatch):
    files = Files(tmp_path, 30)
    files.open()
    turn = files._turn

    def slowly(today):
        time.sleep(0.05)
        turn(today)

    monkeypatch.setattr(files, "_turn", slowly)
    files._day = date(2020, 1, 1)
    await asyncio.gather(*[asyncio.to_thread(files._append, b"%d\n" % number) for number in range(8)])
    files.close()
    (path,) = tmp_path.iterdir()
    assert sorted(path.read_bytes().split()) == [b"%d" % number for number in range(8)]
