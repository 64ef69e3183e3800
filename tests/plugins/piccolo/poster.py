"""A process of its own that posts batches: `python -m tests.plugins.piccolo.poster URL-OR-FOLDER BATCHES SIZE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.plugins.piccolo.kit import batch, opened, post_until_taken, postgres, sqlite


async def main(place: str, batches: int, size: int) -> None:
    config = postgres(place) if place.startswith("postgresql://") else sqlite(Path(place))
    async with opened(config) as storage:
        for _ in range(batches):
            posted = batch(size)
            await post_until_taken(storage, posted)
            await post_until_taken(storage, posted)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
