"""Finds small pickles that would take endless time or memory, by their opcodes, before they are loaded."""

from __future__ import annotations

import pickletools
from typing import IO, Final

from metaexp.core.errors import DataError

_MOST_REUSED: Final = 16
_PUTS: Final = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS: Final = ("GET", "BINGET", "LONG_BINGET")
_TUPLES: Final = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
_TWO_LINES: Final = ("GLOBAL", "INST")
_CODES: Final = {code.code: code for code in pickletools.opcodes}
_LENGTH_BYTES: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def refuse_bombs(file: IO[bytes]) -> None:
    """Refuse a pickle that has what no published dataset has and what small hostile files have.

    These are tuples of tuples that are used again and again, each of which doubles the work of comparing keys; and
    numbers of the memo that are larger than the number of things in the pickle.

    Args:
        file: A pickle, at its beginning. It is read to its end.

    Raises:
        DataError: The file would take too much time or memory.
        ValueError: The file is damaged.
    """
    tuples: set[int] = set()
    n_codes = n_kept = reused = 0
    before = ""
    while before != "STOP":
        n_codes += 1
        name, place = _next(file)
        if name in _PUTS or name == "MEMOIZE":
            place = n_kept if place is None else place
            n_kept += 1
            if place > n_codes:
                raise DataError(f"it keeps its item {n_kept} at place {place}")
            (tuples.add if before in _TUPLES else tuples.discard)(place)
            continue  # what is on top stays what it was
        is_tuple = name in _GETS and place in tuples
        reused += name == "DUP" or is_tuple
        if reused > _MOST_REUSED:
            raise DataError(f"it uses tuples more than {_MOST_REUSED} times again")
        before = "TUPLE" if is_tuple else name


def _next(file: IO[bytes]) -> tuple[str, int | None]:
    """The name of the next code, and the place in the memo that it names; its content is skipped."""
    byte = file.read(1)
    code = _CODES.get(byte.decode("latin1"))
    if code is None:
        raise ValueError("it ends too early" if not byte else f"its code {byte!r} is unknown")
    if code.arg is None:
        return code.name, None
    size = code.arg.n
    if size == pickletools.UP_TO_NEWLINE:
        line = file.readline()
        if code.name in _TWO_LINES:
            file.readline()
        return code.name, int(line) if code.name in ("PUT", "GET") else None
    if size in _LENGTH_BYTES:
        length = int.from_bytes(file.read(_LENGTH_BYTES[size]), "little")
        file.seek(length, 1)
        return code.name, None
    argument = file.read(size)
    return code.name, int.from_bytes(argument, "little") if code.name in (*_PUTS, *_GETS) else None
