"""Applying a schema to a configuration, in a process of its own where the schema has regular expressions.

One that goes back and forth for ever holds the interpreter's lock: the manager itself would stop answering.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from agent_manager.adapters.packages.config_defaults import KEY, with_defaults
from agent_manager.adapters.packages.config_schema import config_problems, schema_problems
from agent_manager.documents.problems import Problem

TIMEOUT_S = 5.0


def problems_of(schema: Mapping[str, Any], config: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the schema, or else with the configuration by it."""
    return schema_problems(schema) or _checked(schema, with_defaults(schema, config))


def _checked(schema: Mapping[str, Any], config: Mapping[str, Any]) -> list[Problem]:
    """As `config_problems`, within `TIMEOUT_S`."""
    if not _has_patterns(schema):
        return config_problems(schema, config)
    program = (sys.executable, "-P", "-m", __name__)
    try:
        done = subprocess.run(
            program, input=json.dumps([schema, config]), capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except subprocess.TimeoutExpired:
        message = f"{KEY} could not be applied to config within {TIMEOUT_S:g} s: simplify its patterns"
        return [Problem(path=(KEY,), message=message, expected="patterns that are quickly decided")]
    except (OSError, subprocess.CalledProcessError) as error:
        message = f"{KEY} could not be applied to config: {error}"
        return [Problem(path=(KEY,), message=message, expected="a schema that can be applied")]
    return [Problem(**{**problem, "path": tuple(problem["path"])}) for problem in json.loads(done.stdout)]


def _has_patterns(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return any(key in ("pattern", "patternProperties") or _has_patterns(value) for key, value in schema.items())
    return isinstance(schema, list) and any(_has_patterns(one) for one in schema)


def main() -> None:
    """Entry point of the process: `[schema, config]` in, the problems out, both as JSON."""
    schema, config = json.load(sys.stdin)
    json.dump([asdict(problem) for problem in config_problems(schema, config)], sys.stdout)


if __name__ == "__main__":
    main()
