"""Identifiers and their rules: agent ids, instance ids (slots), subject tokens.

An agent id has no underscore, so that an instance id `<agent_id>_<ordinal>` is never itself an agent id.
"""

from __future__ import annotations

import re

from agent_manager.domain.errors import InvalidRequestError

AGENT_ID_PATTERN = r"[a-z0-9][a-z0-9-]{0,55}"
"""Lower-case letters, digits and hyphens, at most 56 characters."""

RESERVED_AGENT_IDS = frozenset({"manager", "status", "metrics", "event", "log", "call", "node", "package"})
"""Ids that would collide with subjects of the manager itself."""

_AGENT_ID = re.compile(AGENT_ID_PATTERN)
_INSTANCE_ID = re.compile(rf"({AGENT_ID_PATTERN})_(0|[1-9][0-9]{{0,4}})")


def check_agent_id(value: str) -> str:
    """Return `value` when it is a usable agent id.

    Raises InvalidRequestError naming the value and the rule.
    """
    if not _AGENT_ID.fullmatch(value):
        raise InvalidRequestError(
            f"agent id {value[:80]!r} is not valid: use 1 to 56 lower-case letters, digits and hyphens, "
            f"beginning with a letter or digit{_meant(value)}",
            detail={"field": "agent_id", "pattern": AGENT_ID_PATTERN},
        )
    if value in RESERVED_AGENT_IDS:
        raise InvalidRequestError(
            f"agent id {value!r} is reserved; reserved are {', '.join(sorted(RESERVED_AGENT_IDS))}",
            detail={"field": "agent_id", "reserved": sorted(RESERVED_AGENT_IDS)},
        )
    return value


def _meant(value: str) -> str:
    """What else may have been meant: the agent of an instance, or of a folder."""
    instance = _INSTANCE_ID.fullmatch(value)
    meant = instance.group(1) if instance is not None else value.lower().replace("_", "-")
    return f"; did you mean {meant}?" if _AGENT_ID.fullmatch(meant) else ""


def agent_id_of_folder(folder: str) -> str:
    """The agent id of a package folder: `_` becomes `-`. Raises InvalidRequestError when no valid id results."""
    return check_agent_id(folder.replace("_", "-"))


def instance_id(agent_id: str, ordinal: int) -> str:
    """The id of an instance, which is also the name of its slot in the launcher."""
    return f"{agent_id}_{ordinal}"


def agent_id_of(instance_id: str) -> str:
    """The agent of what is known to be the id of an instance."""
    return instance_id.rpartition("_")[0]


def split_instance_id(value: str) -> tuple[str, int]:
    """Agent id and ordinal of an instance id. Raises InvalidRequestError when it is none."""
    match = _INSTANCE_ID.fullmatch(value)
    if match is None:
        raise InvalidRequestError(
            f"instance id {value[:80]!r} is not valid: expected <agent_id>_<ordinal>, such as echo_0",
            detail={"field": "instance_id"},
        )
    return match.group(1), int(match.group(2))
