"""`config_schema`, and `config` by it."""

from __future__ import annotations

import pytest

from agent_manager.adapters.packages import config_check
from agent_manager.adapters.packages.manifest_file import parse_manifest
from agent_manager.adapters.packages.problems import as_faults

HEAD = "version: 1.0.0\nentrypoint: main.py\n"


def faults(manifest: str) -> list[str]:
    reading = parse_manifest((HEAD + manifest).encode())
    return [str(fault) for fault in as_faults(reading.problems, "it/agent.yaml", reading.lines)]


def test_a_config_that_meets_its_schema_is_valid_and_completed_by_its_defaults() -> None:
    reading = parse_manifest(
        (
            HEAD + "config: {style: terse, nested: {a: 1}}\n"
            "config_schema:\n"
            "  type: object\n"
            "  required: [style, temperature]\n"
            "  properties:\n"
            "    style: {enum: [terse, wordy]}\n"
            "    temperature: {type: number, default: 0.5}\n"
            "    nested: {type: object, properties: {a: {default: 7}, b: {default: [1]}}}\n"
            "    absent: {type: object, properties: {a: {default: 7}}}\n"
        ).encode()
    )
    assert reading.manifest is not None
    assert reading.manifest.config == {"style": "terse", "temperature": 0.5, "nested": {"a": 1, "b": [1]}}


def test_every_value_that_does_not_meet_the_schema_is_told_with_its_place_and_what_is_allowed() -> None:
    told = faults(
        "config:\n"
        "  style: loud\n"
        "  temperature: 3\n"
        "  words: many\n"
        "  list:\n"
        "    - 1\n"
        "    - x\n"
        "  tpyo: 1\n"
        "config_schema:\n"
        "  type: object\n"
        "  required: [model]\n"
        "  additionalProperties: false\n"
        "  properties:\n"
        "    style: {enum: [terse, wordy]}\n"
        "    temperature: {type: number, maximum: 2}\n"
        "    words: {type: [integer, 'null']}\n"
        "    list: {type: array, items: {type: integer}}\n"
        "    model: {type: string}\n"
    )
    assert told == [
        "it/agent.yaml:3: config.model is required: add it",
        'it/agent.yaml:4: config.style must be one of "terse", "wordy", not "loud"',
        "it/agent.yaml:5: config.temperature must be a number with maximum 2, not 3",
        'it/agent.yaml:6: config.words must be of type integer or null, not "many"',
        'it/agent.yaml:9: config.list[1] must be of type integer, not "x"',
        "it/agent.yaml:10: config.tpyo is not a known key: known are style, temperature, words, list, model",
    ]


def test_a_schema_that_is_none_is_told_by_json_pointer() -> None:
    told = faults("config_schema:\n  properties:\n    a/b:\n      type: strin\n    c:\n      minimum: low\n")
    assert told == [
        "it/agent.yaml:6: config_schema is no JSON Schema at #/properties/a~1b/type: 'strin' is not valid under any "
        "of the given schemas",
        "it/agent.yaml:8: config_schema is no JSON Schema at #/properties/c/minimum: 'low' is not of type 'number'",
    ]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{$schema: 'http://example.com/mine'}", "a dialect of JSON Schema that is known"),
        ("{$ref: 'http://example.com/other.json'}", "refers to http://example.com/other.json, which is not in it"),
        ("{$ref: '#/$defs/missing'}", "/$defs/missing, which is not in it"),
        ("{pattern: '('}", "is no JSON Schema at #/pattern"),
        ("{$ref: '#'}", "cannot be applied to config"),
        ("[1]", "a mapping: a JSON Schema"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(schema: str, words: str) -> None:
    (told,) = faults(f"config_schema: {schema}\n")
    assert words in told


def test_a_schema_of_an_older_draft_is_read_as_that() -> None:
    assert faults(
        "config: {a: 5}\n"
        "config_schema:\n"
        "  $schema: http://json-schema.org/draft-04/schema#\n"
        "  properties: {a: {maximum: 5, exclusiveMaximum: true}}\n"
    ) == ["it/agent.yaml:3: config.a must be a number with maximum 5, not 5"]


def test_patterns_are_checked_beside_the_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults("config: {id: a1}\nconfig_schema: {properties: {id: {pattern: '^[a-z]+$'}}}\n") == [
        'it/agent.yaml:3: config.id must be as pattern "^[a-z]+$" of config_schema has it, not "a1"'
    ]
    monkeypatch.setattr(config_check, "TIMEOUT_S", 0.5)
    endless = "config: {id: " + "a" * 60 + "!}\nconfig_schema: {properties: {id: {pattern: '^(a+)+$'}}}\n"
    (told,) = faults(endless)
    assert "could not be applied to config within 0.5 s: simplify its patterns" in told
