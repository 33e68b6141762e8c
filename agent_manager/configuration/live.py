"""Settings of a program that runs on while some of them change."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from agent_manager.configuration.loading import ConfigurationError, Loaded
from agent_manager.configuration.presentation import shown_value
from agent_manager.configuration.program import Program
from agent_manager.configuration.tree import Group, Key

T = TypeVar("T", bound=Group)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reload:
    """What reading the settings again came to: settings that apply now, and those that wait for the next start."""

    applied: tuple[Key, ...]
    waiting: tuple[Key, ...]


class Live(Generic[T]):
    """The settings in force: `now` is replaced by `reload`, in those that may change while the program runs."""

    def __init__(self, program: Program[T], loaded: Loaded[T], *, config: Path | None = None) -> None:
        """`config`: the file that was named for `loaded`, if any."""
        self._program = program
        self._config = config
        self._loaded = loaded
        self.now: T = loaded.settings

    def reload(self, environ: Mapping[str, str]) -> Reload:
        """Read everything again. Raises ConfigurationError, and nothing has changed."""
        fresh = self._program.load(environ, config=self._config).settings
        changed = [key for key in self._program.keys if key.value_in(fresh) != key.value_in(self.now)]
        applied = tuple(key for key in changed if key.setting.live)
        for key in applied:
            self.now = _with(self.now, key.fields, key.value_in(fresh))
        return Reload(applied=applied, waiting=tuple(key for key in changed if not key.setting.live))

    def reload_and_log(self, environ: Mapping[str, str]) -> None:
        """Read everything again and log what came of it; settings that are wrong change nothing."""
        try:
            outcome = self.reload(environ)
        except ConfigurationError as error:
            for fault in error.faults:
                log.error("settings_refused", extra={"fault": fault})
            return
        for key in outcome.applied:
            value = shown_value(key, key.value_in(self.now))
            log.info("setting_changed", extra={"setting": key.name, "value": value})
        for key in outcome.waiting:
            log.warning("setting_waits_for_start", extra={"setting": key.name})
        if not outcome.applied and not outcome.waiting:
            log.info("settings_unchanged")

    def log_unused(self) -> None:
        """Warn of settings that were given although nothing uses them yet."""
        for key, awaited in self._loaded.without_effect():
            log.warning(
                "setting_without_effect",
                extra={"setting": key.name, "origin": self._loaded.origin(key), "awaits": awaited},
            )


def _with(group: T, fields: tuple[str, ...], value: object) -> T:
    first, *rest = fields
    changed = _with(getattr(group, first), tuple(rest), value) if rest else value
    return group.model_copy(update={first: changed})
