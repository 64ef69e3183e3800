"""The table `services.dashboard`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config


class DashboardConfig(Config, frozen=True):
    """`path` is where pages begin on this gateway; `root_path` is what a proxy in front of it takes away."""

    enabled: bool = True
    path: Annotated[str, Meta(pattern=r"^/(?:[A-Za-z0-9._~-]+/?)*$", max_length=200)] = "/"
    root_path: Annotated[str, Meta(pattern=r"^(?:/[A-Za-z0-9._~-]+)*$", max_length=200)] = ""
