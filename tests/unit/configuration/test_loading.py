"""Settings in layers, with their origins, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import SecretStr

from agent_manager.configuration.kinds import listing, seconds, text, truth, whole
from agent_manager.configuration.live import Live
from agent_manager.configuration.loading import ConfigurationError, Loaded
from agent_manager.configuration.presentation import in_force
from agent_manager.configuration.program import Program
from agent_manager.configuration.tree import Group, Setting


class Store(Group):
    """A group."""

    url: Annotated[
        Annotated[SecretStr, text()] | None, Setting(variables=("STORE_URL",), also=("old.place",), secret=True)
    ] = None
    """Where it is."""
    size: Annotated[int, whole(1, 9)] = 5
    """How large."""
    wait_s: Annotated[float, seconds(0, 60), Setting(live=True)] = 1.0
    """How long."""


class Tree(Group):
    """The top."""

    store: Store = Store()
    """A group."""
    names: Annotated[tuple[str, ...], listing()] = ()
    """A list."""
    later: Annotated[bool, truth(), Setting(awaits="the future")] = False
    """Unused."""


PROGRAM = Program(name="test", model=Tree, prefix="TEST", files=(Path("test.yaml"),), reserved=("TEST_MARK",))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults(environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as refused:
        PROGRAM.load(environ or {})
    return str(refused.value)


def origins(loaded: Loaded[Tree]) -> dict[str, str]:
    return {name: origin for name, _, origin in in_force(loaded, PROGRAM)}


def test_the_later_place_wins_and_each_value_knows_its_own() -> None:
    Path("test.yaml").write_text("store:\n  size: 1\n  wait: 2s\nnames: [a]\nlater: true\n")
    Path(".env").write_text("# mine\nTEST_STORE_SIZE=2\nTEST_NAMES=b\nOTHER=1\n")
    loaded = PROGRAM.load({"TEST_STORE_SIZE": "3", "TEST_MARK": "x"}, flags=[("--later", "later", False)])
    assert loaded.settings == Tree(store=Store(size=3, wait_s=2.0), names=("b",), later=False)
    assert origins(loaded) == {
        "store.url": "default",
        "store.size": "environment TEST_STORE_SIZE",
        "store.wait": "test.yaml:3",
        "names": ".env:3 TEST_NAMES",
        "later": "--later",
    }


def test_nothing_given_is_all_defaults() -> None:
    assert PROGRAM.load({}).settings == Tree()


@pytest.mark.parametrize("text_", ["", "# only words\n", "store:\n  #size: 3\n", "store:\n  size:\n"])
def test_a_file_that_gives_nothing_changes_nothing(text_: str) -> None:
    Path("test.yaml").write_text(text_)
    assert PROGRAM.load({"TEST_STORE_SIZE": ""}).origins == {}


def test_a_setting_may_stand_under_its_other_names_with_its_own_first() -> None:
    Path("test.yaml").write_text("old:\n  place: a://file\n")
    assert PROGRAM.load({}).settings.store.url == SecretStr("a://file")
    assert PROGRAM.load({"STORE_URL": "a://alias"}).settings.store.url == SecretStr("a://alias")
    both = {"STORE_URL": "a://alias", "TEST_STORE_URL": "a://own"}
    assert PROGRAM.load(both).settings.store.url == SecretStr("a://own")


def test_one_setting_under_two_names_in_a_file_is_a_fault() -> None:
    Path("test.yaml").write_text("old:\n  place: a\nstore:\n  url: b\n")
    assert faults() == "test.yaml:4: store.url is given twice, first in test.yaml:2: remove one"


def test_everything_that_is_wrong_is_said_at_once_with_its_place() -> None:
    Path("test.yaml").write_text("store:\n  sice: 1\n  wait: soon\n  url: 12345\nnames: 7\nbogus: 1\n")
    Path(".env").write_text("TEST_NMES=b\n")
    said = faults({"TEST_STORE_SIZE": "ten"}).splitlines()
    assert set(said) == {
        "test.yaml:2: store.sice is not a known key: did you mean size?",
        "test.yaml:6: bogus is not a known key: known are later, names, old, store",
        ".env:1 TEST_NMES: is not a known variable: did you mean TEST_NAMES?",
        "environment TEST_STORE_SIZE: store.size must be a whole number from 1 to 9",
        "test.yaml:3: store.wait must be a duration from 0 to 1m, such as 30, 30s or 5m",
        "test.yaml:4: store.url must be a string (put numbers, true and false in quotes)",
        "test.yaml:5: names must be a list of strings (in a variable: separated by commas), not 7",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"store: [1\n", "test.yaml:2: is not valid YAML at line 2"),
        (b"store: 3\n", "test.yaml:1: store must be a mapping of keys to values"),
        (b"- a\n", "test.yaml:1: is a list; expected a mapping of keys to values, such as `service:`"),
        (b"names: [a]\nnames: [b]\n", "test.yaml:2: names is given twice, first in line 1: remove one"),
        (b"x\n\xff\n", "test.yaml:2: is not UTF-8 text"),
        (b"#" * 1_000_001, "test.yaml is larger than 1000000 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_line(content: bytes, words: str) -> None:
    Path("test.yaml").write_bytes(content)
    assert faults().startswith(words)


def test_a_file_that_was_named_must_be_there() -> None:
    with pytest.raises(ConfigurationError, match=r"^nowhere\.yaml cannot be read: No such file"):
        PROGRAM.load({}, config=Path("nowhere.yaml"))
    assert faults({"TEST_CONFIG": "nowhere.yaml"}).startswith("nowhere.yaml cannot be read")


def test_a_dotenv_line_that_is_none_is_named_without_its_value() -> None:
    Path(".env").write_text("A=1\nTEST PASSWORD=hunter2\n")
    said = faults()
    assert said == ".env:2: must be NAME=value, or a comment that begins with #"


def test_a_dotenv_line_that_is_none_hides_nothing_else_and_lines_are_those_of_the_file(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Path(".env").write_text("\n\nPASSWORD hunter2\n\nTEST_NMES=b\n\nTEST_STORE_SIZE=ten\nhunter3 x\n")
    assert faults().splitlines() == [
        ".env:3: must be NAME=value, or a comment that begins with #",
        ".env:8: must be NAME=value, or a comment that begins with #",
        ".env:5 TEST_NMES: is not a known variable: did you mean TEST_NAMES?",
        ".env:7 TEST_STORE_SIZE: store.size must be a whole number from 1 to 9",
    ]
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("TEST_STORE_SISE", "did you mean TEST_STORE_SIZE?"),
        ("TEST_SIZE", "no setting has that name"),
        ("TEST_FOO", "no setting has that name"),
        ("TEST_", "no setting has that name"),
    ],
)
def test_only_a_variable_that_is_near_is_proposed(name: str, hint: str) -> None:
    assert faults({name: "x"}) == f"environment {name}: is not a known variable: {hint}"


def test_a_secret_may_lie_in_a_file() -> None:
    Path("secret").write_text("a://b\n")
    loaded = PROGRAM.load({"TEST_STORE_URL_FILE": "secret"})
    assert loaded.settings.store.url == SecretStr("a://b")
    assert origins(loaded)["store.url"] == "environment TEST_STORE_URL_FILE (secret)"
    said = faults({"TEST_STORE_URL_FILE": "hunter2"})
    assert said == ("environment TEST_STORE_URL_FILE: the file that it names cannot be read: No such file or directory")


@pytest.mark.parametrize(
    "text_",
    [
        "store:\n  url: [hunter2]\n",
        "store:\n  url: !!binary hunter2\n",
        "store:\n  url: [!!binary hunter2]\n",
        "store:\n  url: *hunter2\n",
        "store:\n  url: !hunter2!x\n",
        "store:\n  size: {url: hunter2}\n",
        "store:\n  size: hunter2\n",
        "store: url=hunter2\n",
        "store: {url:hunter2}\n",
        "store: {'url hunter2'}\n",
        "store: {[hunter2]: 1}\n",
        "store: {!!int hunter2: 1}\n",
        "old: a://me:hunter2@host\n",
    ],
)
def test_what_is_wrong_beside_a_secret_is_not_repeated(text_: str) -> None:
    Path("test.yaml").write_text(text_)
    said = faults()
    assert said.startswith("test.yaml:")
    assert "hunter2" not in said


def test_secrets_are_never_shown() -> None:
    loaded = PROGRAM.load({"TEST_CONFIG": "/dev/null", "STORE_URL": "postgresql://me:hunter2@host/name"})
    assert "hunter2" not in repr(loaded) + str(list(in_force(loaded, PROGRAM)))


@pytest.mark.parametrize(
    ("written", "seconds_"),
    [("5", 5), ("0.5", 0.5), ("500ms", 0.5), ("1m", 60), ("30s", 30), ("0m30s", 30), (" 7S ", 7)],
)
def test_durations(written: str, seconds_: float) -> None:
    assert PROGRAM.load({"TEST_STORE_WAIT": written}).settings.store.wait_s == pytest.approx(seconds_)


@pytest.mark.parametrize("written", ["-1", "61", "2m", "1 s x", "s", "nan", "1e1", "inf", "٣"])
def test_what_is_no_duration_within_bounds(written: str) -> None:
    assert "must be a duration" in faults({"TEST_STORE_WAIT": written})


@pytest.mark.parametrize("written", ["true", "1.5", "[]", "10", "0"])
def test_what_is_no_whole_number_within_bounds(written: str) -> None:
    Path("test.yaml").write_text(f"store:\n  size: {written}\n")
    assert "must be a whole number from 1 to 9" in faults()


def test_settings_that_may_change_do_and_the_others_wait() -> None:
    live = Live(PROGRAM, PROGRAM.load({}))
    outcome = live.reload({"TEST_STORE_SIZE": "7", "TEST_STORE_WAIT": "9s"})
    assert [key.name for key in outcome.applied] == ["store.wait"]
    assert [key.name for key in outcome.waiting] == ["store.size"]
    assert live.now.store == Store(wait_s=9.0)


def test_settings_that_are_wrong_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    live = Live(PROGRAM, PROGRAM.load({}))
    live.reload_and_log({"TEST_STORE_WAIT": "9s", "TEST_STORE_SIZE": "0"})
    assert live.now == Tree()
    assert [record.message for record in caplog.records] == ["settings_refused"]


def test_what_nothing_uses_yet_is_told_when_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    Live(PROGRAM, PROGRAM.load({})).log_unused()
    assert not caplog.records
    Live(PROGRAM, PROGRAM.load({"TEST_LATER": "yes"})).log_unused()
    assert [record.message for record in caplog.records] == ["setting_without_effect"]
