"""Reading one `agent.yaml`: file, text, YAML, model. Nothing that stands in the file raises."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_manager.adapters.packages.manifest import Manifest
from agent_manager.adapters.packages.problems import is_secret
from agent_manager.adapters.packages.validation import validate
from agent_manager.documents.problems import KeyPath, Problem
from agent_manager.documents.yaml_document import DocumentKind, read_document

MANIFEST_NAME = "agent.yaml"

MAX_BYTES = 1_000_000
"""Size of a manifest above which it is not read."""

_KIND = DocumentKind(name="the manifest", example="`version: 1.0.0` and `entrypoint: main.py`", is_secret=is_secret)
_SETTLED_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What one manifest says: the model when it is valid, else problems. `data` is as far as YAML could be read.

    `is_lasting` is False where the system did not let the file be read, which may be otherwise in a moment.
    """

    manifest: Manifest | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    is_lasting: bool = True


@dataclass(frozen=True, slots=True)
class Signature:
    """A file's content, as far as the file system tells it apart."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @property
    def settled(self) -> bool:
        """Whether another write would show: within a tick of the file system's clock two contents look the same."""
        return time.time_ns() - self.changed_ns > _SETTLED_NS


def signature_of(path: Path) -> Signature:
    """The signature of what is there now. Raises OSError when nothing is."""
    status = path.stat()
    return Signature(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def read_manifest(path: Path) -> Reading:
    """Read a manifest file."""
    try:
        raw = _bytes_of(path)
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        problem = Problem(path=(), message=message, expected="a readable file")
        return Reading(problems=(problem,), is_lasting=False)
    if raw is None:
        return Reading(problems=(Problem(path=(), message="is not a regular file", expected="a regular file"),))
    if len(raw) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES} bytes"
        return Reading(problems=(Problem(path=(), message=message, expected=f"at most {MAX_BYTES} bytes"),))
    return parse_manifest(raw)


def parse_manifest(raw: bytes) -> Reading:
    """Read a manifest's bytes."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 text: byte 0x{raw[error.start]:02x} in line {line}"
        return Reading(problems=(Problem(path=(), message=message, expected="UTF-8 text", line=line),))
    document = read_document(text, _KIND)
    if isinstance(document, Problem):
        return Reading(problems=(document,))
    outcome = validate(document.data)
    if isinstance(outcome, Manifest) and not document.problems:
        return Reading(manifest=outcome, data=document.data, lines=document.lines)
    found = () if isinstance(outcome, Manifest) else outcome
    return Reading(data=document.data, lines=document.lines, problems=(*document.problems, *found))


def _bytes_of(path: Path) -> bytes | None:
    """The content, one byte more than is allowed at most; None for a pipe, a device or a folder: they are not read."""
    # Without O_NONBLOCK the open itself waits for a pipe's other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
