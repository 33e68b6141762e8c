"""Whatever stands in a manifest gives a spec or faults, never both, and never an exception."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_manager.adapters.codec import FAULTS, SPEC
from agent_manager.adapters.packages.manifest_file import parse_manifest
from agent_manager.adapters.packages.package_folder import found_package
from agent_manager.adapters.packages.validation import sections

KEYS = sorted({name for _, model in sections() for name in model.model_fields})

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["none", "always", "immediate", "SIGTERM", "main.py", "./run", "../x.py", "1.0.0", "yes"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=10), inner, max_size=6)
    ),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=12)
INDICATORS = [
    "- ",
    "&a ",
    "*a",
    "!!int ",
    "? ",
    "<<: ",
    "{",
    "}",
    "[",
    "]",
    ",",
    '"',
    "'",
    "|\n",
    ">\n",
    "#",
    "---\n",
    "~",
]
OTHERS = ["\n", "  ", "\t", "%YAML 1.1\n", "\\x41", "none", "1", "é", "\ufeff"]
YAML_SCRAPS = st.lists(
    st.sampled_from([*(f"{key}: " for key in KEYS), *INDICATORS, *OTHERS]),
    max_size=40,
).map("".join)


unhurried = settings(deadline=None, database=None)


def check(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "any"
        folder.mkdir()
        (folder / "main.py").touch()
        found = found_package(folder, parse_manifest(raw))
    assert (found.spec is None) == bool(found.faults)
    json.dumps(FAULTS.encode(found.faults), ensure_ascii=False).encode()
    assert all(fault.message and len(fault.message) < 2_000 for fault in found.faults)
    if found.spec is not None:
        kept = json.dumps(SPEC.encode(found.spec), ensure_ascii=False, allow_nan=False).encode()
        assert SPEC.decode(json.loads(kept)) == found.spec


@unhurried
@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    check(raw)


@unhurried
@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    check(text.encode("utf-8", "surrogatepass"))


@unhurried
@given(YAML_SCRAPS)
def test_any_scraps_of_yaml(text: str) -> None:
    check(text.encode())


@unhurried
@given(DOCUMENTS)
def test_any_values_at_the_known_keys(document: dict[str, Any]) -> None:
    check(yaml.safe_dump(document).encode())


@unhurried
@given(DOCUMENTS)
def test_any_values_beside_a_valid_manifest(document: dict[str, Any]) -> None:
    check(yaml.safe_dump({**document, "version": "1.0.0", "entrypoint": "main.py"}).encode())


@unhurried
@given(VALUES)
def test_any_config(config: object) -> None:
    check(yaml.safe_dump({"version": "1.0.0", "entrypoint": "main.py", "config": {"it": config}}).encode())
