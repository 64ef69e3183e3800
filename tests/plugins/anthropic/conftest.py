"""The tests of this folder are about one vendor."""

import pytest
from tests.plugins.vendors import ANTHROPIC, Vendor


@pytest.fixture
def vendor() -> Vendor:
    return ANTHROPIC
