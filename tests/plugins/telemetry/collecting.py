"""A collector of OpenTelemetry on loopback, which keeps what it is sent, or refuses it."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector(ThreadingHTTPServer):
    """Takes OTLP messages, as a real collector does; `bodies` are their paths and words."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Taking)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.bodies = []
        self.status = 200

    @property
    def spans(self):
        messages = [ExportTraceServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/traces"]
        scopes = [scope for each in messages for whole in each.resource_spans for scope in whole.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    @property
    def metrics(self):
        """Each resource's attributes with its metrics, in the order they came."""
        messages = [ExportMetricsServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/metrics"]
        wholes = [whole for each in messages for whole in each.resource_metrics]
        return [(told(whole.resource), [m for scope in whole.scope_metrics for m in scope.metrics]) for whole in wholes]


class Taking(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.status == 200:
            self.server.bodies.append((self.path, body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


@contextmanager
def collecting():
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        yield collector
        collector.shutdown()


def told(span):
    """The attributes of a span, a resource or a point."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
