"""Opening: the pages are read once, while the gateway starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from asahi_dashboard_api.export import Export, read
from asahi_dashboard_api.front import Front

if TYPE_CHECKING:
    from asahi_dashboard_api.config import DashboardConfig
    from asahi_kernel.gateway import Gateway

HOW = "run `make dashboard` where Node.js 20 is, or install a released wheel of asahi-dashboard-api"
_NOTE = f"the dashboard has no pages: {HOW}"


def built() -> Path:
    """Where the build is, if there is one."""
    return Path(str(files("asahi_dashboard_api"))) / "_ui"


@asynccontextmanager
async def open_dashboard(config: DashboardConfig, gateway: Gateway) -> AsyncIterator[None]:
    """The pages stand in front of the API until the gateway closes."""
    if not config.enabled:
        yield None
        return
    base = config.path.rstrip("/")
    links = config.root_path + base
    export = await asyncio.to_thread(read, built(), links, config.root_path)
    if export is None:
        gateway.cautions.append(_NOTE)
        export = Export.without_build(HOW)
    before, gateway.pages = gateway.pages, Front(export, base, links)
    try:
        yield None
    finally:
        gateway.pages = before
        if _NOTE in gateway.cautions:
            gateway.cautions.remove(_NOTE)
