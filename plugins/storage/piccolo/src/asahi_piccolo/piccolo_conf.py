"""What Piccolo asks for its engine: the one that a migration of this process runs on, else that of the environment.

Piccolo's own command works with it too: `PICCOLO_CONF=asahi_piccolo.piccolo_conf piccolo sql_shell run`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from piccolo.conf.apps import AppConfig, AppRegistry
from piccolo.engine.base import Engine

#: Set while migrating; see `migrating`.
engine: ContextVar[Engine[Any] | None] = ContextVar("engine", default=None)

APP_REGISTRY = AppRegistry(apps=[])
APP_CONFIG = AppConfig(app_name="asahi", migrations_folder_path="migrations", table_classes=[])


def __getattr__(name: str) -> Any:
    if name != "DB":
        raise AttributeError(name)
    chosen = engine.get()
    if chosen is not None:
        return chosen
    from asahi_piccolo.engines import from_environment

    return from_environment()
