"""`--watch`: a view that is drawn anew whenever something happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent_manager.cli.ctl import screen as screens
from agent_manager.cli.ctl import terminal
from agent_manager.cli.ctl.api import Api, M
from agent_manager.cli.ctl.failures import AgentctlError, ExitCode
from agent_manager.cli.ctl.formats import Format
from agent_manager.cli.ctl.keys import Key
from agent_manager.cli.ctl.news import News
from agent_manager.cli.ctl.screen import Screen
from agent_manager.cli.ctl.views import View, print_document

INTERVAL_S = 5.0
"""A look without an event: heartbeats and uptimes change in silence."""
SETTLE_S = 0.2
"""Between two looks at least: a hundred events at once are one picture."""
FOOT = "q quits"


@dataclass(frozen=True, slots=True)
class Look:
    """The last answer there was, and what has gone wrong since."""

    document: Any
    fault: str | None


async def watch(api: Api, view: View[M], form: Format) -> ExitCode:
    """Show a view until q or Ctrl-C; where no terminal can be drawn on, print it again whenever it has changed.

    Raises AgentctlError when the first look fails; later ones are tried again.
    """
    first = Look(await view.ask(api), None)
    news = News(api, view.agent_id)
    async with asyncio.TaskGroup() as group, aclosing(_looks(api, view, news, first)) as looks:
        listening = group.create_task(news.listen(), name="news")
        if form in (Format.TABLE, Format.WIDE) and screens.is_possible():
            with screens.taken() as screen:
                await _until_quit(_draw(screen, view, looks, wide=form is Format.WIDE), screen)
        else:
            await _print_changes(view, looks, form)
        listening.cancel()
    return ExitCode.OK


async def _until_quit(drawing: Coroutine[Any, Any, None], screen: Screen) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(drawing, name="draw")
        while await screen.key() != Key.QUIT:
            pass
        task.cancel()


async def _looks(api: Api, view: View[M], news: News, look: Look) -> AsyncGenerator[Look, None]:
    """A look, then another after each piece of news."""
    while True:
        yield look
        await asyncio.sleep(SETTLE_S)
        await news.wait(INTERVAL_S)
        try:
            look = Look(await view.ask(api, patience_s=0.0), None)
        except AgentctlError as error:
            look = Look(look.document, error.message)


async def _draw(screen: Screen, view: View[M], looks: AsyncIterator[Look], *, wide: bool) -> None:
    async for look in looks:
        body = view.picture(look.document, wide=wide) or [terminal.text(view.if_empty)]
        at = terminal.moment(datetime.now(UTC))
        head = [terminal.name(f"{at}  {look.fault}", "bold yellow")] if look.fault else []
        screen.show(head=head, body=body, foot=f"{at}  {FOOT}", pinned=int(view.is_list))


async def _print_changes(view: View[M], looks: AsyncIterator[Look], form: Format) -> None:
    printed, fault = None, None
    async for look in looks:
        if look.fault is not None and look.fault != fault:
            terminal.complain(look.fault)
        fault = look.fault
        if look.document != printed:
            print_document(view, look.document, form)
            printed = look.document
