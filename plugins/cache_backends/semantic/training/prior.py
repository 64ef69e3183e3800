"""Make `prior.json`: where every tenant's verifier starts, and how the local embedder's cosine maps onto the scale of
the thresholds.

    python prior.py --out ../src/asahi_semantic/prior.json

The verifier's features and labels come from the real tier, driven without serving over the halves of BANKING77 and
CLINC150 that nothing is measured on. The prior is the posterior of a ridge-penalised logistic over them, widened so
that it counts as much as `--worth` labels. The scale gives each cosine of the local embedder the teacher's cosine of
the same rank among those candidates: the thresholds were written for a full sentence encoder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[4]
OUT = Path(__file__).resolve().parents[1] / "src/asahi_semantic/prior.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--worth", type=float, default=300.0, help="how many labels the prior counts as")
    parser.add_argument("--teacher", type=Path, default=None)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if not arguments.out.exists():
        neutral(arguments.out)
    rows, labels, told = asyncio.run(observe())
    weights, covariance = fit(rows, labels, arguments.worth)
    points = scale(told, arguments.teacher)
    save(arguments.out, weights, covariance, points)
    from asahi_semantic.verifier import NAMES

    print(f"{len(labels):,} candidates, {labels.mean():.1%} right")
    for name, weight, spread in zip(NAMES, weights, np.sqrt(np.diag(covariance)), strict=True):
        print(f"  {name:<28} {weight:+.2f} ± {spread:.2f}")
    print("scale:", points)


def neutral(path: Path) -> None:
    """Something to start from: all that is needed is that the tier opens."""
    from asahi_semantic.verifier import NAMES

    save(path, np.zeros(len(NAMES)), np.eye(len(NAMES)), [(-1.0, -1.0), (1.0, 1.0)])


async def observe() -> tuple[np.ndarray, np.ndarray, list[tuple[str, str, float]]]:
    """What the tier saw of each candidate, whether it would have been right, and the two texts with their cosine."""
    from benchmarks.semantic.driving import Run
    from benchmarks.semantic.truth import intents, stream

    import asahi_semantic.tier as tier_module
    from asahi_semantic.tier import SemanticTier

    rows: list[np.ndarray] = []
    labels: list[bool] = []
    told: list[tuple[str, str, float]] = []
    tier_module._NEAR = 0.35
    learn = SemanticTier._learn_miss

    def noted(self, asked, candidate, right):  # type: ignore[no-untyped-def]
        rows.append(candidate.row)
        labels.append(right)
        told.append((asked.text, candidate.entry.text, float(candidate.row[1] / 5 + 0.8)))
        learn(self, asked, candidate, right)

    SemanticTier._learn_miss = noted  # type: ignore[method-assign]
    for name in ("banking77", "clinc150"):
        for order in range(3):
            runner = Run(order, thresholds={"faq": 1.0})
            await runner.drive(stream(intents(name, training=True), 3_000, order))
    return np.array(rows), np.array(labels, dtype=float), told


def fit(rows: np.ndarray, labels: np.ndarray, worth: float) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method; the covariance is the inverse Hessian, widened to `worth` labels."""
    weights = np.zeros(rows.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-rows @ weights))
        hessian = (rows * (chance * (1 - chance))[:, None]).T @ rows + np.eye(len(weights))
        weights += np.linalg.solve(hessian, rows.T @ (labels - chance) - weights)
    return weights, np.linalg.inv(hessian) * max(1.0, len(labels) / worth)


def scale(told: list[tuple[str, str, float]], teacher: Path | None) -> list[tuple[float, float]]:
    """The teacher's cosine of the same rank, at a dozen ranks."""
    from teacher import Teacher, packaged

    chosen = told[:: max(1, len(told) // 1_000)]
    model = Teacher(teacher or packaged())
    one, other = model.embed([a for a, _, _ in chosen]), model.embed([b for _, b, _ in chosen])
    taught = np.sort((one * other).sum(1).numpy())
    mine = np.sort([cosine for _, _, cosine in chosen])
    points = [(-1.0, -1.0)]
    for rank in (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99):
        place = int(rank * (len(mine) - 1))
        point = round(float(mine[place]), 4), round(float(taught[place]), 4)
        if point[0] > points[-1][0] and point[1] >= points[-1][1]:
            points.append(point)
    return [*points, (1.0, 1.0)]


def save(path: Path, weights: np.ndarray, covariance: np.ndarray, points: list[tuple[float, float]]) -> None:
    told = {
        "weights": [round(float(each), 5) for each in weights],
        "covariance": [[round(float(each), 6) for each in row] for row in covariance],
        "scale": points,
    }
    path.write_text(json.dumps(told) + "\n", "utf-8")


if __name__ == "__main__":
    main()
