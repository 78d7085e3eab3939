import builtins
import collections
import os
import pickle
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bss.data import safe_pickle
from bss.utils.errors import DataError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
DTYPES = ["?", "i1", "u1", "<i2", ">i2", "i4", "i8", "u8", "f2", "<f4", ">f4", "f8", "c8", "c16", "U5", "S3"]


class Calls:
    """Pickles to a program that calls a function."""

    def __init__(self, function, *arguments):
        self.recipe = (function, arguments)

    def __reduce__(self):
        return self.recipe


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        return all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        return all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape
        return np.array_equal(a, b)
    return a == b


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_numeric_array_of_every_protocol_comes_back_equal_and_writable(protocol, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    for variant in (array, np.asfortranarray(array), array[:, ::2], array[:0], array[0, :1].reshape(())):
        loaded = safe_pickle.loads(pickle.dumps(variant, protocol))
        assert same(variant, loaded)
        assert loaded.flags.writeable and loaded.flags.owndata


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_form_that_sound_preprocessing_writes_comes_back(protocol, tmp_path):
    content = {"waveform": np.linspace(-1, 1, 7, dtype=np.float32), "sample_rate": 22050}
    path = tmp_path / "clip.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    assert same(content, safe_pickle.load(path))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_containers_and_scalars_come_back(protocol):
    shared = [1]
    content = {
        "numbers": [1, -(2**70), 2.5, 1 + 2j, True, None],
        "text": ("a", "\u00e4", b"\xff\x00", bytearray(b"xy"), bytearray()),
        "sets": [{1, 2}, frozenset({"a"})],
        "numpy": [np.int64(3), np.float32(0.5), np.bool_(True), np.str_("ab")],
        "shared": [shared, shared],
    }
    assert same(content, safe_pickle.loads(pickle.dumps(content, protocol)))
    assert safe_pickle.loads(pickle.dumps(collections.OrderedDict(b=1, a=2), protocol)) == {"b": 1, "a": 2}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_the_module_names_of_numpy_1_are_understood(protocol):
    array = np.arange(3.0)
    by_numpy_2 = pickle.dumps(array, protocol).replace(b"numpy.core.", b"numpy._core.")
    by_numpy_1 = by_numpy_2.replace(b"numpy._core.", b"numpy.core.")
    assert by_numpy_1 != by_numpy_2
    assert same(array, safe_pickle.loads(by_numpy_1)) and same(array, safe_pickle.loads(by_numpy_2))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "function, arguments, name",
    [
        (os.system, ("touch {}",), r"(posix|nt)\.system"),
        (builtins.eval, ("open({!r}, 'w')",), r"builtins\.eval"),
        (builtins.exec, ("open({!r}, 'w')",), r"builtins\.exec"),
        (builtins.open, ("{}", "w"), r"(_?io|builtins)\.open"),
        (builtins.getattr, ("x", "upper"), r"builtins\.getattr"),
        (subprocess.check_output, (["touch", "{}"],), r"(subprocess|commands)\.check_output"),
        (np.load, ("{}",), r"numpy\S*\.load"),
        (np.fromfile, ("{}",), r"numpy\S*\.fromfile"),
    ],
)
@pytest.mark.parametrize("nest", [lambda x: x, lambda x: {"waveform": [np.zeros(2), (x,)]}], ids=["bare", "nested"])
def test_a_payload_is_refused_by_name_and_does_not_run(tmp_path, protocol, function, arguments, name, nest):
    proof = tmp_path / "it-ran"
    filled = [[part.format(proof) for part in a] if isinstance(a, list) else a.format(str(proof)) for a in arguments]
    path = tmp_path / "clip.pkl"
    path.write_bytes(pickle.dumps(nest(Calls(function, *filled)), protocol))
    with pytest.raises(DataError, match=rf"clip\.pkl: refused, it wants to use {name}"):
        safe_pickle.load(path)
    assert not proof.exists()


def test_the_payload_of_these_tests_does_run_in_plain_pickle(tmp_path):
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {tmp_path / 'it-ran'}")))
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_object_arrays_are_refused(protocol):
    with pytest.raises(DataError, match="refused, it holds an object array"):
        safe_pickle.loads(pickle.dumps(np.array([{}, 1], dtype=object), protocol))


@pytest.mark.parametrize(
    "content, words",
    [
        (np.zeros(2, dtype=[("a", "f4")]), "structured|numpy dtype 'V4'"),
        (np.zeros(2, dtype="M8[s]"), "numpy dtype 'M8'"),
        (np.ma.zeros(2), r"it wants to use numpy\.ma"),
        (np.ndarray, "a function, a type or an unfinished object"),
        (np.dtype("f4"), "a function, a type or an unfinished object"),
        (Calls(bytearray, 10**12), "bytearray from something else than bytes"),
        (print, r"builtins\.print"),
        (DataError("x"), r"bss\.utils\.errors\.DataError"),
    ],
)
def test_whatever_is_not_plain_data_is_refused(content, words):
    with pytest.raises(DataError, match=f"refused, .*({words})"):
        safe_pickle.loads(pickle.dumps(content, 2))


def test_another_codec_than_latin1_is_refused():
    import _codecs

    with pytest.raises(DataError, match="refused, it uses the codec 'rot13'"):
        safe_pickle.loads(pickle.dumps(Calls(_codecs.encode, "os.system", "rot13")))


def test_a_stand_in_cannot_be_changed_from_within_a_file():
    # GLOBAL numpy.dtype, then BUILD with a slot state that sets __call__ on what the name stands for.
    data = b"cnumpy\ndtype\n(N}S'__func__'\nI1\nstb."
    with pytest.raises(DataError, match="not a readable pickle"):
        safe_pickle.loads(data)
    assert safe_pickle.loads(pickle.dumps(np.zeros(2))).shape == (2,)


def test_an_array_whose_bytes_do_not_fill_its_shape_is_refused():
    good = pickle.dumps(np.zeros((3, 5), dtype="f4"), 3)
    for wrong in (b"K\x03K\x07", b"K\x02K\x05", b"J\xff\xff\xff\xffK\x05", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f"):
        with pytest.raises(DataError, match=r"bytes for an array of shape|array shape"):
            safe_pickle.loads(good.replace(b"K\x03K\x05", wrong))


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "truncated or damaged"),
        (b"garbage", "truncated or damaged"),
        (b"\x80\x04.", "truncated or damaged"),
        (b"\x80\x63.", "truncated or damaged"),
        (b"version https://git-lfs.github.com/spec/v1\n", "truncated or damaged"),
        (b"\x80\x04" + b"(" * 100_000 + b"l" * 100_000 + b".", "truncated or damaged"),
        (b"\x80\x04" + b"]" + b"]" * 50_000 + b"a" * 50_000 + b".", "RecursionError"),
        (b"\x80\x04N" + b"\x85" * 50_000 + b".", "RecursionError"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "truncated or damaged"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.", "truncated or damaged"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x.", "truncated or damaged"),
        (b"\x80\x04Nr" + struct.pack("<I", 2**31) + b".", "memo index 2147483648"),
        (b"Np99999999999\n.", "memo index 99999999999"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Pname\n.", "PERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"]q\x00h\x00a.", "contains itself"),
        (b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.", "truncated or damaged"),
    ],
)
def test_a_damaged_or_hostile_file_is_a_data_error_that_names_it(data, words, tmp_path):
    path = tmp_path / "clip.pkl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"(?s)clip\.pkl: .*{words}"):
        safe_pickle.load(path)


def test_every_truncation_is_an_error():
    data = pickle.dumps({"waveform": np.arange(4, dtype="f4"), "sample_rate": 8000}, 4)
    for length in range(len(data)):
        with pytest.raises(DataError, match="not a readable pickle"):
            safe_pickle.loads(data[:length])


def test_lists_that_hold_the_one_before_twice_take_no_exponential_time():
    content = [0]
    for _ in range(200):
        content = [content, content]
    loaded = safe_pickle.loads(pickle.dumps(content))
    assert loaded[0] is loaded[1]


def test_a_file_that_is_not_there_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none\.pkl: cannot be read: No such file"):
        safe_pickle.load(tmp_path / "none.pkl")


@settings(max_examples=300, deadline=None)
@given(
    start=st.sampled_from([pickle.dumps([np.arange(3.0), {"a": np.int8(1)}, {2}], p) for p in PROTOCOLS]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_changed_bytes_give_plain_data_or_a_data_error(start, changes):
    data = bytearray(start)
    for at, value in changes:
        data[at % len(data)] = value
    try:
        loaded = safe_pickle.loads(bytes(data))
    except DataError:
        return
    assert isinstance(loaded, list | dict | set | tuple | str | bytes | int | float | np.ndarray | np.generic | None)
