"""Alert rules that an org makes itself, and when the key of a login was last shown again."""

from __future__ import annotations

from piccolo.table import Table

from asahi_piccolo.migrations.columns import (
    fact,
    key,
    maybe_moment,
    maybe_word,
    moment,
    number,
    real,
    word,
)

ID = "0006"


class AlertRules(Table, tablename="alert_rules"):
    """When an org wants to be told."""

    id = key()
    created_at = moment()
    rule_id = word(26, unique=True)
    org_id = word(index=True)
    name = word(80)
    metric = word(40)
    scope = word(8)
    subject = word()
    direction = word(8)
    threshold = real()
    window_min = number()
    for_min = number()
    severity = word(10)
    min_requests = number()
    enabled = fact()
    version = number()
    updated_at = moment()
    updated_by = maybe_word()


CREATES = (AlertRules,)
ADDS = {"logins": {"confirmed_at": maybe_moment()}}
INDEXES = ()
