"""What the governance and the other plugins keep beyond requests: keys, policies, budgets, the audit log, jobs, agents.

A repository is written once, over `Records`: rows of one kind that a storage keeps somehow. So what memory, SQLite and
PostgreSQL can do is the same by construction, and one contract proves it for all three.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable

from asahi_kernel.repositories.agents import Agents
from asahi_kernel.repositories.alert_rules import AlertRules
from asahi_kernel.repositories.audit import Audit
from asahi_kernel.repositories.budgets import Budgets
from asahi_kernel.repositories.judgements import Alerts, Feedback, Labels, Quality
from asahi_kernel.repositories.people import Keys, Logins, Tenants
from asahi_kernel.repositories.records import Rows
from asahi_kernel.repositories.rules import Compliance, OrgSettings, Policies
from asahi_kernel.repositories.subjects import Erasures, Subjects
from asahi_kernel.repositories.work import Bodies, DataKeys, Jobs


class Repositories:
    """Every repository over one way of keeping rows. Each call is done whole or not at all."""

    def __init__(self, rows: Rows) -> None:
        self.keys = Keys(rows)
        self.logins = Logins(rows)
        self.tenants = Tenants(rows)
        self.policies = Policies(rows)
        self.compliance = Compliance(rows)
        self.settings = OrgSettings(rows)
        self.audit = Audit(rows)
        self.labels = Labels(rows)
        self.quality = Quality(rows)
        self.feedback = Feedback(rows)
        self.alerts = Alerts(rows)
        self.alert_rules = AlertRules(rows)
        self.bodies = Bodies(rows)
        self.data_keys = DataKeys(rows)
        self.jobs = Jobs(rows)
        self.agents = Agents(rows)
        self.erasures = Erasures(rows)
        self.subjects = Subjects(rows)

    async def expire(self, now: datetime) -> int:
        """Forget, in every org, what is past its time: bodies, outputs of agents, logins."""
        gone = await self.bodies.expire(now) + await self.agents.expire_outputs(now)
        return gone + await self.logins.expire(now)


@runtime_checkable
class Governing(Protocol):
    """A storage that keeps these too."""

    @property
    def repositories(self) -> Repositories: ...
    @property
    def budgets(self) -> Budgets: ...
    def together(self) -> AbstractAsyncContextManager[Repositories]:
        """Repositories whose changes are kept together when the block ends, or not at all when it raises: a change and
        its audit entry. Blocks take turns, over all processes: inside one, use what it gives and nothing else that
        writes."""
