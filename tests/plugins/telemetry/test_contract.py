"""The sinks of asahi-telemetry keep the contract of sinks."""

from shutil import rmtree
from typing import Any, ClassVar

import pytest

from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.gateway import Gateway
from asahi_kernel.settings import Api, Settings
from asahi_kernel.testing.contracts import SinkContract
from asahi_kernel.testing.samples import event
from asahi_telemetry import register_sinks
from asahi_telemetry.config import PrometheusConfig

pytestmark = pytest.mark.anyio

PROMETHEUS, TRACES, METERS, SENTRY, KAFKA, JSONL = register_sinks()


class TestPrometheus(SinkContract):
    factory = PROMETHEUS


class TestTraces(SinkContract):
    factory = TRACES


class TestMeters(SinkContract):
    factory = METERS


class TestSentry(SinkContract):
    factory = SENTRY


class TestKafka(SinkContract):
    factory = KAFKA
    config: ClassVar[dict[str, Any]] = {"bootstrap_servers": "127.0.0.1:9", "timeout_s": 0.5}

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)


class TestJSONL(SinkContract):
    factory = JSONL

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)


async def test_a_full_disk_at_the_end_stops_nothing(tmp_path, caplog):
    gateway = Gateway(Settings(profile="development", api=Api(workers=2)))
    gateway.storage = MemoryStorage(10)
    async with PROMETHEUS.open(PrometheusConfig(dir=str(tmp_path / "metrics")), gateway) as sink:
        await sink.write([event()])
        rmtree(tmp_path / "metrics")
    assert "the last counts could not be written" in caplog.text
