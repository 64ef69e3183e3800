"""Precision: how often the semantic cache was wrong, as it is told to its org."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from asahi_semantic.controller import Precision, State, wilson

if TYPE_CHECKING:
    from asahi_semantic.parts import Parts

ASSUMES = "labels are what the judge said, and traffic stays like the labelled traffic"


def told(tasks: Sequence[Precision], bound: float, parts: Parts) -> Mapping[str, Any]:
    """Over all tasks and each by itself. The interval is the 95 % one of the labelled hits; one breached task is told
    as breached."""
    labelled, wrong = sum(task.labelled_hits for task in tasks), sum(task.false_hits for task in tasks)
    low, high = wilson(wrong, labelled)
    return {
        "served": sum(task.served for task in tasks),
        "labels": sum(task.labels for task in tasks),
        "labelled_hits": labelled,
        "false_hits": wrong,
        "false_hit_rate": wrong / labelled if labelled else None,
        "interval": [low, high] if labelled else None,
        "state": state_of(tasks),
        "max_error_rate": bound,
        "tasks": [msgspec.to_builtins(task) for task in tasks],
        "embedder": parts.name,
        "vector_store": parts.store_name,
        "assumptions": ASSUMES,
    }


def state_of(tasks: Sequence[Precision]) -> State:
    """The worst of all tasks, but one that is still unknown says nothing about the others."""
    states = {task.state for task in tasks}
    return "breached" if "breached" in states else "within" if "within" in states else "uncalibrated"
