"""What pages say of files and packages is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WITH_CODE_PATHS = ("CONTRIBUTING.md", "docs/architecture.md")


def name(page: Path) -> str:
    """How a page is called in the report."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", WITH_CODE_PATHS)
def test_every_file_that_is_named_exists(page: str) -> None:
    named = re.findall(r"`([\w./]+/[\w./]*)`", (ROOT / page).read_text(encoding="utf-8"))
    folders = (ROOT, ROOT / "agent_manager")
    # What is made below `build` is not in a fresh clone.
    kept = [path for path in named if not path.startswith("build/")]
    missing = [path for path in kept if not any((folder / path).exists() for folder in folders)]
    assert missing == []


def test_the_readme_says_what_every_dependency_is_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    requirements = [*project["dependencies"], *optional["embedded"], *optional["otel"]]
    declared = {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Dependencies\n")[1]
    listed = set(re.findall(r"^\| ([a-z][\w-]*) (?:\(.*?\) )?\|", table, re.MULTILINE)) - {"package"}
    assert listed == declared


def test_the_changelog_names_the_present_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
