"""A1 and A2 in small: `make chaos-ledger` and `make chaos-outage` do the same at full size."""

import pytest
from tests.chaos import ledger, outage

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_killed_gateway_loses_and_doubles_nothing(engine, tmp_path):
    """A1, ST-3."""
    found = await ledger.run(engine, 2, 200, 7, tmp_path, tell=False)
    assert found.good, ledger.report(found, engine, 2, 200)
    assert found.unknown > 0
    assert found.billed > found.unknown


async def test_a_frozen_database_stops_nobody_and_loses_nothing(tmp_path):
    """A2, D3, ST-4."""
    found = await outage.run(4, 30, 7, tmp_path)
    assert found.good, outage.told(found, 4, 30)
    assert found.asked > 150
