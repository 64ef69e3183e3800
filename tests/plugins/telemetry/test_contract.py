"""The sinks of asahi-telemetry keep the contract of sinks."""

from asahi_kernel.testing.contracts import SinkContract
from asahi_telemetry import register_sinks

PROMETHEUS = next(each for each in register_sinks() if each.name == "prometheus")


class TestPrometheus(SinkContract):
    factory = PROMETHEUS
