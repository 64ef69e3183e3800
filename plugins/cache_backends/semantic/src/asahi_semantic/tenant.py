"""What the tier has learnt about one org: a verifier over all its tasks, and a controller for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_semantic.config import SemanticConfig
from asahi_semantic.controller import Controller, Precision
from asahi_semantic.verifier import Prior, Verifier

if TYPE_CHECKING:
    from asahi_semantic.verifier import Floats

#: The share of served hits that are answered again at first, and the hits over which it halves.
_FIRST_RECHECKS, _HALVES_IN = 0.1, 2_000


class Tenant:
    """Starts from the prior, and with nothing proven."""

    def __init__(self, prior: Prior, config: SemanticConfig) -> None:
        self._config = config
        self._bound = config.max_error_rate
        self.verifier = Verifier(prior)
        self.controllers: dict[str, Controller] = {}

    def controller(self, task: str) -> Controller:
        """The task's own."""
        found = self.controllers.get(task)
        if found is None:
            found = Controller(self._bound, basis=self._config.error_basis)
            self.controllers[task] = found
        return found

    def bind(self, bound: float) -> None:
        """Promise another bound from now on; what was learnt stays."""
        if bound != self._bound and bound > 0:
            self._bound = bound
            for controller in self.controllers.values():
                controller.rebind(bound)

    def recheck_share(self, task: str) -> float:
        """The chance that the next served hit is answered again."""
        served = self.controller(task).served
        first: float = _FIRST_RECHECKS * 0.5 ** (served / _HALVES_IN)
        return max(self._config.recheck_rate, first)

    def missed(self, task: str, row: Floats, chance: float, right: bool) -> None:
        """A candidate that was not served turned out right or wrong."""
        self.controller(task).missed(chance, right)
        self.verifier.learn(row, right)

    def audited(self, task: str, row: Floats, chance: float, right: bool, share: float) -> None:
        """A served hit turned out right or wrong; `share` is the chance that it would be found out."""
        self.controller(task).audited(chance, right, share)
        self.verifier.learn(row, right)

    def precision(self) -> list[Precision]:
        """The figures of each task."""
        return [controller.precision(task) for task, controller in sorted(self.controllers.items())]
