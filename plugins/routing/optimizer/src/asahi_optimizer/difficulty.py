"""The difficulty of a request by `rules-1`: a sum of what can be seen from outside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asahi_kernel import Findings
from asahi_optimizer.tasks import Detection, Passage, detect, read

if TYPE_CHECKING:
    from asahi_kernel.types import Difficulty, Request

PREDICTOR = "rules-1"
MEDIUM, HARD = 0.35, 0.70
#: Slash and asterisk are left out: in prose they are links and emphasis.
_SYMBOLS = re.compile(r"[=+^<>√∑∫π±×÷≤≥≠≈∞∂∇∈∀∃→\\]")
_SHORT = frozenset({"faq", "classification"})


def find(request: Request, tokens: int) -> Findings:
    """Task and difficulty of a request of so many input tokens."""
    passage = read(request)
    detection = detect(request, passage)
    score = rate(passage, detection, tokens)
    return Findings(
        task=detection.task,
        confidence=detection.confidence,
        matches=detection.matches,
        score=score,
        difficulty=bucket(score),
        predictor=PREDICTOR,
    )


def rate(passage: Passage, detection: Detection, tokens: int) -> float:
    """0..1, rounded to four digits."""
    text = passage.text
    score = 0.20
    if "reasoning" in passage.matches:
        score += 0.25
    if "coding" in passage.matches:
        score += 0.20
    score += 0.15 * min(1.0, tokens / 1_500)
    score += 0.10 * min(1.0, passage.constraints / 5)
    if len(_SYMBOLS.findall(text)) >= 3:
        score += 0.15
    if text.count("?") >= 2:
        score += 0.10
    if tokens < 20 and detection.task in _SHORT:
        score -= 0.15
    return round(max(0.0, min(1.0, score)), 4)


def bucket(score: float) -> Difficulty:
    """`easy` below 0.35, `hard` from 0.70."""
    if score < MEDIUM:
        return "easy"
    return "medium" if score < HARD else "hard"
