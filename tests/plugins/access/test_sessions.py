"""Logins over time: idle, old, and outliving their key; and how a cookie is told from another."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.kernel.kit import gateway_of
from tests.plugins.access.test_keys import ACTOR, PEPPERS

from asahi_access.identifying import principal_of
from asahi_access.issuing import Issuer, Order
from asahi_access.sessions import Sessions, Unknown, cookie_of, set_cookie
from asahi_kernel.caller import Caller
from asahi_kernel.errors import Unauthenticated

pytestmark = pytest.mark.anyio
SECURE = "__Host-asahi_session"


def caller(cookie=None, scheme="https", host="gateway.example", method="GET", **headers):
    sent = {"host": host, **headers, **({"cookie": cookie} if cookie is not None else {})}
    return Caller(headers=sent, method=method, path="/auth/me", scheme=scheme, address="192.0.2.1")


class Place:
    def __init__(self, gateway):
        self.gateway, self.now = gateway, datetime.now(UTC)
        self.issuer = Issuer(gateway.storage, PEPPERS)
        self.sessions = Sessions(gateway.storage, principal_of, {}, b"c" * 32, frozenset(), clock=lambda: self.now)

    async def login(self, **fields):
        key, _ = await self.issuer.create(Order(org="acme", user="ann", **fields), ACTOR)
        secret, session = await self.sessions.begin(principal_of(key), key.key_id, caller())
        return key, caller(f"{SECURE}={secret}"), session

    async def lives(self, who):
        try:
            return await self.sessions.of(who) is not None
        except Unauthenticated:
            return False


@pytest.fixture
async def place():
    async with gateway_of() as gateway:
        yield Place(gateway)


async def test_an_hour_without_a_call_ends_it_and_a_call_prolongs_it(place):
    _, who, _ = await place.login()
    for _ in range(3):
        place.now += timedelta(minutes=59)
        assert await place.lives(who)
    place.now += timedelta(minutes=60)
    assert not await place.lives(who)


async def test_twelve_hours_end_it_whatever_is_called(place):
    _, who, session = await place.login()
    assert session.login.expires_at - place.now == timedelta(hours=12)
    for _ in range(23):
        place.now += timedelta(minutes=31)
        assert await place.lives(who)
    place.now += timedelta(minutes=31)
    assert not await place.lives(who)


async def test_it_never_outlives_its_key(place):
    key, who, _ = await place.login(days=1)
    keys = place.gateway.storage.repositories.keys
    await keys.expire_at("acme", key.key_id, place.now + timedelta(minutes=5))
    assert await place.lives(who)
    place.now += timedelta(minutes=5)
    assert not await place.lives(who)


async def test_a_key_that_is_revoked_by_any_way_ends_it(place):
    key, who, _ = await place.login()
    await place.gateway.storage.repositories.keys.revoke_key("acme", key.key_id, place.now, "somebody")
    assert not await place.lives(who)
    key, who, _ = await place.login()
    await place.gateway.storage.repositories.logins.end_of_key("acme", key.key_id)
    assert not await place.lives(who)


async def test_revoking_a_key_marks_its_logins_as_ended(place):
    key, _, session = await place.login()
    _, _, other = await place.login()
    await place.issuer.revoke("acme", key.key_id, ACTOR)
    logins = place.gateway.storage.repositories.logins
    assert (await logins.get(session.login.login_hash)).revoked
    assert not (await logins.get(other.login.login_hash)).revoked


async def test_the_rights_are_those_of_the_key_now(place):
    key, who, _ = await place.login(role="developer", scopes=("all",))
    rows = place.gateway.storage.repositories.keys._keys
    await rows.put(msgspec.structs.replace(key, role="viewer"))
    assert (await place.sessions.of(who)).principal.permissions == {"view_metrics"}


async def test_what_is_stored_is_no_cookie(place):
    _, who, session = await place.login()
    kept = await place.gateway.storage.repositories.logins.get(session.login.login_hash)
    secret = who.headers["cookie"].partition("=")[2]
    assert secret not in repr(kept)
    with pytest.raises(Unknown):
        await place.sessions.of(caller(f"{SECURE}={kept.login_hash}"))


@pytest.mark.parametrize(
    ("header", "scheme", "host", "found"),
    [
        (f"{SECURE}=a", "https", "gateway.example", "a"),
        (f"x=1; {SECURE}=a; y=2", "https", "gateway.example", "a"),
        (f"{SECURE}=a; {SECURE}=b", "https", "gateway.example", None),
        ("asahi_session=a", "https", "gateway.example", None),
        ("asahi_session=a", "http", "localhost:8000", "a"),
        ("asahi_session=a", "http", "127.0.0.1", "a"),
        ("asahi_session=a", "http", "[::1]:8000", "a"),
        (f"{SECURE}=a", "http", "localhost", None),
        ("asahi_session=a", "http", "gateway.example", None),
        ("asahi_session=a", "http", "localhost.evil.example", None),
        ("", "https", "gateway.example", None),
        ("=;=;;", "https", "gateway.example", None),
    ],
)
def test_a_cookie_counts_under_its_own_name_alone(header, scheme, host, found):
    assert cookie_of(caller(header, scheme, host)) == found


def test_a_cookie_is_given_and_taken_under_the_same_name():
    for scheme in ("http", "https"):
        given, taken = (set_cookie(caller(scheme=scheme), secret) for secret in ("x" * 43, None))
        assert given.partition("=")[0] == taken.partition("=")[0]
        assert ("Secure" in given) == (scheme == "https")
        assert "Max-Age=0" in taken
