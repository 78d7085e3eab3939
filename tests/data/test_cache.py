"""The cache of decoded files: what it holds, when it is built anew, and that a run can always do without it."""

import errno
import gc
import multiprocessing
import os
import pickle
import shutil
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bss.cli.commands import main
from bss.data import cache as module
from bss.data.batches import collate
from bss.data.cache import Cache, Kind, cache_folder
from bss.data.cached_files import as_text, cached, remove
from bss.data.datasets import audiovisual
from bss.data.indexed import IndexedDataset, SeededViews
from bss.data.synthetic.cremad import write_sample
from bss.data.synthetic.signals import ClipSizes
from bss.recipes.fields import override
from bss.tasks import cremad as task
from bss.utils import filesystem
from bss.utils.errors import DataError
from tests import fake_windows
from tests.conftest import random_states

DECODED = Counter()


def numbers(path, *, scale=1.0):
    """Decoder of the tests: a text of numbers; counts its calls."""
    DECODED[path.name] += 1
    text = path.read_text()
    if "broken" in text:
        raise DataError(f"{path}: broken")
    return scale * np.array(text.split(), np.float32)


NUMBERS = Kind("numbers", numbers, "float32")


@pytest.fixture(autouse=True)
def fresh_counter():
    DECODED.clear()


@pytest.fixture
def root(tmp_path):
    """Five files of one to five numbers."""
    folder = tmp_path / "data" / "files"
    folder.mkdir(parents=True)
    for count in range(1, 6):
        (folder / f"{count}.txt").write_text(" ".join(map(str, range(count))))
    return folder.parent


def files_of(root):
    return {path: f"list line {number}" for number, path in enumerate(sorted((root / "files").iterdir()), start=1)}


def cache_of(root, kind=NUMBERS, files=None):
    return Cache(cache_folder("auto", root), root, {kind: files or files_of(root)})


def contents(cache, kind=NUMBERS):
    return [cache[kind](path).tolist() for path in cache[kind].rows or files_of(cache.folder.parent)]


EXPECTED = [[float(i) for i in range(count)] for count in range(1, 6)]


def names(root):
    return sorted(path.name for path in (root / ".bss-cache").iterdir() if path.name not in (".lock", ".root"))


# ----------------------------------------------------------------------------------------- what it holds


def test_without_a_build_every_file_is_decoded_when_it_is_asked_for(root):
    cache = cache_of(root)
    assert contents(cache) == EXPECTED == contents(cache)
    assert set(DECODED.values()) == {2} and not cache[NUMBERS].is_open and not cache.folder.exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_after_a_build_nothing_is_decoded_again_and_all_arrays_are_the_same(root, workers):
    cache = cache_of(root)
    assert cache.build(workers=workers).startswith("decoded files: ")
    DECODED.clear()
    assert contents(cache) == EXPECTED and not DECODED
    assert all(cache[NUMBERS](path).dtype == np.float32 for path in files_of(root))
    assert len(names(root)) == 2 and {name.partition(".")[2] for name in names(root)} == {"data", "index"}
    assert not cache[NUMBERS](next(iter(files_of(root)))).flags.writeable


def test_a_second_run_finds_the_cache_of_the_first(root):
    cache_of(root).build()
    DECODED.clear()
    second = cache_of(root)
    second.build()
    assert contents(second) == EXPECTED and not DECODED


@pytest.mark.parametrize("shape", [(7,), (2, 3), (4, 5, 3)])
def test_arrays_of_one_to_three_axes_keep_their_shape_and_type(root, shape):
    kind = Kind("shaped", partial(shaped, shape=shape), "uint8")
    cache = cache_of(root, kind)
    cache.build()
    for path in files_of(root):
        assert cache[kind](path).shape == shape and cache[kind](path).dtype == np.uint8
        assert np.array_equal(cache[kind](path), shaped(path, shape=shape))


def shaped(path, *, shape):
    return np.random.default_rng(len(path.read_text())).integers(0, 256, shape, np.uint8)


def test_numbers_begin_at_addresses_that_processors_like(root):
    cache = cache_of(root)
    cache.build()
    assert all(cache[NUMBERS](path).ctypes.data % 64 == 0 for path in files_of(root))


def test_it_can_be_sent_to_another_process(root):
    cache = cache_of(root)
    cache.build()
    contents(cache)
    copy = pickle.loads(pickle.dumps(cache[NUMBERS]))
    assert [copy(path).tolist() for path in files_of(root)] == EXPECTED
    assert len(pickle.dumps(copy)) < 5000  # no file content travels


def test_the_random_states_are_left_alone(root):
    before = random_states()
    assert cache_of(root).build().startswith("decoded files")
    assert random_states() == before


# ---------------------------------------------------------------------------------------- when it is built anew


@pytest.mark.parametrize("change", ["content", "time"])
def test_a_changed_file_is_seen_and_the_new_cache_replaces_the_old_one(root, change):
    cache_of(root).build()
    before, path = names(root), root / "files" / "3.txt"
    if change == "content":
        path.write_text("9 9 9 9")
    else:
        path.write_text("7 8 9")
        os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    cache = cache_of(root)
    cache.build()
    assert contents(cache)[2] == ([9, 9, 9, 9] if change == "content" else [7, 8, 9])
    assert len(names(root)) == 2 and names(root) != before


def test_fewer_files_use_the_cache_of_more_and_an_additional_one_builds_anew(root):
    cache_of(root).build()
    DECODED.clear()
    few = dict(list(files_of(root).items())[1:3])
    cache = cache_of(root, files=few)
    cache.build()
    assert contents(cache) == EXPECTED[1:3] and not DECODED
    (root / "files" / "6.txt").write_text("6")
    cache_of(root).build()
    assert DECODED["6.txt"] and DECODED["1.txt"] and len(names(root)) == 2


def test_other_parameters_are_another_cache_and_both_are_kept(root):
    doubled = Kind("numbers-doubled", partial(numbers, scale=2.0), "float32")
    cache_of(root).build()
    other = cache_of(root, doubled)
    other.build()
    assert contents(other, doubled)[2] == [0, 2, 4] and len(names(root)) == 4
    DECODED.clear()
    assert cache_of(root).open() and not DECODED


def test_a_moved_data_set_keeps_its_cache(root, tmp_path):
    cache_of(root).build()
    DECODED.clear()
    moved = root.rename(tmp_path / "elsewhere")
    cache = cache_of(moved)
    assert cache.open() and contents(cache) == EXPECTED and not DECODED


@pytest.mark.parametrize("damage", ["cut data", "short data", "no data", "cut index", "empty index", "other format"])
def test_a_damaged_cache_is_built_anew(root, damage, monkeypatch):
    if damage == "other format":
        monkeypatch.setattr(module, "FORMAT", 0)
    cache_of(root).build()
    monkeypatch.undo()
    data, index = (root / ".bss-cache" / name for name in names(root))
    if damage == "cut data":
        os.truncate(data, 5)
    elif damage == "short data":  # every array still begins inside of the file
        os.truncate(data, data.stat().st_size - 1)
    elif damage == "no data":
        data.unlink()
    elif damage == "cut index":
        os.truncate(index, index.stat().st_size // 2)
    elif damage == "empty index":
        index.write_bytes(b"")
    cache = cache_of(root)
    assert not cache_of(root).open()
    cache.build()
    assert contents(cache) == EXPECTED and len(names(root)) == 2


def data_file(root):
    return next((root / ".bss-cache").glob("*.data"))


@pytest.mark.parametrize("at", [0, 64, 256], ids=["first entry", "second entry", "last entry"])
def test_an_entry_with_changed_bytes_is_decoded_from_its_file_with_a_warning_and_built_anew(root, at):
    cache_of(root).build()
    content = bytearray(data_file(root).read_bytes())
    content[at] ^= 1
    data_file(root).write_bytes(content)
    DECODED.clear()
    cache = cache_of(root)
    cache.build()
    with pytest.warns(UserWarning, match=r"\.data is damaged: entries differ from their checksums.*next start") as seen:
        assert contents(cache) == EXPECTED == contents(cache)
    assert len(seen) == 1 and sum(DECODED.values()) == 2  # the one file, at each look
    cache_of(root).build()
    DECODED.clear()
    assert contents(opened := cache_of(root)) == EXPECTED and opened.open() and contents(opened) == EXPECTED
    assert sum(DECODED.values()) == len(EXPECTED)  # what was read before it was opened


def test_bytes_between_the_entries_and_a_second_look_cost_no_alarm(root, recwarn):
    cache_of(root).build()
    content = bytearray(data_file(root).read_bytes())
    content[60] ^= 1  # padding
    data_file(root).write_bytes(content)
    cache = cache_of(root)
    assert cache.open() and contents(cache) == EXPECTED == contents(cache) and not recwarn


@pytest.mark.parametrize("name", ["names", "states", "offsets", "checksums"])
def test_an_index_that_says_something_else_than_when_it_was_written_is_not_believed(root, name):
    cache_of(root).build()
    path = data_file(root).with_suffix(".index")
    with np.load(path) as archive:
        index = dict(archive)
    with open(path, "wb") as file:
        np.savez(file, **{**index, name: index[name][::-1]})
    line = (cache := cache_of(root)).build()
    assert "numbers built anew: the cache there was damaged" in line and "\n" not in line
    assert contents(cache) == EXPECTED


@pytest.mark.parametrize("at", [0, 60_000, 119_999], ids=["head", "middle", "tail"])
def test_a_file_with_other_content_of_the_same_size_and_time_is_decoded_anew(root, at):
    path = root / "files" / "5.txt"
    path.write_text("1 " * 60_000)
    cache_of(root).build()
    before = path.stat()
    text = bytearray(path.read_bytes())
    text[at - at % 2] = ord("2")
    path.write_bytes(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    cache = cache_of(root)
    assert "the cache there lacked 1 of 5 files as they are now" in cache.build()
    assert contents(cache)[4].count(2.0) == 1


def test_a_cache_of_another_format_is_replaced_and_the_line_says_so(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "FORMAT", 2)
        assert "built anew" not in cache_of(root).build()
    assert "numbers built anew: the cache there was made by another version" in cache_of(root).build()
    assert len(names(root)) == 2


def test_a_cache_that_another_run_has_mapped_keeps_its_file_and_the_next_one_has_a_name_of_its_own(root, monkeypatch):
    """As on Windows, which neither replaces nor deletes a mapped file."""
    cache_of(root).build()
    first, data = cache_of(root), data_file(root)
    first.open()
    assert contents(first) == EXPECTED  # and now it is mapped
    data.with_suffix(".index").write_bytes(b"damaged")
    with monkeypatch.context() as patch:
        fake_windows.Held(patch, data.name)
        second = cache_of(root)
        assert "numbers built anew: the cache there was damaged" in second.build()
    assert data.exists() and len(names(root)) == 3  # its index is gone
    DECODED.clear()
    assert contents(second) == contents(first) == EXPECTED and not DECODED
    (root / "files" / "6.txt").write_text("6")
    cache_of(root).build()
    assert len(names(root)) == 2 and not data.exists()


def test_folders_in_place_of_cache_files_leave_the_run_without_a_cache_in_a_line(root):
    cache_of(root).build()
    data = data_file(root)
    data.unlink()
    data.mkdir()
    cache = cache_of(root)
    line = cache.build()
    assert line.startswith("warning: no cache of decoded files") and "\n" not in line and contents(cache) == EXPECTED


def test_what_killed_runs_left_and_what_was_not_used_for_long_is_deleted_by_a_build(root):
    folder = root / ".bss-cache"
    folder.mkdir()
    long_ago, an_hour_ago = time.time() - 40 * 86400, time.time() - 4000
    old, young = ".sound-3.77.tmp.data", ".sound-3.78.tmp.data"
    for name, age in ((old, an_hour_ago), ("sound-1.data", long_ago), ("sound-1.index", long_ago)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (age, age))
    for name in (young, "sound-2.data", "notes.txt"):
        (folder / name).write_bytes(b"x")
    os.utime(folder / "notes.txt", (1, 1))  # not ours
    cache_of(root).build()
    others = [name for name in names(root) if not name.startswith("numbers")]
    assert others == ["notes.txt", "sound-2.data"]  # the lock is held, so nobody else is writing


def test_a_run_goes_on_when_another_one_replaces_its_cache_before_its_workers_open_it(root):
    cache = cache_of(root)
    cache.build()
    shutil.rmtree(cache.folder)
    assert contents(cache) == EXPECTED and DECODED


# ------------------------------------------------------------------------------------------- when it cannot be


def test_a_broken_file_is_the_error_of_plain_reading_with_its_row_and_leaves_nothing_behind(root):
    (root / "files" / "4.txt").write_text("broken")
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"4\.txt: broken \(list line 4\)"):
            cache_of(root).build(workers=workers)
    assert names(root) == []


def test_a_file_that_is_gone_is_named_with_its_row(root):
    files = files_of(root)
    (root / "files" / "2.txt").unlink()
    with pytest.raises(DataError, match=r"2\.txt: cannot be read: No such file.* \(list line 2\)"):
        cache_of(root, files=files).build()


def test_too_little_room_is_one_line_with_the_numbers_and_the_way_out_and_all_works_without(root, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1000, 900, 100))
    cache = cache_of(root)
    line = cache.build()
    assert "\n" not in line and line.startswith("warning: no cache of decoded files in")
    assert "about 320B are needed and 100B are free" in line  # five files of 64 bytes, aligned
    assert "--set cache=DIR" in line and "--set cache=none" in line
    assert contents(cache) == EXPECTED and names(root) == []


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "the disk became full"), (errno.EIO, "Input/output error")])
def test_a_disk_that_becomes_full_is_a_warning_and_the_partial_files_are_removed(root, monkeypatch, number, words):
    def full(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(np, "savez", full)
    cache = cache_of(root)
    assert words in cache.build()
    assert contents(cache) == EXPECTED and names(root) == []


def test_a_folder_that_cannot_be_made_is_a_warning_and_a_cache_in_a_read_only_one_is_used(root, monkeypatch):
    (root / ".bss-cache").write_text("a file")
    cache = cache_of(root)
    assert cache.build().startswith("warning: no cache") and contents(cache) == EXPECTED
    (root / ".bss-cache").unlink()
    cache_of(root).build()
    monkeypatch.setattr(os, "utime", lambda *_: (_ for _ in ()).throw(PermissionError()))
    assert cache_of(root).open()


def test_what_ends_the_run_ends_the_build_and_leaves_nothing_behind(root):
    calls = iter(range(4))

    def stop():
        if next(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_of(root).build(check=stop)
    assert names(root) == []


# ---------------------------------------------------------------------------------------------- several runs at once


def test_two_runs_at_once_build_it_once(root):
    context, files = multiprocessing.get_context("fork"), files_of(root)
    calls = root / "calls"
    kind = Kind("slow", partial(slow, calls=calls), "float32")
    runs = [context.Process(target=build, args=(root, kind, files)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(30)
    assert [run.exitcode for run in runs] == [0, 0, 0]
    assert len(calls.read_text()) == 10  # five files, and five that the size was estimated from
    assert len(names(root)) == 2


def slow(path, *, calls):
    with open(calls, "a") as file:
        file.write("x")
    time.sleep(0.01)
    return numbers(path)


def build(root, kind, files):
    cache = cache_of(root, kind, files)
    assert cache.build().startswith("decoded files")
    assert [cache[kind](path).tolist() for path in files] == EXPECTED


def test_a_run_that_waits_for_another_can_be_stopped(root):
    fcntl = pytest.importorskip("fcntl")
    (root / ".bss-cache").mkdir()
    with open(root / ".bss-cache" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wish = threading.Event()
        threading.Timer(0.3, wish.set).start()

        def check():
            if wish.is_set():
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cache_of(root).build(check=check)


# ------------------------------------------------------------------------------------------------- in a data set

SMALL = ["seconds=0.2", "image_size=24", "width=4", "val_fraction=0.34"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "data"
    write_sample(folder, ClipSizes(per_class=3, test_per_class=1, seconds=0.2, image_size=40))
    return folder


def batches(recipe, root, *, workers=0):
    data = task.build_data(recipe, root)
    if data.cache is not None:
        data.cache.build()
    views = SeededViews(IndexedDataset(data.train), recipe.seed)
    keys = [(epoch, index) for epoch in range(2) for index in range(len(data.train))]
    for dataset, order in ((views, keys), (data.test, range(len(data.test)))):
        yield from DataLoader(dataset, batch_size=4, sampler=order, num_workers=workers, collate_fn=collate)


def test_batches_with_and_without_a_cache_are_equal_bit_for_bit(sample):
    plain, cached = override(task.CL, [*SMALL, "cache=none"]), override(task.CL, SMALL)
    parts = [("audio", "waveform"), ("audio", "length"), ("visual", "frames"), ("visual", "box")]
    for workers in (0, 1):
        for one, other in zip(batches(plain, sample), batches(cached, sample, workers=workers), strict=True):
            assert all(torch.equal(one[name][part], other[name][part]) for name, part in parts)
            assert torch.equal(one["label"], other["label"])


def test_an_epoch_from_the_cache_opens_no_file_of_the_data_set(sample, monkeypatch):
    data = task.build_data(override(task.CL, SMALL), sample)
    data.cache.build()
    monkeypatch.setattr(audiovisual.sound, "read_audio", pytest.fail)
    monkeypatch.setattr(audiovisual.picture, "read_frame", pytest.fail)
    for part in (data.train, data.score, data.val, data.test):
        assert len([part[index] for index in range(len(part))]) == len(part)


def test_the_official_recipe_decodes_the_frames_that_it_uses_only(sample, tmp_path):
    data = task.build_data(override(task.CL_OFFICIAL, [*SMALL, "val_fraction=0", f"cache={tmp_path}"]), sample)
    frames = [len(part.rows) for kind, part in data.cache.parts.items() if kind.name == "frames"]
    assert frames == [len(data.train) + len(data.test)]  # one each, of two
    assert data.cache.folder.parent == tmp_path and data.cache.folder.name.startswith("data-")


def test_two_data_sets_in_one_cache_folder_have_folders_of_their_own(tmp_path):
    assert cache_folder(str(tmp_path), Path("/a/data")) != cache_folder(str(tmp_path), Path("/b/data"))
    assert cache_folder("auto", Path("/a/data")) == Path("/a/data/.bss-cache")


# ---- what others may do, and what clean does ------------------------------------------------------------------------


def test_a_lock_may_be_used_by_whoever_may_write_to_its_folder(tmp_path):
    for mode, wanted in ((0o770, 0o660), (0o755, 0o644), (0o2775, 0o664), (0o777, 0o666)):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        before = os.umask(0o022)
        try:
            filesystem.try_lock(folder / ".lock").release()
        finally:
            os.umask(before)
        assert (folder / ".lock").stat().st_mode & wanted == wanted
        assert (folder / ".lock").stat().st_mode & 0o002 == mode & 0o002


def test_what_a_dead_build_left_goes_at_once_and_not_while_another_builds(root):
    folder = root / ".bss-cache"
    folder.mkdir()
    (folder / ".sound-3.77aa.tmp.data").write_bytes(b"half")
    cache_of(root).build()
    assert not list(folder.glob(".*.tmp*"))


def test_caches_are_listed_with_root_size_and_age_and_those_in_use_are_kept(root, capsys):
    cache = cache_of(root)
    cache.build()
    (found,) = cached(root)
    assert (found.root, found.in_use) == (root.resolve(), True)
    assert found.size == sum(path.stat().st_size for path in found.files) and len(found.files) == 2
    assert cached(root.parent) == cached(root / ".bss-cache") == [found]
    assert remove([found]) == [found] and len(found.files) == 2
    cache[NUMBERS]._in_use.release()
    (found,) = cached(root)
    assert not found.in_use
    text = as_text([found], found.used + 3 * 86400)
    assert (
        text.splitlines()[0] == f"{(root / '.bss-cache').resolve()}, of {root.resolve()}" and "used 3 days ago" in text
    )
    assert main(["clean", "cache", str(root)]) == 0
    assert "--yes" in capsys.readouterr().out and cached(root)
    assert main(["clean", "cache", str(root), "--older", "1"]) == 0
    assert cached(root)
    assert main(["clean", "cache", str(root), "--yes"]) == 0
    assert not cached(root) and "removed" in capsys.readouterr().out
    assert main(["clean", "cache", str(root)]) == 0 and "no cache" in capsys.readouterr().out
    assert main(["clean", "cache", str(root / "nowhere")]) == 2


def test_a_process_that_forgets_its_cache_holds_it_no_longer(root):
    cache = cache_of(root)
    cache.build()
    assert cached(root)[0].in_use
    pickle.loads(pickle.dumps(cache))
    del cache
    gc.collect()
    assert not cached(root)[0].in_use
