"""Reads the pickles of published datasets without running code in them.

A pickle is a program: it names functions and calls them. Here every name it can call is one of a few plain
Python classes below that only hold what they are given; any other is refused by name. Nothing of numpy is
called while the pickle runs, because even numpy's own constructors trust their arguments. Arrays are made
afterwards, from checked shapes, checked lengths and an allow list of number types.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import re
from pathlib import Path
from typing import IO, Any, ClassVar, Final

import numpy as np

from metaexp.core.errors import DataError
from metaexp.data.files.folder_scan import refuse_special
from metaexp.data.files.pickle_bombs import refuse_bombs

_MOST_LEVELS: Final = 50
_NUMBERS: Final = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f[248]|[SU]\d{1,6})")


def load_pickle(path: Path) -> Any:
    """Read a pickle of numbers, text, lists, tuples, dicts and numpy arrays of numbers or text.

    Text of Python 2 is read as Latin-1.

    Args:
        path: The file.

    Raises:
        DataError: The pickle is damaged, holds anything else, or would take too much time or memory.
    """
    refuse_special(path)
    with path.open("rb") as file:
        return _read(file, str(path))


def loads_pickle(content: bytes, name: str) -> Any:
    """:func:`load_pickle` of ``content``, which messages call ``name``.

    Args:
        content: The bytes of a pickle.
        name: What messages call it.
    """
    return _read(io.BytesIO(content), name)


def load_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a pickle, with its keys as texts; an empty one if the pickle holds something else.

    Raises:
        DataError: As :func:`load_pickle`.
    """
    content = load_pickle(path)
    return {as_text(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def as_text(name: Any) -> str:
    """Return a name as text; pickles of Python 2 have names as bytes."""
    return name.decode("latin1") if isinstance(name, bytes) else str(name)


def _read(file: IO[bytes], name: str) -> Any:
    try:
        refuse_bombs(file)
        file.seek(0)
        return _Contents().of(_Reader(file, encoding="latin1").load())
    except DataError as error:
        raise DataError(f"{name}: {error}.") from error
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise DataError(f"{name} is not a pickle that can be read: {error}.") from error


class _StandIn:
    """What a pickle gets instead of what it asked for. Only where a subclass says so can it be given a state."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        raise DataError("it changes the state of something that has none")

    def made(self) -> Any:
        """Return the value that this object stands for.

        Raises:
            DataError: The value is not plain data.
        """
        raise NotImplementedError


class _Type(_StandIn):
    """Stands for a numpy dtype: its code, and the byte order that a pickle sets afterwards."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code
        self.order = ""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def made(self) -> np.dtype[Any]:
        code = self.code if self.code[:1] in "<>=|" else (self.order.strip("|") + self.code)
        if not _NUMBERS.fullmatch(code):
            raise DataError(f"it holds an array of type {code!r}; only numbers and text are read")
        return np.dtype(code)


class _Array(_StandIn):
    """Stands for a numpy array: its shape, type and bytes."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def made(self) -> np.ndarray[Any, Any]:
        if self.state is None or len(self.state) != 5:
            raise DataError("it holds an array without contents")
        _, shape, kind, by_column, content = self.state
        return _array(content, kind, shape, "F" if by_column else "C")


class _Buffer(_StandIn):
    """Stands for an array pickled by protocol 5."""

    def __init__(self, content: Any, kind: Any, shape: Any, order: str) -> None:
        self.arguments = (content, kind, shape, order)

    def made(self) -> np.ndarray[Any, Any]:
        return _array(*self.arguments)


class _Scalar(_StandIn):
    """Stands for one number of numpy."""

    def __init__(self, kind: Any, content: Any) -> None:
        self.arguments = (kind, content)

    def made(self) -> Any:
        kind, content = self.arguments
        return _array(content, kind, (), "C").item()


class _Encoded(_StandIn):
    """Stands for bytes that Python 3 wrote for Python 2: text and the name of its encoding."""

    def __init__(self, text: str, encoding: str) -> None:
        self.text, self.encoding = text, encoding

    def made(self) -> bytes:
        if self.encoding.lower() not in ("latin1", "latin-1") or not isinstance(self.text, str):
            raise DataError(f"it holds bytes encoded as {self.encoding!r}; only latin1 is read")
        return self.text.encode("latin1")


def _bytearray(content: Any = b"", encoding: str = "latin1") -> bytearray:
    """Stands for ``bytearray``, which would take any amount of memory for a number."""
    if isinstance(content, _Encoded):
        content = content.made()
    if isinstance(content, str) and encoding in ("latin1", "latin-1"):
        content = content.encode("latin1")
    if not isinstance(content, bytes):
        raise DataError("it makes an array of bytes from something else than bytes")
    return bytearray(content)


class _Reader(pickle.Unpickler):
    """Finds only the names below, and gives a stand-in for each."""

    _STAND_INS: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "dtype"): _Type,
        ("numpy", "ndarray"): _Array,
        ("_codecs", "encode"): _Encoded,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("builtins", "bytearray"): _bytearray,
        ("__builtin__", "bytearray"): _bytearray,
        **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): _Buffer for core in ("core", "_core")},
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for ``module.name``.

        Raises:
            DataError: No dataset needs this name.
        """
        try:
            return self._STAND_INS[module, name]
        except KeyError:
            raise DataError(
                f"it wants to call {module}.{name}, which no dataset needs; it was not called. "
                "The file is not what it should be, or has been tampered with"
            ) from None


def _array(content: Any, kind: Any, shape: Any, order: str) -> np.ndarray[Any, Any]:
    """The array of ``shape`` in ``content``, checked."""
    if isinstance(content, _Encoded):
        content = content.made()
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(content, (bytes, bytearray)) or not isinstance(kind, _Type) or order not in ("C", "F"):
        raise DataError("it holds an array of objects; only numbers and text are read")
    sizes = tuple(shape)
    if not all(isinstance(n, int) and n >= 0 for n in sizes):
        raise DataError(f"it holds an array of shape {sizes}")
    dtype = kind.made()
    if math.prod(sizes) * dtype.itemsize != len(content):
        raise DataError(f"it holds an array of shape {sizes} and type {dtype} in {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(sizes, order="F" if order == "F" else "C")


class _Contents:
    """What a tree holds, with arrays in place of the stand-ins. What is in it many times is made once."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._above: set[int] = set()

    def of(self, tree: Any) -> Any:
        """Return ``tree`` with what the stand-ins stand for. ``tree`` must stay alive as long as this object."""
        if not isinstance(tree, (_StandIn, dict, list, tuple)):
            return tree
        key = id(tree)
        if key not in self._made:
            if key in self._above or len(self._above) >= _MOST_LEVELS:
                raise DataError(f"it is nested more than {_MOST_LEVELS} levels deep, or holds itself")
            self._above.add(key)
            self._made[key] = self._make(tree)
            self._above.remove(key)
        return self._made[key]

    def _make(self, tree: Any) -> Any:
        if isinstance(tree, _StandIn):
            return tree.made()
        if isinstance(tree, dict):
            return {self.of(key): self.of(value) for key, value in tree.items()}
        return type(tree)(map(self.of, tree))
