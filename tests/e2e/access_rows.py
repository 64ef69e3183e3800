"""Every route of the application with all plugins, and who may call it. A route without a row fails the build.

`operator` routes are for the operator's admins alone: others get 403, and 404 where they name another org. `foreign`
says what stands for a path parameter when the object is another tenant's; `query` is what a route asks less with;
`confirm` routes want the key of a login shown again.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    permission: str
    operator: bool = False
    foreign: str | None = None
    query: str = ""
    #: Whether a login must have had its key shown a moment ago.
    confirm: bool = False


ROWS: dict[tuple[str, str], Row] = {
    ("POST", "/infer"): Row("infer"),
    ("POST", "/v1/chat/completions"): Row("infer"),
    ("POST", "/v1/messages"): Row("infer"),
    ("POST", "/v1/responses"): Row("infer"),
    ("POST", "/v1/embeddings"): Row("infer"),
    ("POST", "/v1/messages/count_tokens"): Row("infer"),
    ("POST", "/feedback"): Row("infer"),
    ("GET", "/explain/{request_id:str}"): Row("infer", foreign="request"),
    ("GET", "/models"): Row("view_metrics"),
    ("GET", "/v1/models"): Row("infer"),
    ("GET", "/v1/models/{name:path}"): Row("infer"),
    ("GET", "/metrics"): Row("view_metrics"),
    ("GET", "/cache/stats"): Row("view_metrics"),
    ("GET", "/cache/entries"): Row("manage_policy"),
    ("GET", "/cache/export"): Row("manage_policy"),
    ("DELETE", "/cache/clear"): Row("manage_policy"),
    ("DELETE", "/cache/expired"): Row("manage_policy"),
    ("DELETE", "/cache/entries/{entry_id:str}"): Row("manage_policy", foreign="entry"),
    ("GET", "/governance/api-keys"): Row("infer"),
    ("POST", "/governance/api-keys"): Row("manage_users", confirm=True),
    ("GET", "/governance/api-keys/{key_id:str}"): Row("infer", foreign="key"),
    ("DELETE", "/governance/api-keys/{key_id:str}"): Row("infer", foreign="key", confirm=True),
    ("POST", "/governance/api-keys/{key_id:str}/rotate"): Row("infer", foreign="key", confirm=True),
    ("GET", "/governance/tenants"): Row("manage_users", operator=True),
    ("POST", "/governance/tenants"): Row("manage_users", operator=True, confirm=True),
    ("GET", "/governance/tenants/{org:str}"): Row("view_metrics", foreign="org"),
    ("PATCH", "/governance/tenants/{org:str}"): Row("manage_users", operator=True, foreign="org", confirm=True),
    ("DELETE", "/governance/tenants/{org:str}"): Row("manage_users", operator=True, foreign="org", confirm=True),
    ("GET", "/governance/data-export"): Row("manage_users", confirm=True),
    ("POST", "/governance/erasure"): Row("manage_users", confirm=True),
    ("GET", "/governance/erasure/{erasure_id:str}"): Row("manage_users", foreign="erasure"),
    ("GET", "/settings"): Row("view_metrics"),
    ("PUT", "/settings"): Row("manage_policy"),
    ("GET", "/governance/audit"): Row("view_audit_log"),
    ("GET", "/governance/audit/export"): Row("view_audit_log"),
    ("GET", "/governance/audit/verify"): Row("view_audit_log"),
    ("GET", "/governance/audit/checkpoints"): Row("view_audit_log"),
    ("GET", "/governance/budgets"): Row("view_cost"),
    ("POST", "/governance/budgets"): Row("manage_billing", confirm=True),
    ("DELETE", "/governance/budgets/{budget_id:str}"): Row("manage_billing", foreign="budget", confirm=True),
    ("GET", "/governance/usage"): Row("view_cost"),
    ("GET", "/governance/policies/{org:str}"): Row("view_metrics", foreign="org"),
    ("GET", "/governance/policies/{org:str}/history"): Row("view_metrics", foreign="org"),
    ("POST", "/governance/policies/{org:str}"): Row("manage_policy", foreign="org", confirm=True),
    ("POST", "/governance/policies/{org:str}/preview"): Row("manage_policy", foreign="org"),
    ("DELETE", "/governance/policies/{org:str}"): Row("manage_policy", foreign="org", confirm=True),
    ("GET", "/governance/compliance/report"): Row("view_audit_log"),
    ("GET", "/governance/compliance/{org:str}"): Row("view_audit_log", foreign="org"),
    ("POST", "/governance/compliance/{org:str}"): Row("manage_policy", foreign="org", confirm=True),
    ("POST", "/alerts/channels/test"): Row("manage_policy"),
    ("GET", "/alerts/count"): Row("view_metrics"),
    ("GET", "/alerts/rules"): Row("view_metrics"),
    ("POST", "/alerts/rules"): Row("manage_policy"),
    ("POST", "/alerts/rules/preview"): Row("manage_policy"),
    ("PUT", "/alerts/rules/{rule_id:str}"): Row("manage_policy", foreign="rule"),
    ("DELETE", "/alerts/rules/{rule_id:str}"): Row("manage_policy", foreign="rule"),
    ("GET", "/analytics/anomalies"): Row("view_metrics"),
    ("POST", "/analytics/anomalies/{alert_id:str}/acknowledge"): Row("manage_policy", foreign="alert"),
    ("GET", "/analytics/cache-performance"): Row("view_metrics"),
    ("GET", "/analytics/cost-breakdown"): Row("view_cost"),
    ("GET", "/analytics/cost-summary"): Row("view_cost"),
    ("GET", "/analytics/forecast"): Row("view_cost"),
    ("GET", "/analytics/latency-percentiles"): Row("view_metrics"),
    ("GET", "/analytics/model-performance"): Row("view_metrics"),
    ("GET", "/analytics/prometheus"): Row("view_cost", operator=True),
    ("GET", "/analytics/recent-inferences"): Row("view_metrics"),
    ("GET", "/analytics/recommendations"): Row("view_cost"),
    ("GET", "/analytics/savings"): Row("view_cost"),
    ("GET", "/analytics/summary"): Row("view_metrics"),
    ("GET", "/analytics/trends"): Row("view_metrics", query="?metric=requests"),
    ("GET", "/auth/providers"): Row("public"),
    ("POST", "/auth/login"): Row("public"),
    ("POST", "/auth/confirm"): Row("identified"),
    ("GET", "/auth/me"): Row("identified"),
    ("POST", "/auth/logout"): Row("identified"),
    ("GET", "/auth/sessions"): Row("identified"),
    ("DELETE", "/auth/sessions"): Row("identified"),
    ("DELETE", "/auth/sessions/{session:str}"): Row("identified", foreign="session"),
    ("GET", "/health"): Row("public"),
    ("GET", "/health/live"): Row("public"),
    ("GET", "/health/ready"): Row("public"),
    ("GET", "/docs"): Row("public"),
    ("GET", "/openapi.json"): Row("public"),
}
