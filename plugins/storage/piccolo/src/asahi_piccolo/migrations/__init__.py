"""The migrations, in order. Each says which tables it creates and which indexes; what has run is never changed.

A later one that adds columns lists them in `ADDS`: table → column name → column. Statements in `FILLS` run at its
end, those in `EMPTIES` when it is undone, and those in `DROPS` before that.
"""

from __future__ import annotations

from types import ModuleType

from asahi_piccolo.migrations import (
    m0001_books,
    m0002_governance,
    m0003_operations,
    m0004_erasures,
    m0005_coarse,
    m0006_alert_rules,
    m0007_subjects,
)

ALL: tuple[ModuleType, ...] = (
    m0001_books,
    m0002_governance,
    m0003_operations,
    m0004_erasures,
    m0005_coarse,
    m0006_alert_rules,
    m0007_subjects,
)
