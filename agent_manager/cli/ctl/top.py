"""`agentctl top`: nodes and instances, and what they use, as it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.text import Text

from agent_manager.cli.ctl import formats, samples, terminal
from agent_manager.cli.ctl import screen as screens
from agent_manager.cli.ctl.api import Api
from agent_manager.cli.ctl.failures import AgentctlError, ExitCode
from agent_manager.cli.ctl.formats import Format
from agent_manager.cli.ctl.inventory import counts
from agent_manager.cli.ctl.keys import Key
from agent_manager.cli.ctl.samples import Order, Sample, SortKey, take_sample
from agent_manager.cli.ctl.screen import Screen
from agent_manager.cli.ctl.tables import Listing
from agent_manager.cli.ctl.terminal import name, status, text
from agent_manager.protocol.resources import InstanceSample, NodeView

KEYS = {key.value[0]: key for key in SortKey}
"""Each order by its first letter."""
FOOT = "q quits, arrows scroll; order: " + " ".join(f"[{key.value[0]}]{key.value[1:]}" for key in SortKey)


async def print_top(api: Api, order: Order, form: Format, *, interval_s: float) -> ExitCode:
    """Print one picture: two looks, `interval_s` apart, as processor time is the difference of two."""
    before = await take_sample(api, None)
    await asyncio.sleep(interval_s)
    sample = await take_sample(api, before)
    match form:
        case Format.JSON:
            formats.print_json(_document(sample, order))
        case Format.YAML:
            formats.print_yaml(_document(sample, order))
        case Format.NAME:
            print("\n".join(one.id for one in order.of(sample)))
        case _:
            console = terminal.out()
            for part in (*_head(sample), _instances(sample, order)):
                console.print(part, crop=False)
    return ExitCode.OK


async def show_top(api: Api, order: Order, *, interval_s: float) -> ExitCode:
    """Show it on the whole terminal until q or Ctrl-C. Raises AgentctlError when the first look fails."""
    first = await take_sample(api, None)
    with screens.taken() as screen:
        shown = _Top(screen, first, order)
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(shown.look(api, interval_s), name="top")
            while (key := await screen.key()) != Key.QUIT:
                if key in KEYS:
                    shown.choose(KEYS[key])
            looking.cancel()
    return ExitCode.OK


@dataclass(slots=True)
class _Top:
    """What is on the screen: the last sample there was, in which order, and what has gone wrong since."""

    screen: Screen
    sample: Sample
    order: Order
    fault: str | None = None

    async def look(self, api: Api, interval_s: float) -> None:
        """Look again and again; what fails is said on the screen, and tried again."""
        self.draw()
        # Soon, for the figures that need two looks.
        await asyncio.sleep(min(1.0, interval_s))
        while True:
            try:
                self.sample, self.fault = await take_sample(api, self.sample, patience_s=0.0), None
            except AgentctlError as error:
                since = datetime.now(UTC) if self.fault is None else None
                self.fault = f"{terminal.moment(since)}: {error.message}" if since else self.fault
            self.draw()
            await asyncio.sleep(interval_s)

    def choose(self, key: SortKey) -> None:
        """Order by something else, or the other way round."""
        self.order = self.order.chosen(key)
        self.draw()

    def draw(self) -> None:
        """Draw what there is."""
        fault = [name(f"not up to date since {self.fault}", "bold yellow")] if self.fault else []
        body = [_instances(self.sample, self.order)]
        self.screen.show(head=[*fault, *_head(self.sample)], body=body, foot=FOOT, pinned=1)


def _head(sample: Sample) -> Iterator[RenderableType]:
    for node in sample.nodes:
        yield _node(node, sample)
    yield ""


def _node(node: NodeView, sample: Sample) -> Text:
    here = [one for one in sample.instances if one.node == node.id]
    memory = sum(one.process.rss_bytes for one in here if one.process is not None)
    used = sum(sample.processors.get(one.id, 0.0) for one in here)
    uptime = terminal.duration((datetime.now(UTC) - node.started_at).total_seconds())
    host = node.host.get("hostname")
    words = (
        f"{node.id}{f' on {host}' if host else ''}",
        f"{counts(node.instances) or 'no instances'}",
        f"CPU {100 * used:.1f} % of {node.host.get('cpus', '?')} processors",
        f"RSS {terminal.size(memory)}",
        f"manager up {uptime}",
    )
    return name("   ".join(words), "bold")


def _instances(sample: Sample, order: Order) -> Listing:
    headings = ("INSTANCE", "STATUS", "CPU %", "RSS", "UPTIME", "RESTARTS", "HEARTBEAT", "LOAD", "PID", "NODE")
    made = Listing(*headings, whole=("INSTANCE", "STATUS", "CPU %", "RSS"))
    for one in order.of(sample):
        made.add(
            name(one.id, "bold"),
            status(one.status),
            text(_percent(sample.processors.get(one.id))),
            text(terminal.size(one.process.rss_bytes) if one.process is not None else None),
            text(_duration(samples.uptime_s(one))),
            text(one.restarts),
            text(_age(one)),
            text(None if one.load is None else f"{one.load:.2f}"),
            text(one.pid),
            name(one.node),
        )
    return made


def _percent(processors: float | None) -> str | None:
    return None if processors is None else f"{100 * processors:.1f}"


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else terminal.duration(seconds)


def _age(one: InstanceSample) -> str | None:
    silence = samples.silence_s(one)
    return None if silence is None else f"{terminal.duration(silence)} ago"


def _document(sample: Sample, order: Order) -> dict[str, object]:
    instances = [
        {**one.model_dump(mode="json"), "processors": sample.processors.get(one.id)} for one in order.of(sample)
    ]
    return {"nodes": [node.model_dump(mode="json") for node in sample.nodes], "instances": instances}
