"""The company: an invented shop for outdoor gear, the people and programs of it that ask, and a small neighbour."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Desk: TypeAlias = Literal["support", "engineering", "marketing", "legal", "reviews", "research"]

NAME = "Kitsune Outdoor (demonstration)"
ZONE = "Europe/Berlin"
NEIGHBOUR = "harbor-labs"


class Person(Struct, frozen=True, kw_only=True):
    """Who has a key. `share` is how much of the traffic is theirs by day, `nightly` by night; `desk` says what they ask
    for, and nobody asks without one."""

    user: str
    key: str
    desk: Desk | None = None
    share: float = 0.0
    nightly: float = 0.0
    role: str = "developer"
    scopes: tuple[str, ...] = ("infer",)
    days: int = 90
    address: str = "10.20.0.10"
    org: str | None = None


PEOPLE = (
    Person(user="ana", key="ana's laptop", role="admin", scopes=("all",), days=365, address="10.20.0.4"),
    Person(user="vic", key="wall display", role="viewer", scopes=("all",), address="10.20.0.5"),
    Person(user="bo", key="controlling", role="billing", scopes=("all",), address="10.20.0.6"),
    Person(user="support-chat", key="chat widget", desk="support", share=36, nightly=30, address="10.20.1.11"),
    Person(user="support-mail", key="mail triage", desk="support", share=13, nightly=10, address="10.20.1.12"),
    Person(user="mika", key="code review", desk="engineering", share=11, address="10.20.2.21"),
    Person(user="jonas", key="editor plugin", desk="engineering", share=9, nightly=2, address="10.20.2.22", days=38),
    Person(user="lea", key="product texts", desk="marketing", share=12, address="10.20.3.31"),
    Person(user="priya", key="contracts", desk="legal", share=8, address="10.20.4.41"),
    Person(user="etl", key="nightly reviews", desk="reviews", share=1, nightly=70, address="10.20.9.91"),
    Person(user="sam", key="research agent", desk="research", share=5, nightly=4, address="10.20.5.51"),
    Person(user="noor", key="lab notebook", desk="research", share=5, nightly=6, address="10.44.0.2", org=NEIGHBOUR),
)

#: Made on the first day and revoked later: nothing asks with it.
OLD_LAPTOP = Person(user="jonas", key="old laptop", address="10.20.2.22")
