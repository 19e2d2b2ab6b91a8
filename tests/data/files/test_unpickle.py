import collections
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from metaexp.core.errors import DataError
from metaexp.data.files.unpickle import load_pickle, loads_pickle

PLAIN = {"names": ["a", "b"], 3: (1.5, None, True), "ordered": collections.OrderedDict(x=1), "bytes": b"\x00\xff"}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["u1", "<i8", ">f4", "?", "S3", "U2"])
def test_arrays_of_every_protocol_and_type_come_back(protocol, kind):
    values = np.array([[1, 0, 2], [3, 0, 1]]).astype(kind)
    back = loads_pickle(pickle.dumps({"x": values, "columns": np.asfortranarray(values)}, protocol), "it")
    assert back["x"].dtype == values.dtype
    assert np.array_equal(back["x"], values)
    assert np.array_equal(back["columns"], values)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_and_numbers_of_numpy_come_back(protocol):
    content = {**PLAIN, "number": np.float32(0.25), "count": np.int64(7)}
    assert loads_pickle(pickle.dumps(content, protocol), "it") == content


def test_pickles_of_python_2_come_back_with_text():
    # (dp0 S'image_data' cnumpy.core.multiarray _reconstruct ... as Python 2 wrote them: contents as an 8-bit string
    content = (
        b"(dp0\nS'image_data'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\n"
        b"tp6\nRp7\n(I1\n(I3\ntp8\ncnumpy\ndtype\np9\n(S'u1'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'|'\np13\nNNNI-1\nI-1\nI0\n"
        b"tp14\nbI00\nS'\\x01\\xfe\\x7f'\np15\ntp16\nbs."
    )
    assert loads_pickle(content, "it")["image_data"].tolist() == [1, 254, 127]


class Hostile:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (os.system, "touch {path}", "system"),
        (eval, "open({path!r}, 'w')", "builtins.eval"),
        (os.mkdir, "{path}", "mkdir"),
        (getattr, "", "builtins.getattr"),
    ],
)
def test_a_pickle_that_calls_anything_is_refused_by_name_and_the_call_is_not_made(tmp_path, function, argument, name):
    trace = tmp_path / "trace"
    file = tmp_path / "hostile.pkl"
    file.write_bytes(pickle.dumps({"x": Hostile(function, argument.format(path=str(trace)))}))
    with pytest.raises(DataError, match=rf"hostile.pkl: it wants to call \w*\.?{name}.* it was not called"):
        load_pickle(file)
    assert not trace.exists()


def test_the_same_hostile_pickle_would_have_run_with_the_standard_reader(tmp_path):
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Hostile(os.mkdir, str(trace))))  # noqa: S301 - the negative control
    assert trace.exists()


def test_an_instance_of_any_class_is_refused():
    with pytest.raises(DataError, match="it wants to call pathlib"):
        loads_pickle(pickle.dumps(Path("x")), "it")


def test_arrays_of_objects_are_refused():
    with pytest.raises(DataError, match="array of"):
        loads_pickle(pickle.dumps(np.array([{}, []], dtype=object)), "it")


def test_arrays_of_records_are_refused():
    with pytest.raises(DataError, match=r"array of type .*; only numbers and text are read"):
        loads_pickle(pickle.dumps(np.zeros(2, dtype=[("a", "u1")])), "it")


def array_program(shape: bytes, content: bytes, kind: bytes = b"V" + b"u1" + b"\n") -> bytes:
    """A pickle (protocol 0) of an array with whatever shape and contents."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
        + shape
        + b"cnumpy\ndtype\n("
        + kind
        + b"I0\nI1\ntR(I3\nV|\nNNNI-1\nI-1\nI0\ntbI00\n"
        + content
        + b"tb."
    )


def test_shapes_that_do_not_fit_their_bytes_are_refused():
    assert loads_pickle(array_program(b"(I3\nt", b"Vabc\n"), "it").tolist() == [97, 98, 99]
    for shape in (b"(I4\nt", b"(I-3\nt", b"(I3\nI100000\nt", b"(Vx\nt"):
        with pytest.raises(DataError, match="array of shape"):
            loads_pickle(array_program(shape, b"Vabc\n"), "it")


def test_a_state_cannot_be_set_on_what_has_none():
    program = b"c_codecs\nencode\n(Vx\nVlatin1\ntR(NV1\ntb."
    assert "BUILD" in {op.name for op, _, _ in pickletools.genops(program)}
    with pytest.raises(DataError, match="changes the state of something that has none"):
        loads_pickle(program, "it")


def test_other_encodings_than_latin1_are_refused():
    with pytest.raises(DataError, match="bytes encoded as 'rot13'; only latin1 is read"):
        loads_pickle(b"c_codecs\nencode\n(Vx\nVrot13\ntR.", "it")


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(PLAIN)[:-4], b"\x80\x05K"])
def test_damaged_pickles_are_refused(content):
    with pytest.raises(DataError, match="it is not a pickle that can be read"):
        loads_pickle(content, "it")


def nested(kind: type, levels: int) -> object:
    """``levels`` containers, each of which holds the one below twice: 2**levels when written out."""
    tree: object = kind(["leaf"])
    for _ in range(levels):
        tree = kind([tree, tree])
    return tree


def test_lists_that_are_used_again_are_made_once():
    tree = loads_pickle(pickle.dumps(nested(list, 40)), "it")
    assert tree[0] is tree[1]


def test_deep_and_circular_pickles_are_refused():
    circle: list[object] = []
    circle.append(circle)
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    for tree in (circle, deep):
        with pytest.raises(DataError, match=r"^it: it is nested more than 50 levels deep, or holds itself\.$"):
            loads_pickle(pickle.dumps(tree), "it")


@pytest.mark.parametrize("protocol", range(6))
def test_nested_tuples_as_keys_are_refused_before_they_are_compared(protocol):
    content = pickle.dumps({"key": nested(tuple, 40)}, protocol)  # as a key it would take hours to make
    with pytest.raises(DataError, match="it uses tuples more than 16 times again"):
        loads_pickle(content, "it")
    assert loads_pickle(pickle.dumps({(1, (2, 3)): "few"}, protocol), "it") == {(1, (2, 3)): "few"}


def test_a_place_in_the_memo_beyond_all_items_is_refused():
    with pytest.raises(DataError, match="keeps its item 1 at place 2147483647"):
        loads_pickle(b"\x80\x04]r\xff\xff\xff\x7f.", "it")


def test_an_array_of_bytes_is_not_made_from_a_number():
    with pytest.raises(DataError, match="makes an array of bytes from something else than bytes"):
        loads_pickle(b"cbuiltins\nbytearray\n(I99999999999\ntR.", "it")
    assert loads_pickle(pickle.dumps(bytearray(b"ab"), 2), "it") == bytearray(b"ab")
