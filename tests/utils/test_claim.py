"""Which process has a folder, on file systems with locks and without: dead ones, other hosts, waiters, a paused one."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bss.utils import claim
from bss.utils.errors import RunHeldError
from tests import fake_windows

fcntl = pytest.importorskip("fcntl")


@pytest.fixture(params=["locks", "no locks", "locks of Windows"])
def locks(request, monkeypatch):
    """A file system with locks, and one that has none, as some network file systems."""
    if request.param == "locks of Windows":
        fake_windows.install(monkeypatch)
    if request.param == "no locks":

        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)
    return request.param != "no locks"


@pytest.fixture
def no_locks(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(claim, "BEAT", 0.02)
    monkeypatch.setattr(claim, "PATIENCE", 0.4)


def left_behind(folder, **others):
    """A claim of a process that no longer writes into it."""
    fields = {"host": "elsewhere", "job": None, "pid": 17, "id": "another", "boot": "b", "pids": "p", "started": "1"}
    (folder / "claim.json").write_text(json.dumps({**fields, "heartbeat": "4102444800.000", **others}))


def forked(work):
    """A child that does something and waits to be killed; it is there when this returns."""
    heard, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            kept = work()
            os.write(ready, b"x")
            time.sleep(60)
            del kept
        finally:
            os._exit(1)
    assert os.read(heard, 1) == b"x"
    os.close(heard)
    os.close(ready)
    return child


def content(folder):
    return json.loads((folder / "claim.json").read_text())


def took(folder):
    """Whether the folder can be had, and in which time."""
    began = time.monotonic()
    claim.take(folder).release()
    return time.monotonic() - began


# ---- one at a time -------------------------------------------------------------------------------------------------


def test_a_claim_says_who_has_the_folder_and_is_gone_when_it_is_released(tmp_path, locks, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    with claim.take(tmp_path):
        said = content(tmp_path)
        assert (said["host"], said["job"], said["pid"]) == (platform.node(), "123", os.getpid())
        assert abs(float(said["heartbeat"]) - time.time()) < 60
        with pytest.raises(
            RunHeldError, match=rf"is being trained by {platform.node()}, job 123 \(pid {os.getpid()}\)"
        ):
            claim.take(tmp_path)
        assert content(tmp_path)["id"] == said["id"]
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_nothing_refers_to_is_released(tmp_path, locks):
    held = claim.take(tmp_path)
    del held
    assert list(tmp_path.iterdir()) == []


def test_a_heartbeat_goes_on_and_keeps_the_size(tmp_path):
    with claim.take(tmp_path) as held:
        first, size = content(tmp_path), (tmp_path / "claim.json").stat().st_size
        deadline = time.monotonic() + 10
        while content(tmp_path) == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert content(tmp_path)["heartbeat"] > first["heartbeat"]
        assert (tmp_path / "claim.json").stat().st_size == size
        held.check()


def test_a_fork_neither_releases_a_claim_nor_keeps_it(tmp_path, locks):
    held = claim.take(tmp_path)
    child = os.fork()
    if child == 0:
        held.release()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    held.check()
    assert content(tmp_path)["pid"] == os.getpid()
    child = forked(lambda: held)  # like a loader's process that outlives its run
    held.release()
    took(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_heartbeat_keeps_no_process_alive_and_its_end_releases_the_claim(tmp_path):
    code = f"from pathlib import Path\nfrom bss.utils import claim\nheld = claim.take(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=Path(__file__).parents[2])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [0, 100])
def test_nothing_is_left_where_a_claim_cannot_be_written(tmp_path, monkeypatch, room):
    write, left = os.write, [room]

    def filling(file, content):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= write(file, content[: left[0]])
        return room

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "write", filling)
        claim.take(tmp_path)
    assert list(tmp_path.iterdir()) == []
    took(tmp_path)


# ---- dead processes of this machine --------------------------------------------------------------------------------


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "a zombie"])
def test_the_claim_of_a_killed_process_is_taken_over_at_once(tmp_path, locks, monkeypatch, reaped):
    monkeypatch.setattr(claim, "PATIENCE", 60.0)
    child = forked(lambda: claim.take(tmp_path))
    with pytest.raises(RunHeldError, match=rf"\(pid {child}\)"):
        claim.take(tmp_path)
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it is dead, and still has its number
    if reaped:
        os.waitpid(child, 0)
    assert took(tmp_path) < 30
    if not reaped:
        os.waitpid(child, 0)


def test_another_process_with_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path, no_locks, monkeypatch):
    monkeypatch.setattr(claim, "PATIENCE", 60.0)
    own = claim.this_process()
    here = {"host": own.host, "pid": own.pid, "boot": own.boot, "pids": own.pids}
    left_behind(tmp_path, **here, started="1")
    assert took(tmp_path) < 30
    left_behind(tmp_path, **here, started=own.started)
    with pytest.raises(RunHeldError, match=f"pid {own.pid}"):
        claim.take(tmp_path)


def test_a_process_of_another_container_is_not_looked_up_by_its_number_here(tmp_path, locks):
    own = claim.this_process()
    left_behind(tmp_path, host=own.host, pid=2**22 + 1, boot=own.boot, pids="pid:[another]")
    # Where the machine has locks a living one would have it; where it has none, the heartbeat has to tell.
    assert (took(tmp_path) >= claim.PATIENCE) == (not locks)


# ---- other hosts ---------------------------------------------------------------------------------------------------


def test_a_heartbeat_of_another_host_that_stands_still_is_watched_and_taken_over(tmp_path, locks):
    left_behind(tmp_path, job="9")  # by its own clock it is from the year 2100
    told = []
    began = time.monotonic()
    with claim.take(tmp_path, tell=told.append):
        assert time.monotonic() - began >= claim.PATIENCE
        assert content(tmp_path)["host"] == platform.node()
    assert told == [f"{tmp_path} was being trained by elsewhere, job 9 (pid 17): looking whether it still is, 0 s"]
    assert list(tmp_path.iterdir()) == []


def test_a_heartbeat_of_another_host_that_goes_on_holds_the_folder(tmp_path, locks):
    left_behind(tmp_path, job="9", heartbeat="1.000")  # its clock is wrong
    over = threading.Event()

    def beat():
        while not over.wait(0.02):
            left_behind(tmp_path, job="9", heartbeat=f"{time.monotonic():.3f}")

    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.raises(RunHeldError, match=r"is being trained by (elsewhere, job 9|another process)"):
        claim.take(tmp_path)
    over.set()
    thread.join()


def test_a_claim_from_long_ago_by_the_file_systems_own_clock_is_not_watched(tmp_path, locks, monkeypatch):
    monkeypatch.setattr(claim, "PATIENCE", 60.0)
    left_behind(tmp_path)
    old = (tmp_path / "claim.json").stat().st_mtime - 2 * claim.LONG_AGO
    os.utime(tmp_path / "claim.json", (old, old))
    assert took(tmp_path) < 30


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"host": 1}', b"[" * 100_000, b"\xff" * 10])
def test_a_damaged_claim_is_one_of_nobody_knows_whom(tmp_path, damaged):
    (tmp_path / "claim.json").write_bytes(damaged)
    assert took(tmp_path) >= claim.PATIENCE


def test_of_several_that_see_a_heartbeat_stand_still_one_gets_the_folder(tmp_path, no_locks):
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        left_behind(folder)
        got, refused = [], []

        def wait(folder=folder, got=got, refused=refused):
            try:
                got.append(claim.take(folder))
            except RunHeldError as error:
                refused.append(str(error))

        waiters = [threading.Thread(target=wait) for _ in range(6)]
        for waiter in waiters:
            waiter.start()
        for waiter in waiters:
            waiter.join()
        assert (len(got), len(refused)) == (1, 5)
        got[0].check()
        assert [path.name for path in folder.iterdir()] == ["claim.json"]
        got[0].release()


def test_a_slow_waiter_does_not_replace_the_claim_of_a_faster_one(tmp_path, no_locks):
    left_behind(tmp_path)
    seen = (tmp_path / "claim.json").read_bytes()
    with claim.take(tmp_path) as faster:
        assert claim._taken_over(tmp_path / "claim.json", seen, claim.this_process()) is None
        faster.check()


def test_a_waiter_that_was_killed_while_it_took_over_does_not_block_the_others(tmp_path, no_locks):
    left_behind(tmp_path)
    (tmp_path / ".claim.takeover.tmp").touch()
    assert took(tmp_path) >= claim.PATIENCE
    assert list(tmp_path.iterdir()) == []


# ---- a paused process ----------------------------------------------------------------------------------------------


def test_a_paused_process_notices_that_it_was_taken_over_and_leaves_the_other_ones_claim_alone(tmp_path):
    held = claim.take(tmp_path)
    own = claim.this_process()
    assert claim._taken_over(tmp_path / "claim.json", (tmp_path / "claim.json").read_bytes(), own) is not None
    before = (tmp_path / "claim.json").read_bytes()
    with pytest.raises(RunHeldError, match=r"taken over by .* \(pid \d+\), since this process gave no sign"):
        held.check()
    time.sleep(5 * claim.BEAT)  # its heartbeats go on, into a file that no longer has a name
    held.release()
    assert (tmp_path / "claim.json").read_bytes() == before


def test_a_claim_that_is_gone_is_lost_since_the_other_one_may_have_finished(tmp_path):
    held = claim.take(tmp_path)
    (tmp_path / "claim.json").unlink()
    with pytest.raises(RunHeldError, match=r"claim\.json is gone"):
        held.check()
