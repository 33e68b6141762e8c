"""`docs/manifest.md` describes the manifest that is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent_manager.adapters.packages.manifest import Section
from agent_manager.adapters.packages.manifest_file import read_manifest
from agent_manager.adapters.packages.package_folder import found_package
from agent_manager.adapters.packages.validation import sections

REFERENCE = (Path(__file__).parents[3] / "docs" / "manifest.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_valid(example: str, tmp_path: Path) -> None:
    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "main.py").touch()
    (folder / "agent.yaml").write_text(example, encoding="utf-8")
    found = found_package(folder, read_manifest(folder / "agent.yaml"))
    assert found.faults == ()
    assert found.spec is not None


@pytest.mark.parametrize(("path", "model"), list(sections()))
def test_every_key_is_described_with_its_default(path: tuple[str, ...], model: type[Section]) -> None:
    heading = f"### `{path[-1]}`" if path else "## Keys"
    table = re.split(r"\n##", REFERENCE.split(f"{heading}\n", 1)[1], maxsplit=1)[0]
    rows = {
        row.split("|")[1].strip(" `"): row.split("|")[3].strip(" `") for row in table.splitlines() if row[:3] == "| `"
    }
    assert set(rows) == set(model.model_fields)
    for name, field in model.model_fields.items():
        if isinstance(field.default, bool):
            assert rows[name] == str(field.default).lower()
        elif isinstance(field.default, (int, float)):
            assert rows[name] == f"{field.default:.15g}"
        elif isinstance(field.default, str) and field.default:
            assert rows[name] == str(field.default)
        elif field.is_required():
            assert rows[name] == "required"


def test_the_full_example_uses_every_section_and_every_key_but_the_alternative() -> None:
    full = EXAMPLES[1]
    for _, model in sections():
        for name in model.model_fields:
            assert f"{name}:" in full
