"""The semantic cache on streams whose truth is known: how much it serves, and how often wrongly."""

import os

# As `asahi serve` has it, and before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
