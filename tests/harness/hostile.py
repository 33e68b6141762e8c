"""Messages that nobody means well by: valid ones with something changed, and bytes that never were any.

Made from the models of the wire, so that a new field is tried too. Changed messages get further than random bytes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from agent_manager.protocol import headers
from agent_manager.protocol.messages import Message

thorough = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
"""The same examples in every run: what fails, fails again."""

MOMENT = datetime(2030, 1, 1, tzinfo=UTC).isoformat()
STALE = ("2001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00-12:00", 0, -1, 1e9)
"""Deadlines that have passed."""
NUMBERS = (0, -1, 1, 1.5, 2**31, 2**63, -(2**63) - 1, 10**18, 10**400, 1e308, 1e-320, float("nan"), float("inf"), -0.0)
TEXTS = (
    *("", " ", "\0", "a\0b", "a\r\nX-Header: b", "\x1b[2J", "\u202e", "\ufffd", "\U0001f980", "é", "\x85", "\u2028"),
    *("..", "a.b", "*", ">", "../../etc/passwd", "echo_00", "echo_99999999999", "ECHO", "manager", "None", "NaN", "1"),
    *("x" * 129, "x" * 5_000, "9" * 5_000, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2030-01-01"),
)


def strictly(body: bytes) -> Any:
    """JSON as everybody reads it."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON: {body!r}")

    return json.loads(body, parse_constant=refuse)


def check_log(caplog: pytest.LogCaptureFixture) -> None:
    """No traceback in the log, nothing that went wrong on this side; what was said so far is forgotten."""
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []
    caplog.clear()


def nested(depth: int, *, as_list: bool = False) -> Any:
    """Something within something, so many times."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if as_list else {"a": value}
    return value


HOSTILE_VALUES = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from([None, True, False, [], {}, [[]], [None] * 200, {"": {}}, {"\0": "\0"}]),
    st.builds(nested, st.sampled_from([1, 50, 180, 250]), as_list=st.booleans()),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
)
"""What a field may hold that was not thought of."""

JUNK = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            *(
                b"",
                b" ",
                b"\0",
                b"\xff\xfe",
                b"\xef\xbb\xbf{}",
                b"null",
                b"[]",
                b"[{}]",
                b'"text"',
                b"1",
                b"true",
                b"NaN",
            ),
            *(b"{", b"{}{}", b"{,}", b"{'a': 1}", b'{"a": 1,}', b"-", b'{"id": "\\ud800"}', b'{"\\udfff": 1}'),
            *(b"[" * 100_000, b'{"a":' * 20_000, b"9" * 100_000, b'"' + b"x" * 1_000_001 + b'"'),
            *(
                b" " * 1_100_000,
                b'{"params": "' + b"\xf0\x9f\xa6\x80" * 200_000 + b'"}',
                b"{" + b'"a": 1,' * 10_000 + b'"b": 1}',
            ),
        ]
    ),
)
"""What is no message at all, some of it large."""

HEADERS = st.none() | st.dictionaries(
    st.sampled_from(
        [
            *(headers.ACTOR, headers.REQUEST_ID, headers.TRACEPARENT, headers.TRACESTATE, headers.REQUEST_ID.lower()),
            *("Status", "Description", "Nats-Msg-Id", "Nats-Service-Error", "Nats-Expected-Last-Sequence", "x"),
        ]
    ),
    st.sampled_from(
        [
            *(
                "503",
                "404",
                "100",
                "http",
                "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
                "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
            ),
            *(
                "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
                "00-" + "A" * 32 + "-" + "b" * 16 + "-zz",
                "x" * 129,
                "x" * 60_000,
            ),
            *TEXTS,
        ]
    ),
    max_size=4,
)
"""Headers as a client has parsed them, with values that no header of ours has."""

REPLIES = st.sampled_from(
    [
        *(
            "",
            "_INBOX.a.b",
            "_INBOX.a.b",
            "_INBOX_api.a.b",
            "_INBOX_api.a.b",
            "_INBOX",
            "_INBOX.",
            "_INBOX..",
            "_INBOX.*.>",
        ),
        *("_INBOX.\x0b", "_INBOX.a\rb", "_INBOX.\0", "_INBOX.é", "_INBOX." + "x" * 4_000, "agent.manager.agents.stop"),
        *(
            "agent.manager.api.agents.stop",
            "$JS.API.STREAM.PURGE.EVENTS",
            "agent.manager.command",
            "_INBOX_manager.pulse",
        ),
    ]
)
"""Reply subjects: none, good ones, and those that a manager must not publish on."""


def valid(model: type[Message], **fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects that `model` takes, with the fields in `fixed` drawn from there."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    fields = {
        name: fixed[name] if name in fixed else _of_schema(field, definitions)
        for name, field in schema["properties"].items()
    }
    strategies = {name: _as_strategy(field) for name, field in fields.items()}
    return st.fixed_dictionaries(
        {name: field for name, field in strategies.items() if name in required or name in fixed},
        optional={name: field for name, field in strategies.items() if name not in required and name not in fixed},
    )


def spoiled(documents: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Any]:
    """The same with up to three things wrong: a field gone, added, of another kind, or everything inside a list."""

    @st.composite
    def made(draw: st.DrawFn) -> Any:
        document = dict(draw(documents))
        for _ in range(draw(st.integers(0, 3))):
            holder = _somewhere(draw, document)
            name = draw(st.sampled_from([*holder, "unknown"]))
            match draw(st.sampled_from(["drop", "replace", "replace", "replace", "wrap"])):
                case "drop":
                    holder.pop(name, None)
                case "replace":
                    holder[name] = draw(HOSTILE_VALUES)
                case "wrap":
                    holder[name] = [holder.get(name)]
        return document

    return made()


def bodies(documents: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    """Bytes of messages: changed as objects, changed as bytes, or junk."""
    written = spoiled(documents).map(lambda document: json.dumps(document).encode())
    return st.one_of(written, written, written, _damaged(written), JUNK)


def _damaged(written: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    def cut(body: bytes, place: int, more: bytes) -> bytes:
        return body[: place % (len(body) + 1)] + more

    def put(body: bytes, place: int, more: bytes) -> bytes:
        at = place % (len(body) + 1)
        return body[:at] + more + body[at:]

    changes: list[Callable[[bytes, int, bytes], bytes]] = [
        cut,
        put,
        lambda body, _, more: more + body + more,
        lambda body, *_: body.decode().encode("utf-16"),
        lambda body, *_: body + body,
        lambda body, *_: body.replace(b'"', b"'"),
    ]
    return st.builds(
        lambda change, body, place, more: change(body, place, more),
        st.sampled_from(changes),
        written,
        st.integers(0, 1_000),
        st.sampled_from([b"", b"\0", b"\xff", b"}", b",", b'"', b"\\ud800", b"\xef\xbb\xbf", b" " * 50]),
    )


def _somewhere(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """The object itself, or one inside it."""
    inner = [name for name, value in document.items() if isinstance(value, dict)]
    name = draw(st.sampled_from([None, *inner]))
    if name is None:
        return document
    document[name] = dict(document[name])
    found: dict[str, Any] = document[name]
    return found


def _as_strategy(value: Any) -> st.SearchStrategy[Any]:
    return value if isinstance(value, st.SearchStrategy) else st.just(value)


_TEXT = st.text(max_size=12) | st.sampled_from(["echo", "echo_0", "nobody"])


def _of_schema(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a JSON schema as pydantic writes them."""
    if "$ref" in schema:
        return _of_schema(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return st.one_of(*(_of_schema(each, definitions) for each in schema["anyOf"]))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "string" if schema.get("format") == "date-time":
            return st.just(MOMENT)
        case "string":
            return _TEXT.filter(lambda text: len(text) >= schema.get("minLength", 0))
        case "integer":
            low = schema.get("minimum", 0)
            return st.integers(low, min(schema.get("maximum", low + 1_000), low + 1_000))
        case "number":
            low = schema.get("minimum", 0.0)
            return st.floats(low, min(schema.get("maximum", low + 10.0), low + 10.0))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(_of_schema(schema.get("items", {}), definitions), max_size=3)
        case "object" if "properties" in schema:
            inner = {name: _of_schema(field, definitions) for name, field in schema["properties"].items()}
            return st.fixed_dictionaries(inner)
        case "object":
            more = schema.get("additionalProperties", True)
            values = _of_schema(more, definitions) if isinstance(more, dict) else _JSON
            return st.dictionaries(st.text(max_size=5), values, max_size=3)
    return _JSON


_JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


def unreadable(subject: str) -> dict[str, bytes]:
    """By what is wrong, what a server lets through and nobody can take for a message."""
    name = subject.encode()
    return {
        "a subject that is no text": b"PUB " + name + b"\xff 2\r\n{}\r\n",
        "a reply subject that is no text": b"PUB " + name + b" _INBOX.\xff 2\r\n{}\r\n",
    }


def barely_readable(subject: str) -> dict[str, bytes]:
    """The same of what is a message all the same."""
    name = subject.encode()
    with_reply = {
        "a vertical tab in the reply subject": b"_INBOX.a\x0bb",
        "a form feed in the reply subject": b"_INBOX.a\x0cb",
        "a carriage return in the reply subject": b"_INBOX.a\rb",
        "numbers behind a vertical tab": b"_INBOX.a\x0b9999999",
        "a reply subject as long as a line may be": b"_INBOX." + b"x" * 4_000,
        "a reply subject with wildcards": b"_INBOX.*.>",
    }
    with_headers = {
        "headers that end with their version": b"NATS/1.0",
        "headers shorter than their version": b"NAT",
        "headers of another protocol": b"HTTP/1.1\r\na: b\r\n\r\n",
        "a status that is no text": b"NATS/1.0 \xff\xff\xff\r\n\r\n",
        "a description that is no text": b"NATS/1.0 503 \xff\xff\r\n\r\n",
        "a status of JetStream": b"NATS/1.0 100\r\n\r\n",
        "names and values that are no text": b"NATS/1.0\r\n\xff: 1\r\na: \xff\r\n\r\n",
        "a header without an end": b"NATS/1.0\r\ntraceparent: ",
    }
    return {
        **{what: b"PUB " + name + b" " + reply + b" 2\r\n{}\r\n" for what, reply in with_reply.items()},
        **{
            what: b"HPUB %b %d %d\r\n%b{}\r\n" % (name, len(head), len(head) + 2, head)
            for what, head in with_headers.items()
        },
    }
