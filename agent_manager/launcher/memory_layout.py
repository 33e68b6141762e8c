"""How the memory of a zygote is arranged, so that little of it stops being shared when its instances run.

A page is copied as soon as an instance writes to it, and CPython writes to what it merely uses: reference counts, and
the counters and caches within code (`Python/specialize.c`). What every instance uses lies among what none does, in the
order in which it was imported.
"""

import ctypes
import gc
import sys
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType

_SMALL_OBJECTS = range(48, 513, 16)
"""The sizes in bytes for which CPython keeps pages of equal blocks (`Objects/obmalloc.c`)."""
_HOLES_PER_SIZE = 200
"""With half as many an agent has 0.2 MB more; that costs the zygote 1.7 MB, once."""

_BLOCKS = range(9_000, 8, -16)
"""Sizes in bytes of what the C library hands out: longer code, classes, larger dictionaries, the environment."""
_MOST_FILLED = 8 * 1024 * 1024
"""Bytes; a C library that hands out addresses in another order than glibc would take them for holes for ever."""

_filling: list[bytes] = []

_malloc = ctypes.CDLL(None).malloc
_malloc.argtypes, _malloc.restype = (ctypes.c_size_t,), ctypes.c_size_t
_sbrk = ctypes.CDLL(None).sbrk
_sbrk.argtypes, _sbrk.restype = (ctypes.c_ssize_t,), ctypes.c_size_t
_free = ctypes.CDLL(None).free
_free.argtypes, _free.restype = (ctypes.c_size_t,), None

_CodeById = dict[int, CodeType]
"""Equal code is not the same code."""


def gather_code(rehearse: Callable[[], None]) -> None:
    """Give each function that runs in a rehearsal a copy of its code; the copies lie side by side.

    They have yet to be run a few times, until CPython has adapted them as it had the originals. Raises what `rehearse`
    does.
    """
    used = _used_code(rehearse)
    functions: dict[int, list[FunctionType]] = {key: [] for key in used}
    for each in gc.get_objects():
        if type(each) is FunctionType and id(each.__code__) in used:
            functions[id(each.__code__)].append(each)
    fill_holes()
    copies: _CodeById = {}
    for key, code in used.items():
        for function in functions[key]:
            function.__code__ = _copied(code, used, copies)


def _used_code(rehearse: Callable[[], None]) -> _CodeById:
    """In the order of its first use."""
    used: _CodeById = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            used.setdefault(id(frame.f_code), frame.f_code)

    sys.setprofile(note)
    try:
        rehearse()
    finally:
        sys.setprofile(None)
    return used


def _copied(code: CodeType, used: _CodeById, copies: _CodeById) -> CodeType:
    if id(code) not in copies:
        constants = tuple(
            _copied(each, used, copies) if type(each) is CodeType and id(each) in used else each
            for each in code.co_consts
        )
        copies[id(code)] = code.replace(co_consts=constants)
    return copies[id(code)]


def fill_holes() -> None:
    """Take what is free between the objects that are there.

    What an instance makes would be put there, and every page that it touches is one that is no longer shared.
    """
    _filling.extend(bytes(size - sys.getsizeof(b"")) for size in _SMALL_OBJECTS for _ in range(_HOLES_PER_SIZE))
    end, filled = _sbrk(0), 0
    for size in _BLOCKS:
        # The first for which the heap has to grow has found no hole.
        while (block := _malloc(size)) < end and filled < _MOST_FILLED:
            filled += size
        _free(block)
