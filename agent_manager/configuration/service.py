"""What every program of ours lets choose of itself."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from agent_manager.configuration.kinds import Text, text, word
from agent_manager.configuration.tree import Group, Setting

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["json", "console", "auto"]


class ServiceSettings(Group):
    """The program itself."""

    name: Text
    """What this service is called in its log and towards the bus."""
    version: Annotated[str, text('a version, such as "1.0.0" (quote a number)')] | None = None
    """A label of your own for what is deployed here; it is logged."""
    log_level: Annotated[LogLevel, word(get_args(LogLevel), convert=str.upper), Setting(live=True)] = "INFO"
    """The least severe lines that are logged."""
    log_format: Annotated[LogFormat, word(get_args(LogFormat))] = "auto"
    """One JSON object a line, or lines for people; `auto` is console where standard error is a terminal."""
