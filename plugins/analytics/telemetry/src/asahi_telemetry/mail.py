"""The service `mail`: tells orgs of their alerts by mail, and once a week what they spent, if they wish it."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from asahi_kernel.background import repeated
from asahi_kernel.channels import channels
from asahi_kernel.errors import ConfigError
from asahi_kernel.identity import new_id
from asahi_kernel.lines import CHANGE
from asahi_kernel.preferences import read
from asahi_kernel.records import Claim, Kept
from asahi_kernel.repositories import Governing
from asahi_kernel.turns import my_turn
from asahi_telemetry.letters import alerts_letter, test_letter, weekly_letter
from asahi_telemetry.postman import Server, Unsent, address, deliver, letter, server_of

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.preferences import General
    from asahi_kernel.repositories.judgements import Alert
    from asahi_kernel.repositories.rules import SettingsOf
    from asahi_telemetry.config import MailConfig

log = logging.getLogger(__name__)
#: Claims are kept for a day. What is older than half of one is not news, and would be told twice.
_NEWS = timedelta(hours=12)
_WEEK = timedelta(days=7)
_MONDAY, _FROM_HOUR, _TO_HOUR = 0, 8, 20
_FIRST_REST_S, _LONGEST_REST_S = 15.0, 900.0


class Mail:
    """Looks at all orgs that want mail. Several processes may: who claims an alert tells it, and where it fails gives
    the claim back, so that it is told later, by whomever, and once."""

    def __init__(self, config: MailConfig, gateway: Gateway, governing: Governing, server: Server) -> None:
        self._config = config
        self._gateway = gateway
        self._governing = governing
        self._server = server
        self._told: dict[str, datetime] = {}
        self._rests_until = 0.0
        self._rest_s = _FIRST_REST_S
        self._failing = False

    async def turn(self) -> None:
        """Look, unless another process has since the last time. Who rests leaves the turn to the others."""
        if time.monotonic() < self._rests_until:
            return
        operator = self._gateway.settings.governance.operator_org
        if await my_turn(self._gateway.storage, operator, "mail", 0.9 * self._config.interval_s):
            await self.look()

    async def look(self, now: datetime | None = None) -> None:
        """Send what is due: two questions over all orgs, however many there are. An org that fails does not keep the
        others from being told."""
        now = now or datetime.now(UTC)
        self._told = {key: at for key, at in self._told.items() if now - at < 2 * _NEWS}
        kept = self._governing.repositories
        wishes = {each.org_id: wish for each in await kept.settings.everywhere() if (wish := _wish(each)) is not None}
        news = defaultdict(list)
        if any(wish.email_alerts for wish in wishes.values()):
            unresolved = await kept.alerts.unresolved_anywhere()
            for alert in sorted(unresolved, key=lambda each: each.detected_at, reverse=True):
                news[alert.org_id].append(alert)
        for org, wish in sorted(wishes.items()):
            if time.monotonic() < self._rests_until:
                return
            try:
                await self._look_at(org, wish, news[org], now)
            except Exception as error:  # noqa: BLE001 - the next look comes soon
                self._gateway.faults["mail"] += 1
                log.warning("an organisation could not be told by mail (%s)", type(error).__name__)

    async def test(self, org: str) -> str:
        """Send a test message to whom the org's settings say; empty when the mail server took it, else why not."""
        wanted = (await self._gateway.standings.of(org)).preferences.general
        to = recipients(wanted)
        if not to:
            return "the settings of the organisation name no address to send to (alert_emails)"
        allowed = await self._gateway.counter.take(org, "mail", 1, self._config.per_hour, 3_600)
        if not allowed.granted:
            return "the organisation has had as many messages as it may within an hour"
        subject, body = test_letter(org, self._config.dashboard_url)
        try:
            await deliver(self._server, letter(self._config.sender, to, subject, body), self._config.timeout_s)
        except Unsent as error:
            return error.why
        return ""

    async def _look_at(self, org: str, wanted: General, unresolved: Sequence[Alert], now: datetime) -> None:
        to = recipients(wanted)
        if wanted.email_alerts:
            await self._alerts(org, to, unresolved, now)
        if wanted.weekly_report:
            await self._weekly(org, to, wanted, now)

    async def _alerts(self, org: str, to: Sequence[str], unresolved: Sequence[Alert], now: datetime) -> None:
        news = [alert for alert in unresolved if now - alert.detected_at < _NEWS and _key(alert) not in self._told]
        claims = [claim for alert in news if (claim := await self._claimed(org, _key(alert), now)) is not None]
        mine = [alert for alert in news if any(claim.key == _key(alert) for claim in claims)]
        if mine:
            await self._send(org, to, claims, *alerts_letter(org, mine, self._config.dashboard_url))

    async def _weekly(self, org: str, to: Sequence[str], wanted: General, now: datetime) -> None:
        local = now.astimezone(ZoneInfo(wanted.timezone))
        if local.weekday() != _MONDAY or not _FROM_HOUR <= local.hour < _TO_HOUR:
            return
        key = f"week {local.date()}"
        if key_of(org, key) not in self._told and (claim := await self._claimed(org, key, now)) is not None:
            totals = await self._gateway.storage.events.totals(org, now - _WEEK)
            await self._send(org, to, [claim], *weekly_letter(org, totals, local.date(), self._config.dashboard_url))

    async def _claimed(self, org: str, key: str, now: datetime) -> Claim | None:
        """A claim to tell of it, or None where another process tells or told it."""
        lease_s = 2 * self._config.timeout_s + 10
        claim = Claim(org_id=org, route="mail", key=key, fingerprint=b"", request_id=new_id(), lease_s=lease_s)
        kept = await self._gateway.storage.idempotency.claim(claim)
        if kept is None:
            return claim
        if kept.status:
            self._told[key_of(org, key)] = now
        return None

    async def _send(self, org: str, to: Sequence[str], claims: Sequence[Claim], subject: str, body: str) -> None:
        """Have it sent, or give the claims back for the next time."""
        store, done = self._gateway.storage.idempotency, False
        try:
            allowed = await self._gateway.counter.take(org, "mail", 1, self._config.per_hour, 3_600)
            if not allowed.granted:
                self._gateway.faults["mail.held_back"] += 1
                return
            done = await self._delivered(to, subject, body)
        finally:
            for claim in claims:
                if done:
                    await store.keep(claim, Kept(fingerprint=b"", status=200))
                    self._told[key_of(org, claim.key)] = datetime.now(UTC)
                else:
                    await store.release(claim)

    async def _delivered(self, to: Sequence[str], subject: str, body: str) -> bool:
        """Whether there is nothing more to be done about it."""
        message = letter(self._config.sender, to, subject, body)
        try:
            await deliver(self._server, message, self._config.timeout_s)
        except Unsent as error:
            self._gateway.faults["mail.refused" if error.final else "mail.unsent"] += 1
            if not self._failing:
                log.warning("mail is not sent: %s", error.why, extra=CHANGE)
            self._failing = True
            if not error.final:
                self._rests_until = time.monotonic() + self._rest_s
                self._rest_s = min(2 * self._rest_s, _LONGEST_REST_S)
            return error.final
        if self._failing:
            log.warning("mail is sent again", extra=CHANGE)
        self._failing, self._rest_s = False, _FIRST_REST_S
        self._gateway.faults["mail.sent"] += 1
        return True


def key_of(org: str, key: str) -> str:
    """What was told to whom."""
    return f"{org} {key}"


def recipients(wanted: General) -> list[str]:
    """Where an org's mail goes."""
    return [each for each in wanted.alert_emails if address(each)]


def _wish(settings: SettingsOf) -> General | None:
    """What an org wants by mail; None where it wants none."""
    general = read(settings.body).general
    wanted = general.notifications and (general.email_alerts or general.weekly_report) and recipients(general)
    return general if wanted else None


def _key(alert: Alert) -> str:
    """One that grew worse is told again."""
    return f"{alert.alert_id} {alert.severity}"


@asynccontextmanager
async def opened(config: MailConfig, gateway: Gateway) -> AsyncIterator[None]:
    """Look every `interval_s`. A storage without alerts has nobody to tell."""
    server = server_of(config.smtp_url.reveal(), config.security)
    if address(config.sender) is None:
        raise ConfigError("services.mail.sender: this is no mail address")
    if not isinstance(gateway.storage, Governing):
        yield
        return
    mail = Mail(config, gateway, gateway.storage, server)
    gateway.mails = True
    channels(gateway)["mail"] = mail
    try:
        async with repeated("mail", mail.turn, config.interval_s, gateway.faults):
            yield
    finally:
        gateway.mails = False
