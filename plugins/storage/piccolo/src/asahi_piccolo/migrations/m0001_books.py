"""Requests, what they were billed, their sums, their chain, and the prices that it rests on."""

from __future__ import annotations

from piccolo.table import Table

from asahi_piccolo.migrations.columns import (
    big,
    document,
    fact,
    key,
    maybe_big,
    maybe_number,
    maybe_real,
    maybe_text,
    maybe_word,
    moment,
    number,
    real,
    sealed,
    small,
    text,
    word,
)

ID = "0001"


class InferenceEvents(Table, tablename="inference_events"):
    """One row for each request."""

    id = key()
    created_at = moment()
    request_id = word(26, unique=True)
    client_request_id = maybe_word(128)
    timestamp = moment(index=True)
    org_id = word()
    user_id = maybe_word()
    key_id = maybe_word(64)
    route = word(20)
    status = word(12)
    error = maybe_word(40)
    task_type = word(100)
    difficulty = maybe_word(10)
    routing_mode = word(12)
    model_requested = maybe_word(100)
    model_selected = word(100, index=True)
    provider = word(50)
    cache_hit = fact()
    cache_tier = small()
    cache_similarity = maybe_real()
    cache_entry_id = maybe_word(26)
    input_tokens = number()
    output_tokens = number()
    total_tokens = number()
    cached_tokens = number()
    cache_write_tokens = number()
    reasoning_tokens = number()
    billed_tokens = number()
    usage_source = word(10)
    latency_ms = real()
    ttft_ms = maybe_real()
    latency_breakdown = document()
    cost_nano = maybe_big()
    baseline_cost_nano = big()
    overhead_cost_nano = big()
    saved_nano = big()
    baseline_model = maybe_word(100)
    baseline_usage = document("{}")
    price_version = maybe_word(64)
    saved_by = document()
    techniques = document("[]")
    tags = document()
    routing_reason = text()
    fallback_used = fact()
    attempts = small()
    quality_score = maybe_real()
    agent_id = maybe_word()
    agent_type = maybe_word()
    workflow_id = maybe_word()
    warnings = document("[]")


class ProviderAttempts(Table, tablename="provider_attempts"):
    """One row for each call to a provider."""

    id = key()
    created_at = moment()
    request_id = word(26, index=True)
    org_id = word()
    n = small()
    provider = word(50)
    model = word(100)
    outcome = word(40)
    http_status = maybe_number()
    latency_ms = real()
    ttft_ms = maybe_real()
    input_tokens = number()
    output_tokens = number()
    usage = document()
    cost_nano = maybe_big()
    share = number(1_000)
    billed = fact()
    hedge = fact()
    provider_request_id = word()


class Decisions(Table, tablename="decisions"):
    """Why a request was answered as it was; kept as long as its event."""

    id = key()
    created_at = moment()
    request_id = word(26, unique=True)
    org_id = word()
    timestamp = moment()
    record = document()


class UsageRollups(Table, tablename="usage_rollups"):
    """Sums by time bucket; what is absent in a dimension is the empty text."""

    id = key()
    granularity = word(6)
    bucket = moment()
    org_id = word()
    user_id = word()
    key_id = word(64)
    model = word(100)
    task_type = word(100)
    agent_type = word()
    cache_tier = small()
    requests = big()
    hits = big()
    misses = big()
    errors = big()
    unpriced = big()
    input_tokens = big()
    output_tokens = big()
    cost_nano = big()
    baseline_nano = big()
    overhead_nano = big()
    saved_nano = big()
    cache_saved_nano = big()
    latency_us = big()
    quality_milli = big()
    quality_count = big()
    saved_by = document()
    latency_sketch = document()


class SavingsLedger(Table, tablename="savings_ledger"):
    """One hash chain for each org."""

    id = key()
    created_at = moment()
    seq = big()
    request_id = word(26, unique=True)
    org_id = word()
    price_version = maybe_word(64)
    usage = document()
    cost_nano = maybe_big()
    baseline_nano = big()
    overhead_nano = big()
    saved_nano = big()
    prev_hash = word(64)
    entry_hash = word(64)


class PriceVersions(Table, tablename="price_versions"):
    """Every set of prices that was ever used."""

    id = key()
    created_at = moment()
    version = word(64, unique=True)
    effective_from = word(40)
    source = word(40)
    prices = document()


class DeadLetters(Table, tablename="dead_letters"):
    """Records that could not be stored."""

    id = key()
    created_at = moment()
    source = word(20)
    payload = sealed()
    error = text()
    attempts = small(1)
    timestamp = moment()


class IdempotencyKeys(Table, tablename="idempotency_keys"):
    """Answers by `Idempotency-Key`."""

    id = key()
    created_at = moment()
    org_id = word()
    route = word(64)
    idempotency_key = word(255)
    fingerprint = word(64)
    state = word(10)
    status = small()
    headers = document("[]")
    body = sealed()
    request_id = word(26)
    expires_at = moment(index=True)


class JournalOffsets(Table, tablename="journal_offsets"):
    """How far each journal segment is applied."""

    id = key()
    created_at = moment()
    segment = word(64, unique=True)
    applied_to = big()
    applied_at = moment()
    note = maybe_text()


CREATES = (
    InferenceEvents,
    ProviderAttempts,
    Decisions,
    UsageRollups,
    SavingsLedger,
    PriceVersions,
    DeadLetters,
    IdempotencyKeys,
    JournalOffsets,
)
INDEXES = (
    "CREATE UNIQUE INDEX usage_rollups_dimensions ON usage_rollups "
    "(org_id, granularity, bucket, user_id, key_id, model, task_type, agent_type, cache_tier)",
    "CREATE UNIQUE INDEX savings_ledger_chain ON savings_ledger (org_id, seq)",
    "CREATE UNIQUE INDEX idempotency_keys_scope ON idempotency_keys (org_id, route, idempotency_key)",
    "CREATE INDEX inference_events_org_time ON inference_events (org_id, timestamp)",
    "CREATE INDEX inference_events_org_request ON inference_events (org_id, request_id)",
    "CREATE INDEX inference_events_org_user_time ON inference_events (org_id, user_id, timestamp)",
    "CREATE INDEX inference_events_workflow ON inference_events (workflow_id)",
    "CREATE INDEX decisions_org_time ON decisions (org_id, timestamp)",
)
