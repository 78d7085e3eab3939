"""Whole files and folders, locks and reading: what is left after an error, a kill and a second writer."""

import os
import shutil
import signal
import threading

import pytest

from bss.utils import filesystem
from bss.utils.errors import DataError, FileHeldError, first_line
from bss.utils.filesystem import delete, only_one, reading, replace_text, sweep, whole_file, whole_folder
from tests import fake_windows


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- whole files and folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flush", [False, True])
def test_a_file_gets_its_name_when_it_is_whole_and_replaces_the_one_before(tmp_path, flush):
    target = tmp_path / "new" / "list.csv"
    for content in ("first", "second"):
        with whole_file(target, flush=flush) as temporary:
            before = target.read_text() if target.exists() else None
            temporary.write_text(content)
            assert temporary.suffix == ".csv" and temporary.name.startswith(".")
            assert before == (target.read_text() if target.exists() else None)
        assert target.read_text() == content and names(target.parent) == ["list.csv"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_folder_and_nothing_else(tmp_path, error):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("old")
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(error), whole_file(file, flush=True) as temporary:
        temporary.write_text("half")
        raise error
    with pytest.raises(error), whole_folder(folder) as temporary:
        (temporary / "half").touch()
        raise error
    assert file.read_text() == "old" and names(folder) == ["old"] and names(tmp_path) == ["file", "folder"]


def test_content_is_on_the_disk_before_the_name_and_the_name_before_anything_else(tmp_path, monkeypatch):
    done = []

    def synced(descriptor):
        done.append(("flush", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))

    def renamed(source, target):
        done.append(("rename", target.name))
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("descriptors have no names here")
    with whole_file(tmp_path / "a.pt", flush=True) as temporary:
        temporary.touch()
    replace_text(tmp_path / "b.json", "{}")
    here = ("flush", tmp_path.name)
    expected = [("flush", temporary.name), ("rename", "a.pt"), here]
    assert done[:3] == expected and done[4:] == [("rename", "b.json"), here] and len(done) == 6
    done.clear()
    with whole_file(tmp_path / "c.wav") as temporary:
        temporary.touch()
    assert done == [("rename", "c.wav")]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for name in ("a", "b"):
        with whole_folder(tmp_path / "x" / "clip") as folder:
            (folder / name).touch()
    assert names(tmp_path / "x" / "clip") == ["b"] and names(tmp_path / "x") == ["clip"]
    assert (tmp_path / "x" / "clip").stat().st_mode & 0o777 == 0o755


def test_until_the_new_folder_has_its_name_the_old_one_is_not_deleted(tmp_path, monkeypatch):
    target, seen = tmp_path / "clip", []
    target.mkdir()
    (target / "old").touch()

    def looking(source, destination):
        rename(source, destination)
        seen.append(sum(1 for _ in tmp_path.rglob("old")))

    rename = os.replace
    monkeypatch.setattr(os, "replace", looking)
    with whole_folder(target) as folder:
        (folder / "new").touch()
    assert seen == [1, 1] and names(target) == ["new"] and names(tmp_path) == ["clip"]


def test_a_folder_that_is_not_to_be_replaced_stays_unless_it_is_empty(tmp_path):
    target = tmp_path / "sample"
    target.mkdir()
    with whole_folder(target, replace=False) as folder:
        (folder / "first").touch()
    with pytest.raises(OSError), whole_folder(target, replace=False) as folder:
        (folder / "second").touch()
    assert names(target) == ["first"] and names(tmp_path) == ["sample"]


# ---- files that another program has open, as Windows minds it -------------------------------------------------------


def written(target):
    replace_text(target, "new")


def replaced(target):
    with whole_folder(target) as folder:
        (folder / "new").touch()


@pytest.mark.parametrize(("change", "folder"), [(written, False), (replaced, True), (delete, False)])
def test_a_file_that_is_open_elsewhere_for_a_moment_is_waited_for(tmp_path, monkeypatch, change, folder):
    target = tmp_path / "target"
    target.mkdir() if folder else target.write_text("old")
    held = fake_windows.Held(monkeypatch, "target", looks=3)
    change(target)
    assert held.left == 0 and held.pauses == sorted(set(held.pauses)) and len(held.pauses) == 3
    assert names(tmp_path) == ([] if change is delete else ["target"])
    assert folder or change is delete or target.read_text() == "new"
    assert not folder or names(target) == ["new"]


@pytest.mark.parametrize(("change", "folder"), [(written, False), (replaced, True), (delete, False)])
def test_a_file_that_stays_open_elsewhere_is_one_line_with_its_name_and_the_way_out(
    tmp_path, monkeypatch, change, folder
):
    target = tmp_path / "target"
    target.mkdir() if folder else target.write_text("old")
    held = fake_windows.Held(monkeypatch, "target")
    with pytest.raises(FileHeldError, match=r"is open in another program .*: close it there, and repeat") as caught:
        change(target)
    assert str(caught.value).startswith(f"{target} ") and "\n" not in str(caught.value)
    assert isinstance(caught.value, PermissionError) and caught.value.strerror == str(caught.value)
    assert 4 < sum(held.pauses) < 6
    assert names(tmp_path) == ["target"] and (folder or target.read_text() == "old")


def test_a_temporary_file_that_stays_open_elsewhere_hides_no_error(tmp_path, monkeypatch):
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a") as temporary:
        temporary.touch()
        fake_windows.Held(monkeypatch, temporary.name)
        raise ZeroDivisionError
    assert names(tmp_path) == [temporary.name]  # for sweep() to find


def test_elsewhere_than_on_windows_a_permission_is_not_waited_for(tmp_path, monkeypatch):
    held = fake_windows.Held(monkeypatch, "target")
    monkeypatch.setattr(filesystem, "WINDOWS", False)
    (tmp_path / "target").touch()
    with pytest.raises(PermissionError, match="Access is denied") as caught:
        written(tmp_path / "target")
    assert held.pauses == [] and not isinstance(caught.value, FileHeldError)


def kill_while_writing(tmp_path):
    """A forked process that is killed inside of both blocks; what it was writing stays behind."""
    child = os.fork()
    if child == 0:
        with whole_file(tmp_path / "a.npz") as file, whole_folder(tmp_path / "clip") as folder:
            file.touch()
            (folder / "1.jpg").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_killed_writer_leaves_no_half_file_under_the_name_and_what_it_leaves_can_be_swept(tmp_path):
    kill_while_writing(tmp_path)
    (tmp_path / ".mine").touch()
    assert len(names(tmp_path)) == 3 and not {"a.npz", "clip"} & set(names(tmp_path))
    sweep(tmp_path)
    assert len(names(tmp_path)) == 3  # perhaps another process is at it
    sweep(tmp_path, older=-1)
    assert names(tmp_path) == [".mine"]


# ---- locks ---------------------------------------------------------------------------------------------------------


class BusyError(Exception):
    pass


def busy():
    raise BusyError


@pytest.fixture(params=["a folder", "a file", "a folder on Windows", "a file on Windows"])
def place(tmp_path, request, monkeypatch):
    if request.param.endswith("Windows"):
        fake_windows.install(monkeypatch)
    return tmp_path if request.param.startswith("a folder") else tmp_path / "its lock"


def is_free(place):
    try:
        only_one(place, busy).release()
    except BusyError:
        return False
    return True


def test_one_at_a_time_until_it_is_released_or_forgotten(place):
    lock = only_one(place, busy)
    assert not is_free(place)
    lock.release()
    lock.release()
    assert is_free(place)
    with only_one(place, busy):
        assert not is_free(place)
    assert is_free(place)
    lock = only_one(place, busy)
    del lock
    assert is_free(place)
    assert place.is_file() or names(place) == []  # a folder's lock leaves no trace


def test_the_one_that_waits_gets_it_when_it_is_free(place):
    lock, calls = only_one(place, busy), []

    def asked():
        calls.append(len(calls))
        if len(calls) == 2:
            lock.release()

    only_one(place, asked).release()
    assert calls == [0, 1]


def test_what_ends_the_wait_may_be_any_error_and_leaves_no_descriptor(place):
    def gone():
        raise FileNotFoundError  # an OSError must not be taken for a file system without locks

    with only_one(place, busy):
        before = set(filesystem._LOCKS)
        with pytest.raises(FileNotFoundError):
            only_one(place, gone)
        assert before == filesystem._LOCKS


def test_a_forked_child_of_a_killed_process_does_not_hold_its_lock(place):
    """As a loader's worker does that outlives its run."""
    (heard, ready), (wait, go) = os.pipe(), os.pipe()
    holder = os.fork()
    if holder == 0:
        lock = only_one(place, busy)
        if os.fork() == 0:
            os.close(go)
            os.write(ready, b"x")
            os.read(wait, 1)  # until the test has looked
            lock.release()
            os._exit(0)
        signal.pause()
    assert os.read(heard, 1) == b"x"
    assert not is_free(place)
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    assert is_free(place)
    for descriptor in (heard, ready, wait, go):
        os.close(descriptor)


def test_a_file_system_without_locks_locks_nothing(place, monkeypatch):
    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(filesystem, "_lock", refuse)
    with only_one(place, busy), only_one(place, busy):  # busy raises
        inside = True
    assert inside


def test_threads_of_one_process_exclude_one_another(place):
    inside, most = [], []

    def work():
        with only_one(place, lambda: None):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


# ---- errors --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_named_with_the_reason(tmp_path):
    path = tmp_path / "none"
    with pytest.raises(DataError) as caught, reading(path):
        path.read_bytes()
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"
    with pytest.raises(DataError, match="cannot be read: odd"), reading(path):
        raise shutil.Error("odd")
    with pytest.raises(ZeroDivisionError), reading(path):
        raise ZeroDivisionError


def test_the_first_line_of_an_error_is_short():
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line("x" * 1000) == "x" * 200 and first_line(OSError()) == ""


def test_the_folder_before_comes_back_when_the_new_one_cannot_get_its_name(tmp_path, monkeypatch):
    target = tmp_path / "clip"
    target.mkdir()
    (target / "frame.jpg").write_text("old")
    rename = os.replace

    def refused(source, goal):
        if goal == target and not str(source).endswith("_before.tmp"):
            raise OSError(5, "Input/output error")
        rename(source, goal)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OSError, match="Input/output error"), whole_folder(target) as folder:
        (folder / "frame.jpg").write_text("new")
    assert names(tmp_path) == ["clip"] and (target / "frame.jpg").read_text() == "old"
