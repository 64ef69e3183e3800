"""Each policy and rule of asahi-guard passes the contract of its kind."""

import pytest
from tests.plugins.guard.kit import asking

from asahi_guard.opening import POLICIES, RULES
from asahi_kernel.builtins.memory_storage import MemoryStorage
from asahi_kernel.gateway import Gateway
from asahi_kernel.registry import Registry
from asahi_kernel.settings import DefaultPolicy, Settings
from asahi_kernel.standing import Standings
from asahi_kernel.testing import ASK, MODEL, PolicyContract, RuleContract
from asahi_kernel.vault import ephemeral


class Ready:
    """With what a gateway has by the time that policies and rules are asked."""

    @pytest.fixture
    def gateway(self):
        gateway = Gateway(Settings(profile="development"))
        gateway.vault, gateway.storage = ephemeral(), MemoryStorage(1_000)
        gateway.standings = Standings(gateway.storage, DefaultPolicy(blocked_models=("blocked",)))
        gateway.registry = Registry((MODEL,), {}, None)
        return gateway

    @pytest.fixture(autouse=True)
    def chosen(self, factory):
        type(self).factory = factory
        type(self).refused = (asking("x", model="blocked"),) if factory.name == "models" else ()


@pytest.mark.parametrize("factory", POLICIES, ids=lambda factory: factory.name)
class TestPolicies(Ready, PolicyContract):
    pass


@pytest.mark.parametrize("factory", RULES, ids=lambda factory: factory.name)
class TestRules(Ready, RuleContract):
    requests = (ASK, asking("another", model="model-a"))
