"""Mail: each alert once, to whom the org says and nobody else, over a line that is secured; a server that is broken,
slow or silent holds nobody up."""

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
import pytest
from tests.kernel.kit import ask, gateway_of
from tests.plugins.telemetry.mailing import PASSWORD, USER, certified, free_port, posting, silence

from asahi_kernel import Secret
from asahi_kernel.builtins.memory_records import MemoryRecords
from asahi_kernel.errors import ConfigError
from asahi_kernel.identity import new_id
from asahi_kernel.records import Settled
from asahi_kernel.repositories.judgements import Alert
from asahi_kernel.repositories.rules import SettingsOf
from asahi_kernel.testing import ServiceContract
from asahi_kernel.testing.samples import decision, event
from asahi_kernel.turns import my_turn
from asahi_telemetry import register_services
from asahi_telemetry.config import MailConfig
from asahi_telemetry.mail import Mail
from asahi_telemetry.postman import Unsent, address, deliver, letter, server_of

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)
TO = ["ann@example.com", "bob@example.com"]
(MAIL,) = register_services()


class TestMail(ServiceContract):
    factory = MAIL
    config: ClassVar[dict[str, Any]] = {"smtp_url": "smtp://127.0.0.1:9", "sender": "asahi@example.com"}


def config(port, **fields):
    url = f"smtp://127.0.0.1:{port}"
    given = {"smtp_url": Secret(url), "sender": "asahi@example.com", "security": "none", "timeout_s": 5.0}
    return MailConfig(**(given | fields))


def mail_of(gateway, port, **fields):
    """As one process of several has it."""
    told = config(port, **fields)
    return Mail(told, gateway, gateway.storage, server_of(told.smtp_url.reveal(), told.security))


def found(message="cost is 3 times the usual", org="here", hours=0.0, **fields):
    given = {"alert_id": new_id(), "anomaly_type": "cost_spike", "severity": "warning", "metric_name": new_id()}
    return Alert(org_id=org, message=message, detected_at=NOW - timedelta(hours=hours), **(given | fields))


@asynccontextmanager
async def wanting(*alerts, org="here", **general):
    """A gateway whose org wants this, and has these alerts."""
    async with gateway_of() as gateway:
        general = {"alert_emails": TO, "email_alerts": True} | general
        wish = SettingsOf(org_id=org, updated_at=NOW, body={"general": general})
        await gateway.storage.repositories.settings.save(wish, 0)
        for alert in alerts:
            await gateway.storage.repositories.alerts.raise_alert(alert)
        await ask(gateway)
        await gateway.journal.flush()
        yield gateway


async def test_an_alert_is_told_once_however_many_processes_look():
    with posting() as inbox:
        async with wanting(found(), found("errors are at 7 %")) as gateway:
            mails = [mail_of(gateway, inbox.port) for _ in range(3)]
            for _ in range(3):
                await asyncio.gather(*(each.look(NOW) for each in mails))
    bodies = [each.get_content() for each in inbox.messages]
    for words in ("cost is 3 times the usual", "errors are at 7 %"):
        assert sum(body.count(words) for body in bodies) == 1
    assert {tuple(each.rcpt_tos) for each in inbox.envelopes} == {tuple(TO)}
    assert inbox.envelopes[0].mail_from == "asahi@example.com"
    assert inbox.messages[0]["auto-submitted"] == "auto-generated"


@pytest.mark.parametrize(
    "wish",
    [{"email_alerts": False}, {"notifications": False}, {"alert_emails": []}, {"alert_emails": ["no address@x"]}],
)
async def test_who_does_not_wish_it_gets_none(wish):
    with posting() as inbox:
        async with wanting(found(), **wish) as gateway:
            await mail_of(gateway, inbox.port).look(NOW)
    assert inbox.envelopes == []


async def test_other_orgs_are_told_of_their_own_only():
    with posting() as inbox:
        async with wanting(found("ours"), found("theirs", org="there")) as gateway:
            await mail_of(gateway, inbox.port).look(NOW)
    (message,) = inbox.messages
    assert "ours" in message.get_content()
    assert "theirs" not in message.get_content()


async def test_what_grows_worse_is_told_again_and_what_is_old_never():
    alert = found()
    with posting() as inbox:
        async with wanting(alert, found("old", hours=13), found("over", resolved_at=NOW)) as gateway:
            mail = mail_of(gateway, inbox.port)
            await mail.look(NOW)
            await gateway.storage.repositories.alerts.revise(msgspec.structs.replace(alert, severity="critical"))
            await mail.look(NOW)
            await mail.look(NOW)
    assert inbox.subjects == ["[Asahi] warning: cost_spike of here", "[Asahi] critical: cost_spike of here"]


async def test_no_word_of_anybody_becomes_a_header_or_an_address():
    nasty = "x\r\nBcc: eve@example.com\r\n\r\n.\r\nMAIL FROM:<eve@example.com>\u202e"
    with posting() as inbox:
        async with wanting(
            found(nasty, anomaly_type=nasty), alert_emails=["ann@example.com", "e\x00ve@example.com", '"e"@example.com']
        ) as gateway:
            await mail_of(gateway, inbox.port).look(NOW)
    (envelope,), (message,) = inbox.envelopes, inbox.messages
    assert envelope.rcpt_tos == ["ann@example.com"]
    assert message["bcc"] is None
    assert message["to"] == "ann@example.com"
    ours = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"}
    theirs = {"Content-Type", "Content-Transfer-Encoding", "X-Peer", "X-MailFrom", "X-RcptTo"}
    assert ours <= {*message} <= ours | theirs
    assert "\\r\\nBcc: eve@example.com" in message["subject"]
    assert "\u202e" not in message.get_content()


@pytest.mark.parametrize(
    "bad",
    [
        *("", "x", "x@", "@x", "a@b\n", "a@b\r\nBcc: c@d", "a b@c", "a@b c", "<a@b>", "a@b,c@d", '"a b"@c', "a@b@c"),
        *("a..b@c", "ä@example.com", "a@-b", "a@b-", "a" * 65 + "@b", "a@" + "b" * 200),
    ],
)
def test_what_is_no_plain_address_is_none(bad):
    assert address(bad) is None


def test_a_subject_is_one_line():
    with pytest.raises(ValueError, match="linefeed"):
        letter("a@b", ["c@d"], "x\r\nBcc: e@f", "")


async def test_a_server_that_fails_for_a_while_is_told_later_and_once(caplog):
    with posting() as inbox:
        async with wanting(found()) as gateway:
            mail = mail_of(gateway, inbox.port)
            inbox.replies = ["451 later", "421 later"]
            for _ in range(5):
                mail._rests_until = 0.0
                await mail.look(NOW)
            assert len(inbox.envelopes) == 1
            assert gateway.faults["mail.unsent"] == 2
            assert [each.getMessage() for each in caplog.records if each.name == "asahi_telemetry.mail"] == [
                "mail is not sent: the mail server answered 451",
                "mail is sent again",
            ]


async def test_a_server_that_fails_is_left_in_peace_for_longer_and_longer():
    async with wanting(found()) as gateway:
        mail = mail_of(gateway, free_port())
        rests = []
        for _ in range(8):
            mail._rests_until = 0.0
            begun = time.monotonic()
            await mail.look(NOW)
            rests.append(round(mail._rests_until - begun))
        assert rests == [15, 30, 60, 120, 240, 480, 900, 900]
        assert gateway.faults["mail.unsent"] == 8
        await mail.look(NOW)
        assert gateway.faults["mail.unsent"] == 8, "it rests"


async def test_what_is_refused_for_good_is_not_tried_again():
    with posting() as inbox:
        async with wanting(found()) as gateway:
            inbox.replies = ["554 never"]
            for _ in range(3):
                await mail_of(gateway, inbox.port).look(NOW)
            assert gateway.faults["mail.refused"] == 1
    assert inbox.envelopes == []


async def test_a_flood_is_held_back():
    with posting() as inbox:
        async with wanting() as gateway:
            mail = mail_of(gateway, inbox.port, per_hour=2)
            for number in range(5):
                await gateway.storage.repositories.alerts.raise_alert(found(f"number {number}"))
                await mail.look(NOW)
            assert gateway.faults["mail.held_back"] == 3
    assert len(inbox.envelopes) == 2


async def test_a_server_that_says_nothing_holds_up_no_request_and_no_end():
    with silence() as port:
        tree = {"services": {"mail": {"smtp_url": f"smtp://127.0.0.1:{port}", "sender": "a@b", "interval_s": 0.01}}}
        async with gateway_of(tree) as gateway:
            wish = SettingsOf(
                org_id="here", updated_at=NOW, body={"general": {"alert_emails": TO, "email_alerts": True}}
            )
            await gateway.storage.repositories.settings.save(wish, 0)
            await gateway.storage.repositories.alerts.raise_alert(found())
            await ask(gateway)
            await gateway.journal.flush()
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            for _ in range(20):
                await ask(gateway)
            assert gateway.mails
            assert gateway.faults["mail.sent"] == 0
        assert time.monotonic() - begun < 5, "the server has 20 s, and nobody waits for it"


async def test_a_server_that_says_nothing_is_given_up():
    with silence() as port:
        begun = time.monotonic()
        with pytest.raises(Unsent, match="in time"):
            await deliver(server_of(f"smtp://127.0.0.1:{port}", "none"), letter("a@b", ["c@d"], "x", ""), 0.3)
        assert time.monotonic() - begun < 3


def secured(port, scheme="smtp"):
    return f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}"


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_password_goes_over_a_secured_line(tmp_path, monkeypatch, scheme):
    context, authority = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    options = {"line": context} if scheme == "smtps" else {"tls_context": context, "require_starttls": True}
    options |= {"auth_require_tls": scheme == "smtp"}
    with posting(**options) as inbox:
        await deliver(server_of(secured(inbox.port, scheme), None), letter("a@b", ["c@d"], "x", "y"), 5)
    assert [login for login, _ in inbox.logins] == [USER]
    assert inbox.subjects == ["x"]


@pytest.mark.parametrize("why", ["no starttls", "unknown authority", "another name"])
async def test_a_line_that_is_not_secured_gets_no_password(tmp_path, monkeypatch, why):
    context, authority = certified(tmp_path, "mail.example.com" if why == "another name" else "127.0.0.1")
    if why == "another name":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    options = {} if why == "no starttls" else {"tls_context": context}
    with posting(**options, auth_require_tls=False) as inbox, pytest.raises(Unsent):
        await deliver(server_of(secured(inbox.port), None), letter("a@b", ["c@d"], "x", "y"), 5)
    assert inbox.logins == []
    assert inbox.envelopes == []


async def test_a_wrong_password_is_told_without_it(tmp_path, monkeypatch):
    context, authority = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with posting(tls_context=context) as inbox:
        server = server_of(secured(inbox.port), None)
        with pytest.raises(Unsent, match="does not accept") as raised:
            await deliver(msgspec.structs.replace(server, password="wr0ng-canary"), letter("a@b", ["c@d"], "x", "y"), 5)
    assert "canary" not in str(raised.value)
    assert PASSWORD not in repr(server)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "mail.example.com",
            "http://mail.example.com",
            "smtp://",
            "smtp://h:x",
            "smtp://h:99999",
            "smtp://h/path",
        ),
        "smtp://h?x=1",
    ],
)
def test_an_address_that_is_none_of_a_mail_server_stops_the_start(url):
    with pytest.raises(ConfigError, match="smtp_url"):
        server_of(url, None)


def test_a_password_over_an_open_line_stops_the_start():
    with pytest.raises(ConfigError, match="open line"):
        server_of("smtp://u:p@mail.example.com", "none")
    assert server_of("smtp://mail.example.com", None).security == "starttls"
    assert (server_of("smtps://mail.example.com", None).port, server_of("smtp://h", None).port) == (465, 587)


async def test_a_sender_that_is_no_address_stops_the_start():
    with pytest.raises(ConfigError, match="sender"):
        async with gateway_of({"services": {"mail": {"smtp_url": "smtp://127.0.0.1", "sender": "a@b\nBcc: c@d"}}}):
            pass


async def test_a_weekly_report_comes_on_mondays_by_the_clock_of_the_org_and_once():
    monday = datetime(2026, 11, 30, 0, 30, tzinfo=UTC)  # half past nine in Tokyo
    with posting() as inbox:
        async with wanting(email_alerts=False, weekly_report=True, timezone="Asia/Tokyo") as gateway:
            mails = [mail_of(gateway, inbox.port, dashboard_url="https://asahi.example.com") for _ in range(2)]
            for minutes in (-120, 0, 1, 600, 720):
                await asyncio.gather(*(each.look(monday + timedelta(minutes=minutes)) for each in mails))
    (message,) = inbox.messages
    assert message["subject"] == "[Asahi] here: the week to 2026-11-30"
    body = message.get_content()
    assert "requests        1, of which 0 failed" in body
    assert "See https://asahi.example.com" in body


async def test_no_weekly_report_comes_unasked():
    with posting() as inbox:
        async with wanting(email_alerts=False) as gateway:
            await mail_of(gateway, inbox.port).look(datetime(2026, 11, 30, 9, tzinfo=UTC))
    assert inbox.envelopes == []


@contextmanager
def counted():
    """Reads of the repositories, by what was asked."""
    reads = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("select", "anywhere", "walk"):
            asked = getattr(MemoryRecords, name)

            async def read(self, *given, _asked=asked, **named):
                reads[self._shape.table] += 1
                return await _asked(self, *given, **named)

            patch.setattr(MemoryRecords, name, read)
        yield reads


async def test_a_look_reads_as_much_of_a_thousand_orgs_as_of_one():
    with posting() as inbox:
        async with wanting(found()) as gateway:
            for number in range(1_000):
                made = event(f"org-{number}", request_id=new_id())
                await gateway.storage.books.post([Settled(made, decision(made))])
                wish = SettingsOf(org_id=f"org-{number}", updated_at=NOW, body={"general": {"timezone": "UTC"}})
                await gateway.storage.repositories.settings.save(wish, 0)
            with counted() as reads:
                await mail_of(gateway, inbox.port).look(NOW)
            assert reads == {"org_settings": 1, "alerts": 1}
    assert len(inbox.envelopes) == 1


async def test_of_several_processes_one_looks_at_a_time():
    with posting() as inbox:
        async with wanting(found()) as gateway:
            mails = [mail_of(gateway, inbox.port, interval_s=60.0) for _ in range(4)]
            with counted() as reads:
                for _ in range(3):
                    await asyncio.gather(*(each.turn() for each in mails))
            assert reads["org_settings"] == 1
            mails[0]._rests_until = time.monotonic() + 60
            await mails[0].turn()
            assert await my_turn(gateway.storage, "default", "mail", 60) is False
    assert len(inbox.envelopes) == 1


async def test_who_rests_leaves_the_turn_to_the_others():
    with posting() as inbox:
        async with wanting(found()) as gateway:
            tired, other = mail_of(gateway, inbox.port), mail_of(gateway, inbox.port)
            tired._rests_until = time.monotonic() + 60
            await tired.turn()
            await other.turn()
    assert len(inbox.envelopes) == 1


class TestChannel:
    async def test_a_test_goes_to_whom_the_settings_say(self):
        with posting() as inbox:
            async with wanting(email_alerts=False) as gateway:
                assert await mail_of(gateway, inbox.port).test("here") == ""
        (message,), (envelope,) = inbox.messages, inbox.envelopes
        assert message["subject"] == "[Asahi] test: alerts of here"
        assert envelope.rcpt_tos == TO

    @pytest.mark.parametrize(
        ("wish", "told"),
        [({"alert_emails": []}, "name no address"), ({"alert_emails": ["nobody"]}, "name no address")],
    )
    async def test_without_an_address_nobody_is_sent_anything(self, wish, told):
        with posting() as inbox:
            async with wanting(**wish) as gateway:
                assert told in await mail_of(gateway, inbox.port).test("here")
        assert inbox.envelopes == []

    async def test_what_the_server_refuses_is_told_without_its_name(self):
        with posting() as inbox:
            async with wanting() as gateway:
                inbox.replies = ["554 mail.example.com says no"]
                assert await mail_of(gateway, inbox.port).test("here") == "the mail server answered 554"
        async with wanting() as gateway:
            told = await mail_of(gateway, free_port()).test("here")
        assert told == "the mail server cannot be reached (ConnectionRefusedError)"

    async def test_it_counts_as_a_message(self):
        with posting() as inbox:
            async with wanting() as gateway:
                mail = mail_of(gateway, inbox.port, per_hour=1)
                assert await mail.test("here") == ""
                assert "as it may" in await mail.test("here")
        assert len(inbox.envelopes) == 1
