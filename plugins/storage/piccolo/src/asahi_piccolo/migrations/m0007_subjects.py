"""Names of data keys, by which what they sealed is opened; and whose a job is."""

from __future__ import annotations

from asahi_piccolo.migrations.columns import maybe_word, word

ID = "0007"
CREATES = ()
ADDS = {"data_keys": {"key_name": word(32)}, "jobs": {"user_id": maybe_word()}}
INDEXES = ("CREATE INDEX data_keys_name ON data_keys (org_id, key_name)",)
DROPS = ("DROP INDEX data_keys_name",)
