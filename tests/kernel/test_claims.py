"""What a body claims about its caller: an end user is an identity only where the key may act for users."""

import pytest

from asahi_kernel.api.exchange import acting, narrow
from asahi_kernel.errors import Denied
from asahi_kernel.testing import ASK
from asahi_kernel.types import Principal
from asahi_kernel.wire.asked import Asked

PLAIN = Principal(org="acme", user="ann")
ACTING = Principal(org="acme", user="ann", may_act_for_users=True)


def claimed(principal, **claims):
    asked = Asked(request=ASK, **claims)
    return acting(asked, principal).user, dict(narrow(asked, principal).terms.tags)


@pytest.mark.parametrize(
    ("principal", "claims", "user", "tags"),
    [
        (PLAIN, {}, "ann", {}),
        (PLAIN, {"end_user": "ann"}, "ann", {}),
        (PLAIN, {"end_user": "bob"}, "ann", {"end_user": "bob"}),
        (PLAIN, {"end_user": "bob", "user_id": "ann"}, "ann", {"end_user": "bob"}),
        (ACTING, {"end_user": "bob"}, "bob", {}),
        (ACTING, {"end_user": "Bob Smith"}, "ann", {"end_user": "Bob Smith"}),
        (ACTING, {"user_id": "carl", "end_user": "bob"}, "carl", {"end_user": "bob"}),
    ],
)
def test_an_end_user_is_an_identity_or_a_tag(principal, claims, user, tags):
    assert claimed(principal, **claims) == (user, tags)


def test_a_user_id_is_never_a_mere_tag():
    with pytest.raises(Denied):
        claimed(PLAIN, user_id="bob")
