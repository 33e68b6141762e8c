"""Settings for people: what is in force and why, the annotated file, the reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from agent_manager.configuration.addresses import MASK
from agent_manager.configuration.loading import Loaded
from agent_manager.configuration.program import Program
from agent_manager.configuration.tree import Key, groups_of


def in_force(loaded: Loaded[Any], program: Program[Any]) -> Iterator[tuple[str, str, str]]:
    """Every setting's name, value (secrets masked) and origin."""
    for key in program.keys:
        yield key.name, shown_value(key, key.value_in(loaded.settings)), loaded.origin(key)


def shown_value(key: Key, value: Any) -> str:
    """A value as it could stand in a file; of a secret only that there is one, of an address all but its password."""
    if value is None:
        return ""
    if (shown_as := key.setting.shown_as) is not None:
        return _written(key, shown_as(value) if isinstance(value, str) else tuple(map(shown_as, value)))
    return MASK if key.setting.secret or isinstance(value, SecretStr) else _written(key, value)


def annotated_file(program: Program[Any]) -> str:
    """A YAML file with every setting, its meaning and its default, which it leaves in force."""
    lines = [
        f"# Settings of {program.name}: every key with its default. Remove the # before a key to change it.",
        "# Environment variables and .env win over this file, flags over those; `agent-manager config show` tells what",
        "# is in force and where it came from. Durations: 30, 30s, 5m, 1h30m.",
    ]
    about = {path: text for path, _, text in groups_of(program.model)}
    opened: set[tuple[str, ...]] = set()
    for key in program.keys:
        for depth in range(1, len(key.path)):
            group = key.path[:depth]
            if group not in opened:
                opened.add(group)
                lines += ["", *_indented(depth - 1, f"# {about[group]}", f"{group[-1]}:")]
        written = f"#{key.path[-1]}: {_written(key, _default(key))}".rstrip()
        lines += [*([] if len(key.path) > 1 else [""]), *_indented(len(key.path) - 1, f"# {_described(key)}", written)]
    return "\n".join(lines) + "\n"


def _indented(depth: int, *lines: str) -> list[str]:
    return [f"{'  ' * depth}{line}" for line in lines]


def reference(program: Program[Any]) -> str:
    """A Markdown section for every group: key, variables, default, meaning."""
    parts: list[str] = []
    groups: list[tuple[tuple[str, ...], str]] = [((), "")]
    groups += [(path, text) for path, _, text in groups_of(program.model)]
    for path, about in groups:
        rows = [key for key in program.keys if key.path[:-1] == path]
        if not rows:
            continue
        title = f"### `{'.'.join(path)}`" if path else "### At the top"
        parts += [title, "", *([about, ""] if about else [])]
        parts += ["| key | environment | default | what |", "| --- | --- | --- | --- |"]
        parts += [_row(key, program.prefix) for key in rows]
        parts.append("")
    return "\n".join(parts)


def _row(key: Key, prefix: str) -> str:
    variables = "<br>".join(f"`{name}`" for name in key.variables(prefix))
    if key.setting.secret:
        variables += "<br>or with `_FILE` appended: a file that holds it"
    default = _written(key, _default(key))
    also = f" In a file also as {', '.join(f'`{other}`' for other in key.setting.also)}." if key.setting.also else ""
    live = " Changes apply on SIGHUP." if key.setting.live else ""
    text = f"{_described(key)}{also}{live}".replace("|", "\\|")
    return f"| `{key.path[-1]}` | {variables} | {f'`{default}`' if default else ''} | {text} |"


def _described(key: Key) -> str:
    text = " ".join(key.description.split())
    return f"{text} Not used yet: {key.setting.awaits} will." if key.setting.awaits else text


def _default(key: Key) -> Any:
    default = key.info.get_default(call_default_factory=True)
    return None if default is PydanticUndefined else default


def _written(key: Key, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return json.dumps(list(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}" + ("s" if key.fields[-1] != key.path[-1] else "")
    return str(value)
