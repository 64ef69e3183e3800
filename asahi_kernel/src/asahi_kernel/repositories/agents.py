"""Agents: where each stands, what they produced, their workflows, and how an org wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from asahi_kernel.repositories.records import Rows, Shape


class AgentState(Struct, frozen=True, kw_only=True):
    """Where an agent of a workflow stands; money in nUSD."""

    agent_id: str
    org_id: str
    workflow_id: str
    agent_type: str
    status: str
    created_at: datetime
    outputs_produced: tuple[str, ...] = ()
    inputs_consumed: tuple[str, ...] = ()
    total_tokens_used: int = 0
    total_cost: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None


class AgentOutput(Struct, frozen=True, kw_only=True):
    """What an agent produced, for other agents. Texts are UTF-8, and lie sealed."""

    cache_id: str
    org_id: str
    workflow_id: str
    agent_id: str
    agent_type: str
    task_type: str
    expires_at: datetime
    input_query: bytes | None = None
    output: bytes | None = None
    context_summary: bytes | None = None
    compressed_output: bytes | None = None
    token_count: int = 0
    hit_count: int = 0


class SwarmRun(Struct, frozen=True, kw_only=True):
    """A workflow; money in nUSD."""

    workflow_id: str
    org_id: str
    status: str
    created_at: datetime
    definition: Mapping[str, Any] = {}
    results: Mapping[str, Any] = {}
    total_cost: int = 0
    total_tokens: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    elapsed_ms: float = 0.0
    started_at: datetime | None = None
    completed_at: datetime | None = None


class AgentProfile(Struct, frozen=True, kw_only=True):
    """How an org wants its agents of a type."""

    org_id: str
    agent_type: str
    created_at: datetime
    body: Mapping[str, Any] = {}
    version: int = 1


STATES = Shape(
    table="agent_states",
    record=AgentState,
    identity=("org_id", "workflow_id", "agent_id"),
    order="created_at",
    money=frozenset({"total_cost"}),
)
OUTPUTS = Shape(
    table="agent_outputs",
    record=AgentOutput,
    identity=("cache_id",),
    order="cache_id",
    sealed=frozenset({"input_query", "output", "context_summary", "compressed_output"}),
)
RUNS = Shape(
    table="swarm_runs",
    record=SwarmRun,
    identity=("org_id", "workflow_id"),
    order="created_at",
    money=frozenset({"total_cost"}),
)
PROFILES = Shape(table="agent_profiles", record=AgentProfile, identity=("org_id", "agent_type"), order="created_at")


class Agents:
    """All that swarms keep."""

    def __init__(self, rows: Rows) -> None:
        self._states = rows.of(STATES)
        self._outputs = rows.of(OUTPUTS)
        self._runs = rows.of(RUNS)
        self._profiles = rows.of(PROFILES)

    async def save_state(self, state: AgentState) -> None:
        """In place of the agent's earlier one."""
        await self._states.put(state)

    async def states(self, org: str, workflow_id: str, limit: int = 1_000) -> Sequence[AgentState]:
        """Of a workflow, in the order they came."""
        return await self._states.select(org, {"workflow_id": workflow_id}, limit=limit, newest=False)

    async def save_output(self, output: AgentOutput) -> bool:
        """False when it is there."""
        return await self._outputs.add(output)

    async def output(self, org: str, cache_id: str) -> AgentOutput | None:
        """The org's own."""
        return await self._outputs.find(org, {"cache_id": cache_id})

    async def outputs(
        self, org: str, *, workflow_id: str | None = None, agent_type: str | None = None, limit: int = 1_000
    ) -> Sequence[AgentOutput]:
        """Newest first."""
        wanted = {"workflow_id": workflow_id, "agent_type": agent_type}
        where = {name: value for name, value in wanted.items() if value is not None}
        return await self._outputs.select(org, where, limit=limit)

    async def expire_outputs(self, now: datetime) -> int:
        """Forget those that are past their time."""
        return await self._outputs.expire("expires_at", now)

    async def save_run(self, run: SwarmRun) -> None:
        """In place of its earlier self."""
        await self._runs.put(run)

    async def run(self, org: str, workflow_id: str) -> SwarmRun | None:
        """The org's own."""
        return await self._runs.find(org, {"workflow_id": workflow_id})

    async def runs(self, org: str, *, before: datetime | None = None, limit: int = 100) -> Sequence[SwarmRun]:
        """Newest first."""
        return await self._runs.select(org, before=before, limit=limit)

    async def save_profile(self, profile: AgentProfile) -> None:
        """In place of the earlier one of that type."""
        await self._profiles.put(profile)

    async def profiles(self, org: str) -> Sequence[AgentProfile]:
        """The org's."""
        return await self._profiles.select(org, newest=False)
