"""In which form an answer is printed."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

import yaml


class Format(StrEnum):
    """What `-o` takes; `table` is what people get without it."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def print_json(document: Any) -> None:
    """Print a document of the API on one line."""
    print(json.dumps(document, ensure_ascii=False), flush=True)


def print_yaml(document: Any) -> None:
    """Print a document of the API as a document of YAML."""
    print(
        yaml.dump(document, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, explicit_start=True),
        end="",
        flush=True,
    )


_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
