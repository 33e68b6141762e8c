"""`docs/manifest.md` describes the manifest that is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent_manager.adapters.packages.manifest import Section
from agent_manager.adapters.packages.manifest_file import read_manifest
from agent_manager.adapters.packages.package_folder import found_package
from agent_manager.adapters.packages.reference import StalePageError, reference, renewed
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


def test_the_tables_are_those_of_the_model() -> None:
    assert renewed(REFERENCE) == REFERENCE, "docs/manifest.md is stale: run `make reference`"


@pytest.mark.parametrize(("path", "model"), list(sections()))
def test_every_key_has_a_row_with_its_default_its_unit_and_what_is_allowed(
    path: tuple[str, ...], model: type[Section]
) -> None:
    heading = f"### `{path[-1]}`" if path else "## Keys"
    table = re.split(r"\n##", reference().split(f"{heading}\n", 1)[1], maxsplit=1)[0]
    rows = {
        row.split(" | ")[0].strip("| `"): [cell.strip(" `") for cell in row.split(" | ")]
        for row in table.splitlines()
        if row[:3] == "| `"
    }
    assert set(rows) == set(model.model_fields)
    for name, field in model.model_fields.items():
        _, type_, default, unit, allowed, meaning = rows[name]
        assert type_
        assert allowed
        assert meaning.strip("| ")
        assert unit == ("seconds" if name.endswith("_s") else "bytes" if name.endswith("_bytes") else "")
        if isinstance(field.default, bool):
            assert default == str(field.default).lower()
        elif isinstance(field.default, (int, float)):
            assert default == f"{field.default:.15g}"
        elif isinstance(field.default, str) and field.default:
            assert default == str(field.default)
        elif field.is_required():
            assert default == "required"


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(StalePageError, match="needs the lines"):
        renewed("# The manifest\n")


def test_the_full_example_uses_every_section_and_every_key_but_the_alternative() -> None:
    full = EXAMPLES[1]
    for _, model in sections():
        for name in model.model_fields:
            assert f"{name}:" in full
