"""The end of a stream is told in whole lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_manager.launcher.last_lines import LastLines


def _after(*chunks: bytes) -> list[str]:
    last_lines = LastLines()
    for chunk in chunks:
        last_lines.add(chunk)
    return last_lines.to_json()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((), []),
        ((b"",), []),
        ((b"one\ntwo\n",), ["one", "two"]),
        ((b"on", b"e\r\ntw", b"o"), ["one", "two"]),
        ((b"one\n\ntwo\n\n",), ["one", "", "two", ""]),
        ((b"\xff\xc3\xa9\n",), ["\N{REPLACEMENT CHARACTER}\N{LATIN SMALL LETTER E WITH ACUTE}"]),
        ((b"x" * 5000,), ["x" * 2048]),
        ((b"x" * 5000 + b"\n",), ["x" * 2047]),
        ((b"x" * 5000 + b"\nend\n",), ["end"]),
        ((b"first\n" + b"x" * 2047 + b"\n",), ["x" * 2047]),
        ((b"first\n" + b"x" * 2048,), ["x" * 2048]),
    ],
)
def test_lines_at_the_end(chunks: tuple[bytes, ...], lines: list[str]) -> None:
    assert _after(*chunks) == lines


@given(st.lists(st.binary(max_size=4000), max_size=5))
def test_how_it_was_cut_into_reads_makes_no_difference(chunks: list[bytes]) -> None:
    assert _after(*chunks) == _after(b"".join(chunks))


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\r\n"), min_size=1, max_size=300)))
def test_only_whole_lines_are_told_and_as_many_as_fit(written: list[str]) -> None:
    told = _after("".join(f"{line}\n" for line in written).encode())
    assert told == written[len(written) - len(told) :]
    assert sum(len(line) + 1 for line in told) <= 2048
    if len(told) < len(written):
        assert sum(len(line) + 1 for line in written[-len(told) - 1 :]) > 2048
