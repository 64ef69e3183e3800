"""Keys, policies, budgets, the audit log: what the governance plugins keep."""

from __future__ import annotations

from piccolo.table import Table

from asahi_piccolo.migrations.columns import (
    big,
    document,
    fact,
    key,
    maybe_big,
    maybe_document,
    maybe_moment,
    maybe_number,
    maybe_real,
    maybe_sealed,
    maybe_text,
    maybe_word,
    moment,
    number,
    sealed,
    small,
    text,
    word,
)

ID = "0002"


class ApiKeys(Table, tablename="api_keys"):
    """Keys as HMAC, never themselves."""

    id = key()
    created_at = moment()
    key_id = word(16, unique=True)
    key_hash = word()
    pepper_version = small()
    name = word(100)
    user_id = word()
    org_id = word()
    role = word(20)
    scopes = document("[]")
    may_act_for_users = fact()
    expires_at = moment()
    revoked = fact()
    revoked_at = maybe_moment()
    revoked_by = maybe_word()
    rotated_from = maybe_word(16)
    last_used_at = maybe_moment()


class AuditEntries(Table, tablename="audit_entries"):
    """One hash chain for each org."""

    id = key()
    created_at = moment()
    entry_id = word(32, unique=True)
    seq = big()
    timestamp = moment(index=True)
    org_id = word()
    user_id = word()
    action = word(100)
    resource = word()
    details = document()
    details_hash = word(64)
    ip_address = maybe_word(45)
    user_agent = maybe_text()
    result = word(20)
    data_classification = word(20)
    prev_hash = word(64)
    entry_hash = word(64)


class AuditCheckpoints(Table, tablename="audit_checkpoints"):
    """Signed sizes and roots of the logs."""

    id = key()
    created_at = moment()
    org_id = word()
    log = word(8)
    size = big()
    root = word(64)
    signed_at = moment()
    key_id = word(16)
    signature = text()


class OrgPolicies(Table, tablename="org_policies"):
    """Every version of every policy; the highest is in force."""

    id = key()
    created_at = moment()
    org_id = word()
    version = number()
    deleted = fact()
    allowed_models = document("[]")
    blocked_models = document("[]")
    max_cost_per_day_nano = maybe_big()
    max_cost_per_month_nano = maybe_big()
    max_cost_per_request_nano = maybe_big()
    max_requests_per_day = maybe_number()
    max_requests_per_minute = maybe_number()
    max_tokens_per_minute = maybe_number()
    default_quality_threshold = maybe_real()
    default_latency_budget_ms = maybe_number()
    require_audit_log = fact(default=True)
    data_residency = maybe_word(4)
    injection_action = maybe_word(8)
    pii_action = maybe_word(8)
    updated_by = maybe_word()
    updated_at = moment()


class ComplianceProfiles(Table, tablename="compliance_profiles"):
    """What an org must comply with."""

    id = key()
    created_at = moment()
    org_id = word(unique=True)
    version = number(1)
    frameworks = document("[]")
    data_residency = maybe_word(4)
    encryption_required = fact()
    prompt_storage_allowed = fact(default=True)
    retention_days = number(365)
    pii_detection_enabled = fact()
    allowed_providers = maybe_document()
    updated_by = maybe_word()
    updated_at = moment()


class Tenants(Table, tablename="tenants"):
    """Organisations."""

    id = key()
    created_at = moment()
    org_id = word(unique=True)
    name = word()
    plan = word(20)
    status = word(12)
    cache_salt = sealed()
    updated_at = moment()


class OrgSettings(Table, tablename="org_settings"):
    """What an org sets for itself."""

    id = key()
    created_at = moment()
    org_id = word(unique=True)
    version = number()
    body = document()
    updated_by = maybe_word()
    updated_at = moment()


class Budgets(Table, tablename="budgets"):
    """Limits in money."""

    id = key()
    created_at = moment()
    budget_id = word(26, unique=True)
    org_id = word()
    level = word(4)
    subject = word()
    window = word(8)
    limit_nano = big()
    action = word(8)
    alert_at = document("[]")
    created_by = maybe_word()


class BudgetWindows(Table, tablename="budget_windows"):
    """What a budget has spent and holds in one window."""

    id = key()
    created_at = moment()
    budget_id = word(26)
    window_start = moment()
    spent_nano = big()
    held_nano = big()


class BudgetReservations(Table, tablename="budget_reservations"):
    """Money held for a request under way."""

    id = key()
    created_at = moment()
    request_id = word(26)
    budget_id = word(26)
    org_id = word()
    window_start = moment()
    amount_nano = big()
    lease_until = moment()
    state = word(8)


class DataKeys(Table, tablename="data_keys"):
    """Data keys of subjects, wrapped."""

    id = key()
    created_at = moment()
    subject = word(300)
    org_id = word()
    key_version = number()
    wrapped_key = maybe_sealed()
    kek_id = word(16)
    erased_at = maybe_moment()


class Logins(Table, tablename="logins"):
    """Logins of the dashboard."""

    id = key()
    created_at = moment()
    login_hash = word(64, unique=True)
    key_id = word(16, index=True)
    org_id = word()
    user_id = word()
    expires_at = moment()
    last_seen_at = moment()
    revoked = fact()


CREATES = (
    ApiKeys,
    AuditEntries,
    AuditCheckpoints,
    OrgPolicies,
    ComplianceProfiles,
    Tenants,
    OrgSettings,
    Budgets,
    BudgetWindows,
    BudgetReservations,
    DataKeys,
    Logins,
)
INDEXES = (
    "CREATE UNIQUE INDEX audit_entries_chain ON audit_entries (org_id, seq)",
    "CREATE UNIQUE INDEX audit_checkpoints_size_of_log ON audit_checkpoints (log, size)",
    "CREATE UNIQUE INDEX org_policies_version_of_org ON org_policies (org_id, version)",
    'CREATE UNIQUE INDEX budgets_scope ON budgets (org_id, level, subject, "window")',
    "CREATE UNIQUE INDEX budget_windows_window_of_budget ON budget_windows (budget_id, window_start)",
    "CREATE UNIQUE INDEX budget_reservations_hold ON budget_reservations (request_id, budget_id)",
    "CREATE UNIQUE INDEX data_keys_version_of_subject ON data_keys (subject, key_version)",
    "CREATE INDEX api_keys_org_user ON api_keys (org_id, user_id)",
    "CREATE INDEX audit_entries_org_action ON audit_entries (org_id, action)",
    "CREATE INDEX budget_reservations_lease ON budget_reservations (state, lease_until)",
    "CREATE INDEX data_keys_org ON data_keys (org_id)",
)
