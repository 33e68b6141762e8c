"""What a connection tells of itself, for the log of its program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_manager.nats_access.trouble import Trouble


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One fact: its stable name, its level (of `logging`), words for people, facts for programs.

    `bug` is an error that nobody reckoned with: only where it was raised tells more.
    """

    event: str
    level: int
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    bug: Exception | None = None


Tell = Callable[[Notice], None]


def of_trouble(trouble: Trouble, **fields: Any) -> Notice:
    """The notice of a trouble."""
    where = {} if trouble.server is None else {"server": trouble.server}
    return Notice(event=trouble.event, level=logging.WARNING, text=str(trouble), fields={**where, **fields})


def log_fields(log: logging.Logger) -> Tell:
    """Tell with the event as the message and everything else as fields: for logs of JSON lines."""

    def tell(notice: Notice) -> None:
        log.log(notice.level, notice.event, exc_info=notice.bug, extra={"detail": notice.text, **notice.fields})

    return tell


class SaidOnce:
    """Passes each notice on once, until `forget`: a fault that lasts is one fact, however often it is met."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._said: set[tuple[str, str]] = set()

    def __call__(self, notice: Notice) -> None:
        """Pass it on, unless the same has been said."""
        key = (notice.event, notice.text)
        if key not in self._said:
            self._said.add(key)
            self._tell(notice)

    def forget(self) -> None:
        """What was wrong is well again; should it come back, that is news."""
        self._said.clear()
