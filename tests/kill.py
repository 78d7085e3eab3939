"""Kill runs by a seed, let them go on, and compare how they end with the run that was never killed, bit for bit.

``python tests/kill.py --kills 50 --seed 0`` ends with ``50 of 50 identical``, or with exit status 1. ``--only 17``
repeats kill 17 alone. A run of one process or of two, with or without loader processes, is killed, terminated, or
interrupted twice, itself or with its group; or a loader process is killed, or the disk becomes full. Most runs are
forked from a process that has imported everything; some are started as a user does, by ``python -m bss train`` and by
torchrun.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": sys.path[0]}  # sums of other threads have other last digits

from tests import processes
from tests.killing.disk import DISKS

TASK = Path(__file__).parent / "killing" / "task.py"
ARMS = ("cl-rescored", "spl-online", "spl", "uniform")
KILLS = ("SIGKILL", "SIGTERM", "two Ctrl-C", "a loader process", *filter(None, DISKS))
PATIENCE = 90  # seconds for a run to end after a signal, on a busy machine
MISSED = 6  # times that a kill may come after the end


@dataclass(frozen=True)
class Kind:
    """What is run: equal kinds end equally, whatever their loader processes and however they are started."""

    arm: str
    world: int

    def words(self, out, workers):
        """The command without its program."""
        flags = {"arm": self.arm, "data-root": out.parent, "out": out, "device": "cpu", "workers": workers}
        return [
            "train",
            str(TASK),
            *(str(word) for name, value in flags.items() for word in (f"--{name}", value)),
            "--resume",
        ]


# ---- running -------------------------------------------------------------------------------------------------------


def train(words, disk, number):
    """What a forked process does: the whole command, in a process group of its own."""
    os.setpgrp()
    DISKS[disk](number)
    from bss.cli.commands import main

    sys.exit(main(words))


class Forked:
    """The processes of one run with torchrun's variables, and what torchrun does when one of them ends by an error."""

    def __init__(self, kind, words, said, disk=None, number=0):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": str(kind.world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.ranks = []
        for rank in range(kind.world):
            own = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if kind.world > 1 else {}
            full = (disk, number) if rank == 0 else (None, 0)  # the first one writes
            started = processes.start(train, words, *full, environment=own, said=said.with_suffix(f".{rank}"))
            self.ranks.append(started)

    @property
    def pids(self):
        return [rank.pid for rank in self.ranks]

    def status(self):
        """The exit status, None while it runs."""
        statuses = [rank.exitcode for rank in self.ranks]
        if any(statuses) and None in statuses:
            for rank in self.ranks:
                if rank.exitcode is None:
                    rank.terminate()
                    rank.join(10)
                    rank.kill()
                    rank.join()
            return self.status()
        return None if None in statuses else next(filter(None, statuses), 0)

    def send(self, signum, group, draw):
        """To all processes, as torchrun does, or to their groups; SIGKILL to one of them."""
        chosen = [draw.choice(self.pids)] if signum == signal.SIGKILL else self.pids
        for pid in chosen:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(pid, signum)


class Command:
    """The command as a user types it, in a session of its own."""

    def __init__(self, kind, words, said):
        program = ["-m", "bss"]
        if kind.world > 1:
            program = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={kind.world}", *program]
        self.orphans = []
        with open(said.with_suffix(".0"), "a") as file:
            command = [sys.executable, *program, *words]
            self.process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, cwd=sys.path[0])

    @property
    def pids(self):
        return [self.process.pid, *self.orphans]

    def status(self):
        """The exit status, None while it runs."""
        return self.process.poll()

    def send(self, signum, group, draw):
        """To torchrun, or the one process that there is, or to its group."""
        if signum == signal.SIGKILL:  # torchrun gives its processes sessions of their own, so that they outlive it
            self.orphans = descendants(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, signum)


def end(run, seconds):
    """Wait so long; the exit status, None if it still runs."""
    deadline = time.monotonic() + seconds
    while (status := run.status()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return status


def end_the_rest(run):
    """End what a killed process has left behind, which would train on, and wait until it is gone."""
    for pid in run.pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    end(run, 10)
    deadline = time.monotonic() + 10
    while any(map(is_alive, run.pids)) and time.monotonic() < deadline:
        time.sleep(0.01)


def is_alive(pid):
    """Whether a process is there, and not a zombie alone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid):
    """The processes that a process has started, and theirs."""
    found = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


# ---- a case --------------------------------------------------------------------------------------------------------


class Subject:
    """The runs that are never killed, each made when it is first asked for, and killed ones that must equal them."""

    def __init__(self, folder):
        self.folder, self.seconds = folder, {}

    def whole(self, kind):
        """The folder of the run that is never killed."""
        out = self.folder / f"whole-{kind.arm}-{kind.world}" / "run"
        if kind not in self.seconds:
            for at in (out, out.with_name("timed")):  # the first start of all imports everything
                began = time.monotonic()
                run = Forked(kind, kind.words(at, 0), at.with_name("said"))
                assert end(run, 300) == 0, (at.parent / "said.0").read_text()
                self.seconds[kind] = time.monotonic() - began
        return out

    def case(self, draw):
        """One run, killed once or twice: what was done to it, and what is wrong with its end (empty: nothing)."""
        kind = Kind(draw.choice(ARMS), draw.choice((1, 1, 2)))
        whole, as_typed = self.whole(kind), draw.random() < 0.15
        out = Path(tempfile.mkdtemp(dir=self.folder)) / "run"
        done = [f"{kind.arm}, {kind.world} process{'es' * (kind.world > 1)}{', as typed' * as_typed}"]
        for turn in range(draw.choice((1, 1, 2))):
            what, when = draw.choice(KILLS), draw.uniform(0.02, 0.95)
            for missed in range(MISSED):
                said, status = self.kill(kind, out, what, when / 2**missed, draw, as_typed=as_typed)
                if status != 0 or turn:
                    break
                shutil.rmtree(out)  # it was over before it was hit
            done.append(said)
            if status is None:
                return done, "the run did not end after the signal"
            if (out / "done").exists():
                break
        last = Forked(kind, kind.words(out, draw.choice((0, 2))), out.with_name("last"))
        status = end(last, 300)
        end_the_rest(last)
        if status != 0:
            return done, f"it did not go on (status {status}): {out.with_name('last.0').read_text()[-2000:]}"
        wrong = difference(whole, out)
        if not wrong:
            shutil.rmtree(out.parent)
        return done, wrong

    def kill(self, kind, out, what, moment, draw, *, as_typed):
        """Start the run and do something to it; what it was, and the exit status, None if the run has not ended."""
        group, gap, number = draw.random() < 0.5, draw.uniform(0, 0.3), 0
        workers = 2 if what == "a loader process" else draw.choice((0, 0, 2))
        disk = what if what in DISKS else None
        if disk:
            number = int(80 * moment) if what.endswith("files") else int(10 ** (1.5 + 3 * moment))
            run = Forked(kind, kind.words(out, workers), out.with_name("said"), disk, number)
        else:
            starter = Command if as_typed else Forked
            run = starter(kind, kind.words(out, workers), out.with_name("said"))
            time.sleep(moment * self.seconds[kind] + (4 * moment if as_typed else 0))  # imports take some seconds
        if what == "a loader process":
            loaders = until_some([pid for pid in run.pids], run)
            for pid in loaders and [draw.choice(loaders)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif what == "two Ctrl-C":
            run.send(signal.SIGINT, group, draw)
            time.sleep(gap)
            run.send(signal.SIGINT, group, draw)
        elif not disk:
            run.send(signal.Signals[what], group, draw)
        status = end(run, PATIENCE)
        end_the_rest(run)
        target = f" ({number})" if disk else " of the group" * group * (what != "a loader process")
        return f"{what}{target} at {moment:.2f} -> {status}", status


def until_some(pids, run):
    """The loader processes of a run, as soon as there are some."""
    deadline = time.monotonic() + 20
    while run.status() is None and time.monotonic() < deadline:
        if found := [child for pid in pids for child in descendants(pid)]:
            return found
        time.sleep(0.01)
    return []


def difference(whole, out):
    """In what two finished runs differ; empty if in nothing but times."""
    from tests.training.test_resume import assert_identical

    names = [sorted(path.name for path in folder.iterdir() if path.name != "log.txt") for folder in (whole, out)]
    if names[0] != names[1]:
        return f"files: {names[1]} in place of {names[0]}"
    try:
        assert_identical(whole, out)
    except AssertionError as error:
        return f"{out}: {str(error)[:2000] or 'another content'}"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="N", help="this kill alone")
    args = parser.parse_args()
    numbers = range(args.kills) if args.only is None else range(args.only, args.only + 1)
    folder = Path(tempfile.mkdtemp())
    subject, identical, kinds = Subject(folder), 0, Counter()
    for number in tqdm(numbers, desc="kills", disable=None):
        done, wrong = subject.case(random.Random(f"{args.seed} {number}"))
        kinds.update(each.partition(" at ")[0].partition(" (")[0] for each in done[1:])
        identical += not wrong
        tqdm.write(f"kill {number}: {'; '.join(done)}: {wrong or 'identical'}")
    if identical == len(numbers):
        shutil.rmtree(folder)
    print(", ".join(f"{count} x {name}" for name, count in sorted(kinds.items())))
    print(f"{identical} of {len(numbers)} identical")
    return int(identical < len(numbers))


if __name__ == "__main__":
    sys.exit(main())
