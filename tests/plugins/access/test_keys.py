"""API keys: their shape, what is kept of them, who they are, and what happens without storage."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from tests.kernel.kit import gateway_of

from asahi_access import KeysConfig, register_authenticators
from asahi_access.grants import SCOPES, check_grant, permissions
from asahi_access.identifying import Identifier
from asahi_access.issuing import Issuer, Order
from asahi_access.tokens import Peppers, mint, read, read_peppers
from asahi_kernel.auditing import Actor
from asahi_kernel.builtins.local_auth import ROLES
from asahi_kernel.errors import ConfigError, Denied, Invalid, NotFound, Unauthenticated, Unavailable
from asahi_kernel.ledger import Head
from asahi_kernel.repositories.audit import AuditQuery, fault
from asahi_kernel.testing import AuthenticatorContract
from asahi_kernel.types import Principal

pytestmark = pytest.mark.anyio
ACTOR = Actor(org="default", user="test")
PEPPERS = Peppers({1: b"p" * 32})


def bearer(text):
    return {"authorization": f"Bearer {text}"}


BOOT = "a-bootstrap-key-0123456789abcdef"


class TestKeys(AuthenticatorContract):
    factory = register_authenticators()[0]
    headers = bearer(BOOT)
    strangers = (
        {},
        bearer("x"),
        bearer(mint().text),
        {**bearer(BOOT), "x-api-key": "another"},
        {"authorization": BOOT},
    )

    @pytest.fixture
    async def gateway(self, monkeypatch):
        monkeypatch.setenv("ASAHI_BOOTSTRAP_ADMIN_KEY", BOOT)
        async with gateway_of() as gateway:
            yield gateway


class TestTokens:
    def test_ids_and_secrets_are_all_different(self):
        """AU-5."""
        made = [mint() for _ in range(20_000)]
        assert len({token.key_id for token in made}) == len({token.text for token in made}) == 20_000

    def test_a_key_says_its_id_and_nothing_else(self):
        token = mint()
        assert read(token.text) == token.key_id
        assert token.text not in repr(token)

    def test_any_changed_letter_is_dropped_without_a_store(self):
        token, dice = mint(), random.Random(1)
        for at in range(4, len(token.text)):
            letter = dice.choice([each for each in "abcXYZ019" if each != token.text[at]])
            assert read(token.text[:at] + letter + token.text[at + 1 :]) is None
        for wrong in (
            "",
            "ask_",
            token.text[:-1],
            token.text + "a",
            token.text.upper(),
            f" {token.text}",
            "ask_' OR 1=1--",
        ):
            assert read(wrong) is None

    def test_a_pepper_is_needed_to_verify(self):
        """C6: a stolen database yields no key."""
        token = mint()
        kept = PEPPERS.sign(token.text)
        assert PEPPERS.verify(token.text, kept, 1)
        assert not Peppers({1: b"q" * 32}).verify(token.text, kept, 1)
        assert not PEPPERS.verify(mint().text, kept, 1)
        assert not PEPPERS.verify(token.text, kept, 7)

    @pytest.mark.parametrize(
        "text", ["v2", "v2:short", "2:" + "x" * 20, f"v1:{'x' * 16},v1:{'y' * 16}", "v0:" + "x" * 16]
    )
    def test_unclear_peppers_stop_the_start(self, text):
        with pytest.raises(ConfigError):
            read_peppers(text, b"d" * 32)

    def test_the_newest_pepper_signs_and_all_verify(self):
        token = mint()
        old = read_peppers(None, b"d" * 32)
        new = read_peppers(f"v2:{'b' * 16},v1:{'a' * 16}", b"d" * 32)
        assert new.newest == 2
        assert new.verify(token.text, old.sign(token.text), old.newest)


class TestGrants:
    def test_scopes_narrow_and_none_is_nothing(self):
        for role, whole in ROLES.items():
            assert permissions(role, ()) == frozenset()
            assert permissions(role, ("all",)) == whole
            for scope, opened in SCOPES.items():
                assert permissions(role, (scope,)) == whole & opened
        assert permissions("nobody", ("all",)) == permissions("admin", ("nothing",)) == frozenset()

    def test_nobody_gives_more_than_they_have(self):
        developer = Principal(
            org="acme", user="ann", role="developer", permissions=permissions("developer", ("infer",))
        )
        check_grant(developer, "developer", ("infer",), may_act_for_users=False)
        for role, scopes, acts in (("admin", ("all",), False), ("developer", ("analytics",), False)):
            with pytest.raises(Denied):
                check_grant(developer, role, scopes, may_act_for_users=acts)
        with pytest.raises(Denied):
            check_grant(developer, "developer", ("infer",), may_act_for_users=True)
        for role, scopes in (("root", ("infer",)), ("viewer", ("everything",))):
            with pytest.raises(Invalid):
                check_grant(developer, role, scopes, may_act_for_users=False)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def gateway(request, tmp_path):
    tree = {"storage": request.param, "encryption": {"dir": str(tmp_path)}}
    if request.param == "sqlite":
        tree["storage"] = {"type": "sqlite", "path": str(tmp_path / "asahi.db")}
    if request.param == "postgres":
        tree["storage"] = {"type": "postgres", "url": request.getfixturevalue("fresh_database_url")}
    async with gateway_of(tree) as gateway:
        yield gateway


def identifier(gateway, peppers=PEPPERS, **config):
    return Identifier(gateway.storage.repositories.keys, peppers, KeysConfig(**config), gateway)


class TestLife:
    async def test_a_key_is_who_it_was_made_for_until_it_is_revoked(self, gateway):
        issuer, auth = Issuer(gateway.storage, PEPPERS), identifier(gateway)
        key, token = await issuer.create(Order(org="acme", user="ann", scopes=("infer",)), ACTOR)
        principal = await auth.identify(bearer(token.text))
        assert (principal.org, principal.user, principal.role, principal.permissions) == (
            "acme",
            "ann",
            "developer",
            {"infer"},
        )
        assert (await auth.identify({"x-api-key": token.text})) == principal
        with pytest.raises(NotFound):
            await issuer.revoke("other", key.key_id, ACTOR)
        await issuer.revoke("acme", key.key_id, ACTOR)
        assert await auth.identify(bearer(token.text)) == principal  # for identity_ttl_s, elsewhere
        auth.forget(key.key_id)
        with pytest.raises(Unauthenticated):
            await auth.identify(bearer(token.text))

    async def test_nothing_in_storage_is_a_key(self, gateway):
        issuer = Issuer(gateway.storage, PEPPERS)
        key, token = await issuer.create(Order(org="acme", user="ann"), ACTOR)
        kept = await gateway.storage.repositories.keys.get_key(key.key_id)
        assert token.text.rpartition("_")[2] not in repr(kept)
        assert kept.key_hash == PEPPERS.sign(token.text)

    async def test_the_old_key_lives_on_for_the_overlap(self, gateway):
        issuer, auth = Issuer(gateway.storage, PEPPERS), identifier(gateway)
        old, token = await issuer.create(Order(org="acme", user="ann", days=10), ACTOR)
        new, fresh = await issuer.rotate("acme", old.key_id, 24, ACTOR)
        assert (new.rotated_from, new.role, new.scopes) == (old.key_id, old.role, old.scopes)
        for text in (token.text, fresh.text):
            await auth.identify(bearer(text))
        kept = await gateway.storage.repositories.keys.find("acme", old.key_id)
        assert abs(kept.expires_at - datetime.now(UTC) - timedelta(hours=24)) < timedelta(minutes=1)
        newer, _ = await issuer.rotate("acme", new.key_id, 0, ACTOR)
        with pytest.raises(Unauthenticated):
            await identifier(gateway).identify(bearer(fresh.text))
        with pytest.raises(NotFound):
            await issuer.rotate("acme", new.key_id, 0, ACTOR)
        assert newer.expires_at - newer.created_at == timedelta(days=10)

    async def test_an_overlap_never_prolongs_a_key(self, gateway):
        issuer = Issuer(gateway.storage, PEPPERS)
        old, _ = await issuer.create(Order(org="acme", user="ann", days=1), ACTOR)
        await issuer.rotate("acme", old.key_id, 168, ACTOR)
        kept = await gateway.storage.repositories.keys.find("acme", old.key_id)
        assert kept.expires_at == old.expires_at

    async def test_every_change_is_in_the_audit_log_and_no_secret_is(self, gateway):
        """AD-3, and #31620: a raw key in an audit row."""
        issuer = Issuer(gateway.storage, PEPPERS)
        key, token = await issuer.create(Order(org="acme", user="ann"), ACTOR)
        new, fresh = await issuer.rotate("acme", key.key_id, 1, ACTOR)
        await issuer.revoke("acme", new.key_id, ACTOR)
        await issuer.revoke("acme", new.key_id, ACTOR)
        entries = [entry async for entry in gateway.storage.repositories.audit.entries("acme")]
        assert [entry.action for entry in entries] == ["api_key_created", "api_key_rotated", "api_key_revoked"]
        head = Head()
        for entry in entries:
            assert fault(head, entry) == ""
            head = Head(entry.seq, entry.entry_hash)
        assert not any(text[17:] in repr(entries) for text in (token.text, fresh.text))

    async def test_without_its_audit_entry_nothing_is_changed(self, gateway, monkeypatch):
        """C14."""
        from asahi_kernel.repositories.audit import Audit

        issuer = Issuer(gateway.storage, PEPPERS)
        key, _ = await issuer.create(Order(org="acme", user="ann"), ACTOR)

        async def broken(self, entries):
            raise OSError("the audit log is away")

        monkeypatch.setattr(Audit, "append", broken)
        for change in (
            issuer.create(Order(org="acme", user="bob"), ACTOR),
            issuer.rotate("acme", key.key_id, 1, ACTOR),
            issuer.revoke("acme", key.key_id, ACTOR),
        ):
            with pytest.raises(OSError, match="audit"):
                await change
        assert [each.key_id for each in await issuer.of_org("acme", None, True, None, 10)] == [key.key_id]
        kept = await issuer.find("acme", key.key_id)
        assert (kept.revoked, kept.expires_at) == (False, key.expires_at)
        assert len(await gateway.storage.repositories.audit.query("acme", AuditQuery())) == 1


class TestIdentity:
    @pytest.fixture
    async def made(self):
        async with gateway_of() as gateway:
            issuer = Issuer(gateway.storage, PEPPERS)
            key, token = await issuer.create(Order(org="acme", user="ann"), ACTOR)
            yield gateway, issuer, key, token

    async def test_keys_that_differ_in_one_letter_are_never_mixed_up(self, made):
        """C5, AU-7: the memory goes by the whole key."""
        gateway, _, key, token = made
        auth = identifier(gateway)
        await auth.identify(bearer(token.text))
        forged = 0
        dice = random.Random(3)
        for _ in range(2_000):
            other = mint()
            text = f"ask_{key.key_id}_{other.text[17:]}"
            wrong = dice.choice([text, token.text[:-1] + dice.choice("abc"), other.text])
            try:
                await auth.identify(bearer(wrong))
                forged += wrong != token.text
            except Unauthenticated:
                continue
        assert forged == 0

    async def test_an_unknown_id_costs_the_same_work(self, made, monkeypatch):
        """C7: both sign once."""
        gateway, _, key, _ = made
        signed = []
        sign = Peppers.sign
        monkeypatch.setattr(
            Peppers, "sign", lambda self, text, version=None: signed.append(1) or sign(self, text, version)
        )
        auth = identifier(gateway)
        from asahi_access.tokens import _checksum

        secret = "x" * 43
        known_id = f"ask_{key.key_id}_{secret}{_checksum(key.key_id, secret)}"
        counts = []
        for text in (known_id, mint().text):
            signed.clear()
            with pytest.raises(Unauthenticated):
                await auth.identify(bearer(text))
            counts.append(len(signed))
        assert counts == [1, 1]

    async def test_many_callers_with_one_key_are_one_look(self, made):
        gateway, _, _, token = made
        keys, looks = gateway.storage.repositories.keys, []
        get = keys.get_key

        async def counted(key_id):
            looks.append(key_id)
            await asyncio.sleep(0.01)
            return await get(key_id)

        keys.get_key = counted
        auth = identifier(gateway)
        await asyncio.gather(*[auth.identify(bearer(token.text)) for _ in range(100)])
        await auth.identify(bearer(token.text))
        assert len(looks) == 1

    async def test_without_storage_a_known_key_is_known_and_an_unknown_one_is_503(self, made):
        """D3: a dead database is never a 401."""
        gateway, _, _, token = made
        now = [0.0]
        auth = Identifier(gateway.storage.repositories.keys, PEPPERS, KeysConfig(), gateway, clock=lambda: now[0])
        await auth.identify(bearer(token.text))

        async def dead(key_id):
            raise OSError("down")

        gateway.storage.repositories.keys.get_key = dead
        now[0] = 200.0
        assert (await auth.identify(bearer(token.text))).user == "ann"
        for moment, text in ((200.0, mint().text), (301.0, token.text)):
            now[0] = moment
            with pytest.raises(Unavailable) as refused:
                await auth.identify(bearer(text))
            assert (refused.value.status, refused.value.code) == (503, "storage_unavailable")
        with pytest.raises(Unauthenticated):
            await auth.identify(bearer("garbage"))

    async def test_a_key_that_was_refused_once_is_not_believed_when_storage_goes_away(self, made):
        gateway, issuer, key, token = made
        now = [0.0]
        auth = Identifier(gateway.storage.repositories.keys, PEPPERS, KeysConfig(), gateway, clock=lambda: now[0])
        await auth.identify(bearer(token.text))
        await issuer.revoke("acme", key.key_id, ACTOR)
        now[0] = 100.0
        with pytest.raises(Unauthenticated):
            await auth.identify(bearer(token.text))

        async def dead(key_id):
            raise OSError("down")

        gateway.storage.repositories.keys.get_key = dead
        with pytest.raises(Unavailable):
            await auth.identify(bearer(token.text))

    async def test_a_key_ends_by_itself_also_while_it_is_remembered(self, made):
        gateway, _, _, token = made
        auth = identifier(gateway)
        await auth.identify(bearer(token.text))
        for digest, known in auth._known.items():
            auth._known[digest] = type(known)(
                known.principal, datetime.now(UTC) - timedelta(seconds=1), known.seen, known.epoch
            )
        with pytest.raises(Unauthenticated):
            await auth.identify(bearer(token.text))

    async def test_use_is_noted_and_the_newest_pepper_taken(self, made):
        """C10."""
        gateway, _, key, token = made
        newer = Peppers({1: b"p" * 32, 2: b"n" * 32})
        await identifier(gateway, newer).identify(bearer(token.text))
        await gateway.drain(5)
        kept = await gateway.storage.repositories.keys.get_key(key.key_id)
        assert kept.pepper_version == 2
        assert kept.last_used_at is not None
        assert (await identifier(gateway, Peppers({2: b"n" * 32})).identify(bearer(token.text))).user == "ann"
