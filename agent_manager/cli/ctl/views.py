"""What can be looked at: how it is asked for, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic

from rich.console import RenderableType

from agent_manager.cli.ctl import formats, terminal
from agent_manager.cli.ctl.api import PATIENCE_S, Api, M, understood
from agent_manager.cli.ctl.failures import ExitCode
from agent_manager.cli.ctl.formats import Format


@dataclass(frozen=True, kw_only=True, slots=True)
class View(Generic[M]):
    """One question to the API and the picture of its answer. `agent_id` is whose events change it, None everybody's."""

    path: str
    model: type[M]
    shown: Callable[[M, bool], Iterable[RenderableType]]
    """The picture; the second argument is whether it is to be wide."""
    names: Callable[[M], Iterable[str]]
    is_list: bool = False
    agent_id: str | None = None
    if_empty: str | None = None
    """Said on standard error where there is nothing to show."""

    async def ask(self, api: Api, *, patience_s: float = PATIENCE_S) -> Any:
        """The API's JSON, of a list every page."""
        return await (api.all_pages if self.is_list else api.get)(self.path, patience_s=patience_s)

    def picture(self, document: Any, *, wide: bool) -> list[RenderableType]:
        """What people see of a document; empty where there is nothing."""
        return list(self.shown(understood(self.model, document), wide))


async def print_once(api: Api, view: View[M], form: Format) -> ExitCode:
    """Ask, and print the answer."""
    print_document(view, await view.ask(api), form)
    return ExitCode.OK


def print_document(view: View[M], document: Any, form: Format) -> None:
    """Print an answer in one of the forms."""
    match form:
        case Format.JSON:
            formats.print_json(document)
        case Format.YAML:
            formats.print_yaml(document)
        case Format.NAME:
            for name in view.names(understood(view.model, document)):
                terminal.out().print(terminal.name(name), soft_wrap=True)
        case _:
            _print_picture(view, document, wide=form is Format.WIDE)


def _print_picture(view: View[M], document: Any, *, wide: bool) -> None:
    picture = view.picture(document, wide=wide)
    console = terminal.out()
    for part in picture:
        console.print(part, crop=False)
    if not picture and view.if_empty is not None:
        terminal.complain(view.if_empty)
