"""Make `table.npz`, the static int8 table of the local embedder.

    python train.py --data FOLDER --out ../src/asahi_semantic/table.npz

1. Distil: each WordPiece token is embedded by the teacher on its own, reduced to 256 numbers by PCA and weighted by
   SIF (model2vec's recipe). 2. Train: the table is moved, for some minutes, so that the mean of a text's rows points
   where the teacher's embedding of the text does, and so that texts are as near to each other as the teacher says.
3. Quantise: int8 with one scale per row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from corpus import texts
from teacher import Teacher, packaged
from torch import Tensor
from torch.nn import functional as nn

WIDTH = 256
SIF = 1e-3
_CLS, _SEP = 101, 102
_BATCH = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with intents/, routing/ and prompts/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, default=None, help="a folder with model.safetensors and tokenizer.json")
    parser.add_argument("--steps", type=int, default=800, help="beyond about 800 it forgets words that no text has")
    parser.add_argument("--keep", type=Path, default=None, help="where to keep the teacher's vectors between runs")
    arguments = parser.parse_args()
    torch.manual_seed(7)
    teacher = Teacher(arguments.teacher or packaged())
    corpus = texts(arguments.data)
    vocabulary = kept(teacher)
    print(f"{len(corpus):,} texts, {len(vocabulary):,} tokens")
    told, alone = teachings(teacher, corpus, vocabulary, arguments.keep)
    table, projection = distil(alone, vocabulary, teacher)
    bags = bags_of(teacher, corpus, vocabulary)
    table = train(table, nn.normalize(told @ projection, dim=1), bags, arguments.steps)
    save(arguments.out, table, [token for token, _ in vocabulary])


def kept(teacher: Teacher) -> list[tuple[str, int]]:
    """Tokens worth a row: not the special ones, and only of the scripts that the teacher was trained on."""
    vocabulary = sorted(teacher.tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [
        (token, number)
        for token, number in vocabulary
        if not (token.startswith("[") and token.endswith("]") and len(token) > 2)
    ]


def teachings(
    teacher: Teacher, corpus: list[str], vocabulary: list[tuple[str, int]], keep: Path | None
) -> tuple[Tensor, Tensor]:
    """What the teacher says of each text, and of each token alone."""
    if keep is not None and keep.exists():
        found = torch.load(keep)
        return found["told"], found["alone"]
    alone = teacher.embed_ids([[_CLS, number, _SEP] for _, number in vocabulary], 1024)
    told = teacher.embed(corpus)
    if keep is not None:
        torch.save({"told": told, "alone": alone}, keep)
    return told, alone


def distil(alone: Tensor, vocabulary: list[tuple[str, int]], teacher: Teacher) -> tuple[Tensor, Tensor]:
    """The first table, and the projection from the teacher's space into its own. The vocabulary is in order of
    frequency, so Zipf's law gives each token's probability."""
    centred = alone - alone.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    projection = directions[:WIDTH].T.contiguous()
    ranks = torch.arange(2, len(vocabulary) + 2, dtype=torch.float32)
    probability = 1 / ranks / (1 / ranks).sum()
    return centred @ projection * (SIF / (SIF + probability))[:, None], projection


def bags_of(teacher: Teacher, corpus: list[str], vocabulary: list[tuple[str, int]]) -> list[list[int]]:
    rows = {number: row for row, (_, number) in enumerate(vocabulary)}
    encoded = teacher.tokenizer.encode_batch(corpus, add_special_tokens=False)
    return [[rows[number] for number in each.ids if number in rows] for each in encoded]


def train(table: Tensor, targets: Tensor, bags: list[list[int]], steps: int) -> Tensor:
    """Adam on the table, held near where it came from, and on a map that all rows share, so that tokens that no text
    has move along."""
    rows = torch.nn.Parameter(table.clone())
    shared = torch.nn.Parameter(torch.eye(WIDTH))
    optimiser = torch.optim.Adam([{"params": [rows], "lr": 2e-3}, {"params": [shared], "lr": 1e-3}])
    fading = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 1e-3, steps)
    usable = [place for place, bag in enumerate(bags) if bag]
    for step in range(1, steps + 1):
        chosen = [usable[place] for place in torch.randint(len(usable), (_BATCH,)).tolist()]
        flat = torch.tensor([row for place in chosen for row in bags[place]])
        starts = torch.tensor([0, *(len(bags[place]) for place in chosen[:-1])]).cumsum(0)
        pooled = nn.embedding_bag(flat, rows, starts, mode="mean") @ shared
        made, wanted = nn.normalize(pooled, dim=1), targets[chosen]
        likeness = (made @ made.T - wanted @ wanted.T).square().mean()
        loss = (1 - (made * wanted).sum(1)).mean() + 20 * likeness + 1e-4 * (rows - table).square().sum() / len(table)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        fading.step()
        if step % 100 == 0:
            print(f"  step {step}: loss {loss.item():.4f}, likeness {likeness.item():.5f}", flush=True)
    return (rows @ shared).detach()


def save(path: Path, table: Tensor, tokens: list[str]) -> None:
    """int8 with one scale per row; no compression, so that loading is a read."""
    values = table.numpy()
    scale = np.abs(values).max(axis=1) / 127
    scale[scale == 0] = 1
    rows = np.rint(values / scale[:, None]).astype(np.int8)
    scale = (scale / scale.mean()).astype(np.float32)
    words = np.frombuffer("\n".join(tokens).encode(), np.uint8)
    np.savez(path, rows=rows, scale=scale, words=words)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
