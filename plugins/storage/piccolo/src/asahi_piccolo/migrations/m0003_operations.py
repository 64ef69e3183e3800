"""Bodies, labels, feedback, alerts, jobs, agents: what the other plugins keep."""

from __future__ import annotations

from piccolo.table import Table

from asahi_piccolo.migrations.columns import (
    big,
    document,
    fact,
    key,
    maybe_fact,
    maybe_moment,
    maybe_real,
    maybe_sealed,
    maybe_text,
    maybe_word,
    moment,
    number,
    real,
    text,
    word,
)

ID = "0003"


class EventBodies(Table, tablename="event_bodies"):
    """Prompts and answers, where they may be kept."""

    id = key()
    created_at = moment()
    request_id = word(26, unique=True)
    org_id = word(index=True)
    subject = word(300)
    request = maybe_sealed()
    response = maybe_sealed()
    expires_at = moment(index=True)


class SemanticEntries(Table, tablename="semantic_entries"):
    """Answers of the semantic cache."""

    id = key()
    created_at = moment()
    entry_id = word(26, unique=True)
    org_id = word(index=True)
    user_id = maybe_word()
    namespace = word(160)
    query = maybe_sealed()
    answer = maybe_sealed()
    guard_hash = word(64)
    model = word(100)
    provider = word(50)
    quality = maybe_real()
    usage = document()
    task_type = word(100)
    hits = number()
    policy_version = number()
    expires_at = moment(index=True)


class SemanticLabels(Table, tablename="semantic_labels"):
    """Whether a near neighbour was the right answer."""

    id = key()
    created_at = moment()
    entry_id = word(26)
    org_id = word()
    similarity = real()
    correct = fact()
    source = word(10)
    request_id = maybe_word(26)
    timestamp = moment()


class QualityObservations(Table, tablename="quality_observations"):
    """Judgements of past answers."""

    id = key()
    created_at = moment()
    org_id = word()
    request_id = word(26)
    user_id = maybe_word()
    model = word(100)
    task_type = word(100)
    difficulty = maybe_word(10)
    score = real()
    weight = real()
    source = word(10)
    timestamp = moment()


class Feedback(Table, tablename="feedback"):
    """What a user thought of an answer."""

    id = key()
    created_at = moment()
    org_id = word()
    request_id = word(26)
    user_id = word()
    rating = maybe_real()
    thumb = maybe_word(4)
    cache_wrong = maybe_fact()
    comment = maybe_sealed()
    timestamp = moment()


class Alerts(Table, tablename="alerts"):
    """Anomalies and exhausted budgets."""

    id = key()
    created_at = moment()
    alert_id = word(26, unique=True)
    org_id = word()
    anomaly_type = word(40)
    severity = word(10)
    metric_name = word(100)
    current_value = real()
    expected_value = real()
    deviation_pct = maybe_real()
    message = text()
    detected_at = moment()
    resolved_at = maybe_moment()
    acknowledged_by = maybe_word()
    acknowledged_at = maybe_moment()


class Jobs(Table, tablename="jobs"):
    """Requests that are answered later."""

    id = key()
    created_at = moment()
    request_id = word(26, unique=True)
    org_id = word(index=True)
    key_id = maybe_word(16)
    state = word(12)
    deadline = moment()
    provider_batch_id = maybe_word()
    request = maybe_sealed()
    response = maybe_sealed()
    error = maybe_text()


class AgentStates(Table, tablename="agent_states"):
    """Where each agent of a workflow stands."""

    id = key()
    created_at = moment()
    agent_id = word()
    org_id = word()
    workflow_id = word()
    agent_type = word(100)
    status = word(12)
    outputs_produced = document("[]")
    inputs_consumed = document("[]")
    total_tokens_used = big()
    total_cost_nano = big()
    started_at = maybe_moment()
    completed_at = maybe_moment()


class AgentOutputs(Table, tablename="agent_outputs"):
    """What agents produced, for other agents."""

    id = key()
    created_at = moment()
    cache_id = word(26, unique=True)
    org_id = word()
    workflow_id = word()
    agent_id = word()
    agent_type = word(100)
    task_type = word(100)
    input_query = maybe_sealed()
    output = maybe_sealed()
    context_summary = maybe_sealed()
    compressed_output = maybe_sealed()
    token_count = number()
    hit_count = number()
    expires_at = moment(index=True)


class SwarmRuns(Table, tablename="swarm_runs"):
    """Workflows."""

    id = key()
    created_at = moment()
    workflow_id = word()
    org_id = word()
    definition = document()
    status = word(12)
    results = document()
    total_cost_nano = big()
    total_tokens = big()
    cache_hits = number()
    cache_misses = number()
    elapsed_ms = real()
    started_at = maybe_moment()
    completed_at = maybe_moment()


class AgentProfiles(Table, tablename="agent_profiles"):
    """How an org wants its agents."""

    id = key()
    created_at = moment()
    org_id = word()
    agent_type = word(100)
    body = document()
    version = number(1)


CREATES = (
    EventBodies,
    SemanticEntries,
    SemanticLabels,
    QualityObservations,
    Feedback,
    Alerts,
    Jobs,
    AgentStates,
    AgentOutputs,
    SwarmRuns,
    AgentProfiles,
)
INDEXES = (
    "CREATE UNIQUE INDEX feedback_one_each ON feedback (org_id, request_id, user_id)",
    "CREATE UNIQUE INDEX agent_states_agent ON agent_states (org_id, workflow_id, agent_id)",
    "CREATE UNIQUE INDEX swarm_runs_run ON swarm_runs (org_id, workflow_id)",
    "CREATE UNIQUE INDEX agent_profiles_profile ON agent_profiles (org_id, agent_type)",
    "CREATE INDEX semantic_labels_org_entry ON semantic_labels (org_id, entry_id)",
    "CREATE INDEX quality_observations_cell ON quality_observations (model, task_type, difficulty)",
    "CREATE INDEX quality_observations_org ON quality_observations (org_id, timestamp)",
    "CREATE INDEX feedback_org ON feedback (org_id, request_id)",
    "CREATE INDEX alerts_org_time ON alerts (org_id, detected_at)",
    "CREATE INDEX jobs_state_deadline ON jobs (state, deadline)",
    "CREATE INDEX agent_outputs_workflow ON agent_outputs (org_id, workflow_id)",
    "CREATE INDEX agent_outputs_type ON agent_outputs (org_id, agent_type)",
)
