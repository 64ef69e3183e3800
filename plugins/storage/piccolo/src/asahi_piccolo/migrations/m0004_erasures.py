"""Orders to erase, and hashes by which an audit entry still verifies once its actor is erased."""

from __future__ import annotations

from piccolo.table import Table

from asahi_piccolo.migrations.columns import (
    document,
    fact,
    key,
    maybe_moment,
    maybe_number,
    maybe_sealed,
    maybe_word,
    moment,
    word,
)

ID = "0004"


class Erasures(Table, tablename="erasures"):
    """Who is to be forgotten, and what came of it."""

    id = key()
    created_at = moment()
    erasure_id = word(26, unique=True)
    org_id = word(index=True)
    requested_at = moment()
    state = word(8)
    whole_org = fact()
    subject = maybe_sealed()
    started_at = maybe_moment()
    completed_at = maybe_moment()
    residues = maybe_number()
    counts = document("{}")


CREATES = (Erasures,)
ADDS = {
    "audit_entries": {
        "actor_salt": maybe_word(32),
        "actor_hash": maybe_word(64),
        "resource_salt": maybe_word(32),
        "resource_hash": maybe_word(64),
    }
}
INDEXES = ("CREATE INDEX erasures_state ON erasures (state)",)
