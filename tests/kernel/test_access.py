"""Default deny: a route says who may call it, or the gateway does not start."""

import pytest
from litestar import Controller, asgi, get
from litestar.testing import TestClient
from litestar.types import Receive, Scope, Send

from asahi_kernel.app import create_app
from asahi_kernel.errors import PluginError
from asahi_kernel.hookspecs import hookimpl
from asahi_kernel.plugins import load_plugins
from asahi_kernel.settings import Settings


def app_with(handler):
    class Plugin:
        @hookimpl
        def register_routes(self, gateway):
            return [handler]

    plugins = load_plugins()
    plugins.manager.register(Plugin(), name="test")
    return create_app(Settings(profile="development"), plugins)


def route(**opt):
    @get("/secrets", opt=opt)
    async def secrets() -> dict[str, str]:
        return {}

    return secrets


def nested():
    class Secrets(Controller):
        path = "/nested"

        @get("/secrets")
        async def secrets(self) -> dict[str, str]:
            return {}

    return Secrets


def raw(**opt):
    @asgi("/secrets", opt=opt, copy_scope=True)
    async def secrets(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send)

    return secrets


async def answer(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}", "more_body": False})


@pytest.mark.parametrize(
    "handler",
    [route(), route(permission=None), route(permission=""), route(permission="everything"), nested(), raw()],
    ids=["undeclared", "None", "empty", "unknown", "in a controller", "raw ASGI"],
)
def test_a_route_without_a_known_permission_does_not_start(handler):
    with pytest.raises(PluginError, match="permission"):
        app_with(handler)


@pytest.mark.parametrize("permission", ["infer", "manage_policy", "public"])
def test_a_route_with_one_starts(permission):
    assert "/secrets" in {each.path for each in app_with(route(permission=permission)).app.routes}


@pytest.mark.parametrize("make", [route, raw], ids=["typed", "raw ASGI"])
@pytest.mark.parametrize(("permission", "status"), [("public", 200), ("infer", 200), ("manage_policy", 403)])
def test_a_plugins_route_is_open_to_who_has_its_permission_only(make, permission, status):
    """Everybody is a developer here, which may infer and not manage policies."""
    with TestClient(app_with(make(permission=permission)).app) as client:
        assert client.get("/secrets").status_code == status
