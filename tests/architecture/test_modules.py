"""Habits of the code base that no other tool checks."""

from __future__ import annotations

import ast
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for top in ("agent_manager", "management_api") for path in (ROOT / top).rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc", "models", "core", "types"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# Fields of a log record that `extra` may not overwrite, and those that the formatter adds to a line.
RESERVED_FIELDS = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event", "level", "logger", "timestamp"}

IMPORT_WITHOUT_A_WORLD = """
import builtins, importlib, io, os, socket, sys

def refuse(what):
    def refused(*args, **kwargs):
        raise AssertionError(f"an import of ours {what}: {args}")
    return refused

def read_only(opened):
    def open_to_read(file, mode="r", *args, **kwargs):
        if set(mode) & set("wax+"):
            refuse("opens a file for writing")(file)
        return opened(file, mode, *args, **kwargs)
    return open_to_read

names = sys.argv[1:]
builtins.open = io.open = read_only(open)
for name in ("connect", "connect_ex", "bind"):
    setattr(socket.socket, name, refuse("uses the network"))
for name in names:
    importlib.import_module(name)
import threading
assert threading.active_count() == 1, threading.enumerate()
"""


LOADED_BY_NAME = {
    "agent_manager.launcher.__main__",
    "agent_manager.launcher.zygote",
    "agent_manager.adapters.packages.validation",
    "agent_manager.adapters.sql.opening",
    "agent_manager.adapters.sql.upserts",
    "agent_manager.cli.programs",
    "agent_manager.telemetry.spans",
}
"""Who loads a module where it is needed: measured, and hidden from the rules on layers, so not to be done lightly."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_modules_are_loaded_by_name_in_known_places_only() -> None:
    assert {name_of(path) for path in MODULES if "import_module" in path.read_text(encoding="utf-8")} == LOADED_BY_NAME


def test_importing_any_module_writes_connects_and_starts_nothing(tmp_path: Path) -> None:
    # Alembic's environment is a script that it runs itself.
    names = [name_of(path) for path in MODULES if path.name not in ("env.py", "__main__.py")]
    program = [sys.executable, "-c", IMPORT_WITHOUT_A_WORLD, *names]
    done = subprocess.run(
        program, cwd=ROOT, env={"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_is_named_for_a_concept_and_says_what_it_is(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    if path.name != "__main__.py":
        assert ast.get_docstring(tree_of(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_function_imports(path: Path) -> None:
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, FUNCTIONS)]
    imports = [node.lineno for f in functions for node in ast.walk(f) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports == []


def extras(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
            for key in node.value.keys:
                if isinstance(key, ast.Constant):
                    yield key.lineno, str(key.value)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_log_field_collides_with_one_of_the_record(path: Path) -> None:
    assert [(line, field) for line, field in extras(tree_of(path)) if field in RESERVED_FIELDS] == []
