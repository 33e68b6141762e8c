"""Contexts of the `nats` tool: what operators have already written down about their servers.

A context is a JSON file `$XDG_CONFIG_HOME/nats/context/<name>.json`. Its fields:
https://github.com/nats-io/jsm.go (package `natscontext`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_manager.nats_access.errors import AccessError

_HONOURED = {"url", "token", "user", "password", "creds", "nkey", "cert", "key", "ca", "tls_first"}
_OF_NO_CONSEQUENCE = {"description", "color_scheme"}
_REASONS = {
    "inbox_prefix": "the programs' inboxes have names of their own, which their permissions rely on",
    "socks_proxy": "connections are made directly",
    "jetstream_domain": "the servers' own domain is used",
    "jetstream_api_prefix": "the API is asked under its own name",
    "jetstream_event_prefix": "events are read under their own name",
}
_OTHER_IDENTITIES = {
    "nsc": "run `nsc generate creds` and name the file as creds",
    "user_jwt": "it lacks the seed; name a credentials file as creds",
}
"""What says who a client is and cannot be used here, with the way out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The values of one context that are not empty."""

    path: Path
    values: Mapping[str, Any] = field(repr=False)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is set and not honoured, and why, as sentences."""
        ignored = sorted(set(self.values) - _HONOURED - _OF_NO_CONSEQUENCE - set(_OTHER_IDENTITIES))
        return tuple(
            f"{name} of the context {self.path} is not honoured: {_REASONS.get(name, 'it is not known here')}"
            for name in ignored
        )

    def text(self, name: str) -> str | None:
        """A string. Raises AccessError when the value is something else."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise AccessError(f"{name} of the context {self.path} must be a string, not a {type(value).__name__}")
        return value

    def file(self, name: str) -> Path | None:
        """A path, `~` being the home directory."""
        value = self.text(name)
        return None if value is None else _expanded(value)

    def flag(self, name: str) -> bool | None:
        """True or false. Raises AccessError when the value is something else."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise AccessError(f"{name} of the context {self.path} must be true or false")
        return value

    def check_identity(self) -> None:
        """Raise AccessError when the context names an identity that cannot be used: connecting as nobody is wrong."""
        for name, remedy in _OTHER_IDENTITIES.items():
            if name in self.values:
                raise AccessError(f"{name} of the context {self.path} cannot be used here: {remedy}")


def read_context(name_or_path: str, called: str, environ: Mapping[str, str]) -> Context:
    """The context with that name, or in that file. Raises AccessError saying where it was looked for."""
    if "://" in name_or_path:
        # Not repeated: it may hold a password.
        raise AccessError(f"{called} must be the name of a context, or its path; this is an address")
    path = _path(name_or_path, called, environ)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.json"))) or "none"
        raise AccessError(
            f"{called} names the context {name_or_path!r}, and there is no {path}; contexts there: {known}"
        ) from error
    except (OSError, ValueError) as error:
        raise AccessError(f"the context {path} ({called}) cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise AccessError(f"the context {path} ({called}) must be a JSON object")
    return Context(
        path=path, values={name: value for name, value in document.items() if value not in ("", None, False)}
    )


def _path(name_or_path: str, called: str, environ: Mapping[str, str]) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".json"):
        return _expanded(name_or_path)
    if name_or_path.startswith("."):
        raise AccessError(f"{called}: {name_or_path!r} is no name of a context")
    configured = environ.get("XDG_CONFIG_HOME")
    home = Path(configured) if configured else _expanded("~") / ".config"
    return home / "nats" / "context" / f"{name_or_path}.json"


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise AccessError(f"{text!r}: there is no home directory to put in the place of ~") from error
