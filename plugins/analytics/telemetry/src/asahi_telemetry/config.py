"""What the sinks of this package are told."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from asahi_kernel import Config, Secret


class PrometheusConfig(Config, frozen=True):
    """`dir` is where the workers of one host share what they counted; None means `metrics` beside the journal. Each
    writes every `interval_s`."""

    dir: str | None = None
    interval_s: Annotated[float, Meta(gt=0, le=10)] = 0.5


class MailConfig(Config, frozen=True):
    """Mail to the addresses that orgs name for their alerts. `smtp_url` holds a password, so it prints as a secret;
    `security` None means TLS from the beginning for `smtps`, else STARTTLS, without which nothing is sent."""

    smtp_url: Secret
    sender: str
    security: Literal["starttls", "tls", "none"] | None = None
    interval_s: Annotated[float, Meta(gt=0, le=3_600)] = 15.0
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 20.0
    per_hour: Annotated[int, Meta(ge=1, le=1_000)] = 10
    dashboard_url: str = ""


class MetersConfig(Config, frozen=True):
    """`timeout_s` is how long the collector may take for one message, all tries together."""

    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0


class SentryConfig(Config, frozen=True):
    """`timeout_s` is how long the last messages may take when the gateway ends."""

    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 2.0


class KafkaConfig(Config, frozen=True):
    """Events to a topic. `dir` is where they wait, at most `max_spool_bytes` of a process; None means `kafka` beside
    the journal."""

    bootstrap_servers: str
    topic: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$")] = "asahi_inference_events"
    dir: str | None = None
    max_spool_bytes: Annotated[int, Meta(ge=1 << 16)] = 256 << 20
    timeout_s: Annotated[float, Meta(gt=0, le=300)] = 10.0
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: Secret | None = None
    ca_location: str | None = None


class JSONLConfig(Config, frozen=True):
    """Events to files in `dir`, one a day and process, for `keep_days`."""

    dir: str = "data/logs"
    keep_days: Annotated[int, Meta(ge=1, le=3_650)] = 30


class TracesConfig(Config, frozen=True):
    """`max_queue` is how many requests may wait for the collector; traces of more are dropped and counted."""

    max_queue: Annotated[int, Meta(ge=1)] = 10_000
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
