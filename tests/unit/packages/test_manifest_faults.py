"""What is said of a manifest that is not valid: line, key, value and expectation of every fault."""

from __future__ import annotations

import pytest

from agent_manager.adapters.packages.manifest_file import MAX_BYTES, parse_manifest
from agent_manager.adapters.packages.problems import MAX_FAULTS, as_faults
from agent_manager.documents.yaml_document import MAX_DEPTH, MAX_NODES
from agent_manager.domain.agents import ManifestFault

VALID = "version: 1.0.0\nentrypoint: main.py\n"


def faults_of(manifest: str | bytes) -> tuple[ManifestFault, ...]:
    raw = manifest.encode() if isinstance(manifest, str) else manifest
    reading = parse_manifest(raw)
    faults = as_faults(reading.problems, "it/agent.yaml", reading.lines)
    assert (reading.manifest is None) == bool(faults)
    assert all(fault.file == "it/agent.yaml" for fault in faults)
    return faults


def only_fault_of(manifest: str | bytes) -> ManifestFault:
    faults = faults_of(manifest)
    assert len(faults) == 1, faults
    return faults[0]


@pytest.mark.parametrize(
    ("line", "key", "value", "expected"),
    [
        ("replicas: '3'", "replicas", '"3"', "a whole number from 0 to 1000"),
        ("replicas: 2.0", "replicas", "2.0", "a whole number from 0 to 1000"),
        ("replicas: -1", "replicas", "-1", "a whole number from 0 to 1000"),
        ("replicas: 1001", "replicas", "1001", "a whole number from 0 to 1000"),
        ("replicas:", "replicas", "null", "a whole number from 0 to 1000"),
        ("autostart: yes", "autostart", '"yes"', "true or false"),
        ("autostart: 1", "autostart", "1", "true or false"),
        ("name: 5", "name", "5", "a string of 1 to 128 characters on one line"),
        ("name: ''", "name", '""', "a string of 1 to 128 characters on one line"),
        ("model: [a]", "model", '["a"]', "a string of 1 to 128 characters on one line"),
        ("type: Big One", "type", '"Big One"', "a word of 1 to 63 lower-case letters"),
        ("description: 3", "description", "3", "a string of at most 4000 characters"),
        ("working_directory: 3", "working_directory", "3", "a path"),
        ("config: [a]", "config", '["a"]', "a mapping"),
        ("config: {a: .inf}", "config.a", ".inf", "a finite number"),
        ("config: {a: 99999999999999999999}", "config.a", "99999999999999999999", "64 bits"),
        ("config: {a: [!!python/name:os.system x]}", "config.a[0]", "!!python/name:os.system", "without a tag"),
        ('config: {a: "\\0"}', "config.a", '"\\u0000"', "without NUL"),
        ('config: {a: "\\ud800"}', "config.a", '"\\ud800"', "without half characters"),
        ("config: {1: x}", "config", "1", "a string"),
        ("config: {true: x}", "config", "true", "a string"),
        ("config: {[a]: x}", "config", "a list or mapping", "a string"),
        ("config: {<<: {a: 1}}", "config", "<<", "merge keys are not supported"),
        ("env: {A: 1}", "env.A", None, "in quotes"),
        ("env: {A: true}", "env.A", None, "in quotes"),
        ("env: {A-B: x}", "env.A-B", None, "letters, digits and underscores"),
        ("capabilities: text", "capabilities", '"text"', "a list"),
        ("capabilities: [text, {type: analysis}]", "capabilities[1].name", None, "name"),
        ("capabilities: [{name: a, type: A B}]", "capabilities[0].type", '"A B"', "a word"),
        ("capabilities: [3]", "capabilities[0]", "3", "a mapping"),
        ("capabilities: [a, b, a]", "capabilities", '["a", "b", "a"]', "each capability once (a is there twice)"),
        ("restart: always", "restart", '"always"', "a mapping"),
        ("restart: {policy: sometimes}", "restart.policy", '"sometimes"', "one of always, on-failure, never"),
        ("restart: {max_restarts: true}", "restart.max_restarts", "true", "a whole number from 0 to 1000"),
        ("restart: {backoff_factor: 0.5}", "restart.backoff_factor", "0.5", "a factor from 1 to 100"),
        ("restart: {window_s: .nan}", "restart.window_s", ".nan", "a finite number"),
        ("restart: {backoff_initial_s: 31}", "restart.backoff_max_s", "30.0", "at least backoff_initial_s (31)"),
        ("readiness: {timeout_s: 0}", "readiness.timeout_s", "0", "seconds from 0.01 to 86400"),
        ("heartbeat:", "heartbeat", "null", "the word none"),
        ("heartbeat: off", "heartbeat", '"off"', "the word none"),
        ("heartbeat: {interval_s: 40}", "heartbeat.timeout_s", "60.0", "at least 2 times interval_s (80)"),
        ("stop: {signal: SIGKILL}", "stop.signal", '"SIGKILL"', "one of SIGTERM, SIGINT"),
        ("stop: {timeout_s: 1e9}", "stop.timeout_s", "1000000000.0", "seconds from 0 to 86400"),
        ("logs: {files: 0}", "logs.files", "0", "a whole number from 1 to 100"),
        ("command: [a]", "command", None, "either entrypoint (a Python file) or command (a list)"),
        ("version: 2.0.0", "version", None, "each key once"),
    ],
)
def test_a_wrong_value_is_reported_with_line_key_value_and_expectation(
    line: str, key: str, value: str | None, expected: str
) -> None:
    fault = only_fault_of(VALID + "\n# a comment\n" + line + "\n")
    assert (fault.line, fault.key, fault.value) == (5, key, value)
    assert expected in (fault.expected or "")
    assert key in fault.message


@pytest.mark.parametrize(
    ("line", "key", "meant"),
    [
        ("versoin: 1.0.0", "versoin", "version"),
        ("entry_point: x", "entry_point", "entrypoint"),
        ("Replicas: 1", "Replicas", "replicas"),
        ("restart: {max-restarts: 1}", "restart.max-restarts", "max_restarts"),
        ("stop: {timeout: 1}", "stop.timeout", "timeout_s"),
        ("capabilities: [{name: a, param: {}}]", "capabilities[0].param", "parameters"),
    ],
)
def test_a_key_that_is_nearly_one_is_told_which(line: str, key: str, meant: str) -> None:
    fault = only_fault_of(VALID + line)
    assert (fault.line, fault.key, fault.expected) == (3, key, meant)
    assert f"did you mean {meant}?" in fault.message


def test_a_key_that_is_like_none_is_told_the_known_ones() -> None:
    fault = only_fault_of(VALID + "logs: {colour: red}")
    assert fault.key == "logs.colour"
    assert fault.expected == "one of max_bytes, files"


def test_all_faults_are_reported_at_once_in_the_order_of_their_lines() -> None:
    faults = faults_of("replicas: x\nrestart:\n  polcy: never\n  window_s: true\nenv: {A: 1}\nlogs: []\n")
    assert [(fault.line, fault.key) for fault in faults] == [
        (1, "entrypoint"),
        (1, "version"),
        (1, "replicas"),
        (3, "restart.polcy"),
        (4, "restart.window_s"),
        (5, "env.A"),
        (6, "logs"),
    ]


def test_faults_without_number_are_cut_and_counted() -> None:
    faults = faults_of(VALID + "".join(f"k{number}: 1\n" for number in range(MAX_FAULTS + 20)))
    assert len(faults) == MAX_FAULTS + 1
    assert "20 more faults" in faults[-1].message


def test_a_command_given_as_one_string_is_told_to_be_a_list() -> None:
    fault = only_fault_of("version: 1.0.0\ncommand: ./run --fast\n")
    assert (fault.line, fault.key, fault.value) == (2, "command", '"./run --fast"')
    assert fault.expected == 'a list of strings, such as ["./run", "--fast"]'


def test_a_number_among_a_commands_words_is_told_to_be_quoted() -> None:
    fault = only_fault_of("version: 1.0.0\ncommand: [sleep, 60]\n")
    assert (fault.key, fault.value) == ("command[1]", "60")
    assert "in quotes" in fault.message


def test_a_version_read_as_a_number_is_told_to_be_quoted() -> None:
    fault = only_fault_of("version: 1.0\nentrypoint: main.py\n")
    assert (fault.line, fault.key, fault.value) == (1, "version", "1.0")
    assert "quote a number" in fault.message


def test_waiting_for_heartbeats_that_are_not_sent_is_a_fault() -> None:
    fault = only_fault_of(VALID + "heartbeat: none\nreadiness:\n  mode: heartbeat\n")
    assert (fault.line, fault.key, fault.value) == (5, "readiness.mode", '"heartbeat"')
    assert fault.expected == "immediate where heartbeat is none"


def test_what_stands_in_an_environment_variable_is_not_repeated() -> None:
    fault = only_fault_of(VALID + "env:\n  TOKEN: 123456789\n")
    assert fault.key == "env.TOKEN"
    assert "123456789" not in repr(fault)


@pytest.mark.parametrize(
    ("manifest", "line", "said"),
    [
        ("", 1, "is empty"),
        ("# nothing\n\n", 1, "is empty"),
        ("- a\n", 1, "is a list"),
        ("\n\nhello\n", 3, "is a single value"),
        ("a: b\nc: d: e\n", 2, "line 2, column 5"),
        ("a:\n\t- b\n", 2, "a tab"),
        ("a: 'open\n", 2, "line 2"),
        ("a: 1\n---\nb: 2\n", 2, "single document"),
        ("a: *nobody\n", 1, "undefined alias"),
        (b"version: 1\n\xff\xfe\n", 2, "byte 0xff in line 2"),
        (b"version: 1\n\x00\x01\x02", 2, "not allowed"),
        ("a: " + "[" * 100_000, 1, f"deeper than {MAX_DEPTH}"),
        ("- " * 100_000, 1, f"deeper than {MAX_DEPTH}"),
        ("config: &a [*a, *a]\n", 1, f"deeper than {MAX_DEPTH}"),
        ("".join(f"k{number}: 1\n" for number in range(MAX_NODES)), MAX_NODES // 2, f"more than {MAX_NODES}"),
        ("a: 1\n" + "x" * MAX_BYTES, 2, "not valid YAML"),
    ],
)
def test_text_that_cannot_be_read_is_one_fault_with_its_line(manifest: str | bytes, line: int, said: str) -> None:
    fault = only_fault_of(manifest)
    assert fault.line == line
    assert said in fault.message


@pytest.mark.parametrize("text", [r'a: "\UFFFFFFFF"', "%YAML 1." + "1" * 5000 + "\n---\na: b"])
def test_what_the_yaml_library_stumbles_over_is_a_fault(text: str) -> None:
    assert "cannot be read as YAML" in only_fault_of(text).message


def test_aliases_that_multiply_are_refused() -> None:
    levels = "".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))
    fault = only_fault_of(VALID + "config:\n  l0: &l0 [x]\n" + levels)
    assert f"more than {MAX_NODES} values" in fault.message
