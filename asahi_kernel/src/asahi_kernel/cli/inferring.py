"""`asahi infer`: one request in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asahi_kernel.cli.options import config_option, json_option, load, mock_option

if TYPE_CHECKING:
    from asahi_kernel.answer import Answer
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.settings import Settings


@click.command()
@click.argument("prompt")
@config_option
@click.option("--model", help="A registered model; the default lets Asahi choose.")
@click.option("--mode", type=click.Choice(["autopilot", "guided", "explicit"]), help="Routing mode.")
@click.option("--quality", type=click.Choice(["low", "medium", "high", "max"]), help="Quality preference (guided).")
@click.option("--stream", is_flag=True, help="Print the answer as it comes.")
@click.option("--explain", is_flag=True, help="Print the whole decision too.")
@mock_option
@json_option
def infer(config: Path | None, prompt: str, mock: bool, as_json: bool, explain: bool, **asked: Any) -> None:
    """Answer PROMPT in this process, and print what it cost."""
    settings = load(config, mock=mock, overrides={"auth": "open", "api.host": "127.0.0.1"})
    asyncio.run(_run(settings, prompt, asked, as_json=as_json, explain=explain))


async def _run(settings: Settings, prompt: str, asked: dict[str, Any], *, as_json: bool, explain: bool) -> None:
    from asahi_kernel.api.exchange import named
    from asahi_kernel.gateway import Gateway, running
    from asahi_kernel.plugins import load_plugins
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Principal
    from asahi_kernel.wire import native

    stream = asked.pop("stream")
    body = {"prompt": prompt, "stream": stream}
    body |= {"model": asked["model"], "routing_mode": asked["mode"], "quality_preference": asked["quality"]}
    import msgspec

    given = {key: value for key, value in body.items() if value is not None}
    decoded = native.decode(msgspec.json.encode(given), {}).request
    principal = Principal(org="default", user="cli", permissions=frozenset({"infer"}))
    async with running(Gateway(settings), load_plugins()) as gateway:
        trace = Trace("cli")
        answer = await _answer(gateway, named(gateway, decoded), principal, trace, show=stream and not as_json)
        if as_json:
            click.echo(native.encode(answer))
            return
        if not stream:
            click.echo(answer.completion.text)
        click.echo(summary(answer), err=True)
        if explain:
            await _explain(gateway, answer)


async def _answer(gateway: Gateway, request: Any, principal: Any, trace: Any, *, show: bool) -> Answer:
    from asahi_kernel import pipeline
    from asahi_kernel.types import Chunk

    relay = pipeline.stream(gateway, request, principal, trace)
    while True:
        for item in await relay.take():
            if not isinstance(item, Chunk):
                if show:
                    click.echo()
                return item
            if show:
                click.echo(item.text, nl=False)


def summary(answer: Answer) -> str:
    """One line of money."""
    from asahi_kernel.money import plain

    bill = answer.bill
    return (
        f"[{answer.completion.model} via {answer.completion.provider} | cost ${plain(bill.cost)} | without Asahi "
        f"${plain(bill.baseline_cost)} ({bill.baseline_model}) | saved ${plain(bill.saved)} | {answer.route.reason}]"
    )


async def _explain(gateway: Gateway, answer: Answer) -> None:
    from msgspec import json

    from asahi_kernel.api.explain import tell

    await gateway.journal.flush()
    decision = await gateway.storage.decisions.find("default", answer.request_id)
    if decision is not None:
        event = await gateway.storage.events.find("default", answer.request_id)
        click.echo(json.format(json.encode(tell(decision, event)), indent=2))
