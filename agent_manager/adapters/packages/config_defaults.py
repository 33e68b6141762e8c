"""What a `config_schema` adds to a configuration."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

KEY = "config_schema"
"""The manifest's key for the schema."""


def with_defaults(schema: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, completed by the `default` of each of the schema's `properties`, level by level."""
    completed = dict(config)
    properties = schema.get("properties")
    for name, below in properties.items() if isinstance(properties, Mapping) else ():
        if not isinstance(below, Mapping):
            continue
        if name not in completed and "default" in below:
            completed[name] = copy.deepcopy(below["default"])
        if isinstance(completed.get(name), Mapping):
            completed[name] = with_defaults(below, completed[name])
    return completed
