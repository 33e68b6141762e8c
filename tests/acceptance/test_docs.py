"""The commands of the documentation, each page followed from its top by somebody with a node that runs.

`console` blocks are what cannot be run here; each page says beside them why, and what stands in them is not tested.
`bash` blocks are for root on a machine of its own: `tests/deployment/` carries them out on one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.newcomer import blocks, newcomer_in

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    str(path.relative_to(DOCS)): text
    for path in sorted(DOCS.rglob("*.md"))
    if (text := path.read_text(encoding="utf-8"))
}
KINDS = {"sh", "bash", "python", "yaml", "json", "console", "text", "ini", "promql"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if "\n```sh\n" in text])
async def test_the_commands_of_a_page_work(page: str, tmp_path: Path) -> None:
    async with newcomer_in(tmp_path) as newcomer:
        await newcomer.follow(PAGES[page])


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    assert {block.kind for block in blocks(PAGES[page])} <= KINDS
    assert PAGES[page].count("\n```") == 2 * len(list(blocks(PAGES[page])))
