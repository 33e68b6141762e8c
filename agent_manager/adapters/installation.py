"""Who this installation is: ids made at the first start and kept in the data directory."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from agent_manager.adapters.nats.private_files import write_private
from agent_manager.domain.errors import InvalidRequestError
from agent_manager.protocol import subjects

DATABASE = "agent-manager.db"
"""The node's database in its data directory."""


class InstallationError(InvalidRequestError):
    """The file with the ids cannot be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """`node_id` names this host on the bus, `cluster_id` nodes that belong together, `tag` this node's processes."""

    node_id: str
    cluster_id: str
    tag: str


def load_or_create(data_dir: Path) -> Installation:
    """Read `node.json` from the data directory, made for a new one. Raises InstallationError naming the file."""
    path = data_dir / "node.json"
    if not path.exists():
        if (data_dir / DATABASE).exists():
            raise InstallationError(
                f"{path} is missing, but {data_dir / DATABASE} is there: its agents belong to a node whose id only "
                f"that file knows. Restore it, or move {data_dir} away to begin anew"
            )
        made = Installation(
            node_id=f"node-{secrets.token_hex(4)}", cluster_id=secrets.token_hex(8), tag=secrets.token_hex(8)
        )
        write_private(path, json.dumps(asdict(made), indent=2) + "\n", durable=True)
        return made
    return _read(path)


def load(data_dir: Path) -> Installation | None:
    """Read `node.json`; None where there is none. Raises InstallationError naming the file."""
    path = data_dir / "node.json"
    return _read(path) if path.exists() else None


def _read(path: Path) -> Installation:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return Installation(**{key: subjects.token(known[key]) for key in ("node_id", "cluster_id", "tag")})
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InstallationError(
            f"{path} cannot be used ({error}): it holds node_id, cluster_id and tag of this installation. "
            f"Restore it, or move {path.parent} away to begin anew"
        ) from error
