from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agent_manager.adapters.codec import EXIT, FAULTS, INSTANCE, SPEC, Codec, UnreadableError
from tests.contract import store_values as values


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (SPEC, values.SPEC),
        (EXIT, values.exit_()),
        (INSTANCE, values.instance()),
        (INSTANCE, replace(values.instance(), launch=None, last_exit=None)),
        (FAULTS, values.package().faults),
    ],
)
def test_what_is_written_is_read_back_from_its_json(codec: Codec[Any], value: object) -> None:
    assert codec.decode(json.loads(json.dumps(codec.encode(value)))) == value
    assert json.loads(codec.text(value)) == codec.encode(value)


def test_versions_understand_each_other() -> None:
    written = INSTANCE.encode(values.instance())
    written["from_the_future"] = 1
    written["launch"]["from_the_future"] = {"deep": True}
    del written["launch"]["replaces"]
    assert INSTANCE.decode(written) == values.instance()


@pytest.mark.parametrize("data", [None, 7, "echo", [], {}, {"agent_id": "echo", "ordinal": "many", "target": None}])
def test_what_is_no_such_value_says_so(data: object) -> None:
    with pytest.raises(UnreadableError):
        INSTANCE.decode(data)


def test_a_path_that_is_no_utf8_has_a_text_too() -> None:
    spec = replace(values.SPEC, directory="/packages/caf\udce9")
    assert SPEC.decode(json.loads(SPEC.text(spec))) == spec
