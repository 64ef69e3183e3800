"""The sinks of asahi-telemetry keep the contract of sinks."""

from asahi_kernel.testing.contracts import SinkContract
from asahi_telemetry import register_sinks

PROMETHEUS, TRACES = register_sinks()


class TestPrometheus(SinkContract):
    factory = PROMETHEUS


class TestTraces(SinkContract):
    factory = TRACES
