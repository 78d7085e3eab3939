"""Two commits of this repository against each other: what a user waits for, in turn, by the same commands.

    python benchmarks/versus_commit.py af663b0 . --data-root DATA [--rows compare-mfeat,compare-tweets] [--minutes 40]

OLD and NEW are commits, which are checked out for as long as it takes, or folders: ``.`` is the checkout as it is,
changes that are not committed included. Every row runs one command of each checkout, as its users do, one thread a
process, in the order old, new, old, new. It is measured in processor seconds of the command and of all processes that
it waits for, which other work on the machine disturbs less than the clock on the wall; that is shown too. A row whose
first commands take less than 5 s is repeated seven times, below 30 s three times, else it runs once. Seconds are
medians; a ratio is old / new within a repeat, its median (smallest - largest). What both have written is compared
afterwards, and a row that differs says in what.

A row is a :class:`Row` in ``ROWS``: a command, what it needs, and how two folders that it has written are told apart.
Rows that would begin after ``--minutes`` are named as not run. DATA is that of ``study/README.md``.
"""

import argparse
import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
REPEATS = ((5.0, 7), (30.0, 3), (float("inf"), 1))
"""Rows below so many seconds run so often."""

TIMES = {"seconds", "train_seconds", "checksum", "files"}
"""Fields that differ between equal runs, or vouch for such fields."""


class Spent(NamedTuple):
    """What one command took: seconds of processors, of it and all that it has waited for, and of the clock."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Row:
    """One thing that a user waits for.

    Attributes:
        title: what it is, for the table.
        command: (data root, folder that it may write to) -> arguments of Python, run in the checkout.
        differences: (folder of the old one, folder of the new one) -> what differs, in a few words each.
        prepare: (checkout, the other checkout, data root, folder) -> None: what comes before, once for each checkout,
            and is not measured. The command gets a copy of the folder, in every repeat as ``prepare`` has left it.
        needs: files below the data root.
    """

    title: str
    command: Callable[[Path, Path], Sequence[str]]
    differences: Callable[[Path, Path], Sequence[str]] = lambda old, new: ()
    prepare: Callable[[Path, Path, Path, Path], None] | None = None
    needs: tuple[str, ...] = ()


# ---- what two commands have written --------------------------------------------------------------------------------


def different_runs(old: Path, new: Path) -> list[str]:
    """What two folders of runs differ in: of every run the rows of its epochs and its summary, but for times.

    Fields that one of the two commits does not write are not compared.
    """
    folders = [{path.parent.relative_to(top) for path in top.rglob("summary.json")} for top in (old, new)]
    found = [f"{folder}: in one alone" for folder in sorted(folders[0] ^ folders[1])]
    if not any(folders):
        found.append("no runs")
    for folder in sorted(folders[0] & folders[1]):
        for name in ("metrics.jsonl", "summary.json"):
            before, after = (_read(top / folder / name) for top in (old, new))
            found += [f"{folder}/{name}: {place}" for place in differences(before, after)]
    return found


def _read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Places at which two JSON values differ, with both; times, and fields that one of them lacks, are left out."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [name for name in old if name in new and name not in TIMES]
        return [each for name in names for each in differences(old[name], new[name], f"{place}.{name}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [each for number, pair in pairs for each in differences(*pair, f"{place}[{number}]")]
    return [] if old == new else [f"{place.removeprefix('.')} {old} / {new}"]


# ---- the rows ------------------------------------------------------------------------------------------------------


def comparison(task: str, needs: str, *, seeds: int = 10) -> Row:
    """Five arms of a study task, so many seeds each, in one process, with the report."""
    arms = "uniform,random-pacing,cl,spl,anti"

    def command(data_root: Path, out: Path) -> Sequence[str]:
        source = f"benchmarks/study/{task}.py"
        flags = {
            "--arms": arms,
            "--seeds": seeds,
            "--updates": "equal",
            "--data-root": data_root,
            "--out": out / "runs",
        }
        return ["-m", "bss", "compare", source, *(str(part) for flag in flags.items() for part in flag)]

    return Row(f"`compare`, 5 arms x {seeds} seeds, {task}", command, different_runs, needs=(needs,))


ARMS_OF_A_REPORT = (
    "uniform,random-pacing,cl,spl,anti,cl-loss,cl-similarity,cl-class-balanced,cl-rescored,spl-sharp,spl-rank,"
    "spl-history,loss-weights,resampling,mix,ogm-ge,cl-rank"
)


def many_runs(path: Path, other: Path, data_root: Path, folder: Path) -> None:
    """Runs of 17 arms with 20 seeds: one is trained of each arm, and the other seeds are it with other numbers."""
    flags = ["--arms", ARMS_OF_A_REPORT, "--seeds", "1", "--updates", "equal", "--data-root", f"{data_root}"]
    run(
        path,
        ["-m", "bss", "compare", "benchmarks/study/mfeat.py", *flags, "--out", f"{folder}/trained"],
        folder / "log",
    )
    for trained in sorted(each.parent for each in (folder / "trained").glob("*/seed0/done")):
        for seed in range(20):
            _as_seed(trained, folder / "runs" / trained.parent.name / f"seed{seed}", seed)
    shutil.rmtree(folder / "trained")


def _as_seed(trained: Path, out: Path, seed: int) -> None:
    """A run folder as that of another seed, in the form that older commits read as well: without any checksum."""
    out.mkdir(parents=True)
    for name in ("scores.npz", "done"):
        shutil.copy(trained / name, out / name)
    for name in ("config.json", "arm.json", "summary.json"):
        content = {key: value for key, value in _read(trained / name).items() if key not in ("checksum", "files")}
        if name == "config.json":
            content["recipe"]["seed"] = seed
            content.pop("seed", None)
        elif name == "arm.json":
            content["initial_weights"] = hashlib.sha256(str(seed).encode()).hexdigest()
        else:
            content["test"] = _moved(content["test"], f"{out.parent.name} {seed}")
        (out / name).write_text(json.dumps(content), encoding="utf-8")
    rows = [{**row, "checksum": None} for row in _read(trained / "metrics.jsonl")]
    moved = [_moved(row, f"{out.parent.name} {seed} {number}") for number, row in enumerate(rows)]
    (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in moved), encoding="utf-8")


def _moved(value: Any, place: str) -> Any:
    """Shares in a JSON value, each moved by up to a hundredth, by its place alone."""
    if isinstance(value, dict):
        return {name: _moved(each, f"{place} {name}") for name, each in value.items()}
    if not isinstance(value, float) or not 0.02 < value < 0.98:
        return value
    return value + 0.02 * (zlib.crc32(place.encode()) / 2**32 - 0.5)


def different_tables(old: Path, new: Path) -> list[str]:
    """What two ``table.csv`` differ in: p values aside, for which comparisons are a family has been another choice."""
    kept = ("epoch", "metric", "head", "arm", "n", "mean", "std", "control", "pairs", "difference", "t_low", "t_high")
    tables = []
    for folder in (old, new):
        with (folder / "report" / "table.csv").open(encoding="utf-8", newline="") as file:
            tables.append([{name: row.get(name) for name in kept} for row in csv.DictReader(file)])
    return differences(*tables)


def clips(path: Path, other: Path, data_root: Path, folder: Path) -> None:
    """1,500 clips in CREMA-D's layout and sizes, 6,000 files."""
    sys.path.insert(0, str(Path(__file__).parent))
    from released_vs_ours import write_files

    write_files("cremad", folder / "cremad", 1500)


INTO_A_FILE = "import runpy, sys; sys.stdout = open(sys.argv.pop(1), 'w'); runpy.run_module('bss', run_name='__main__')"
"""What runs a command whose screen is to be kept in the file that is its first argument."""


def different_findings(old: Path, new: Path) -> list[str]:
    """Checks of the doctor with another severity, or another number of examples; those of one alone are named."""
    found = [
        {each["check"]: [each["severity"], len(each["examples"])] for each in _read(folder / "doctor.json")["findings"]}
        for folder in (old, new)
    ]
    alone = [f"{check}: in one alone" for check in sorted(found[0].keys() ^ found[1].keys())]
    return [*alone, *differences(*found)]


def tests_of(checkout: Path) -> dict[str, list[str]]:
    """Name of a test function -> where it stands, as pytest takes it."""
    found: dict[str, list[str]] = {}
    for file in sorted(checkout.glob("tests/**/test_*.py")):
        for name in re.findall(r"^def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE):
            found.setdefault(name, []).append(f"{file.relative_to(checkout).as_posix()}::{name}")
    return found


def shared_tests(path: Path, other: Path, data_root: Path, folder: Path) -> None:
    """The tests that the other checkout has as well, in whichever file, a line each; parameters are this one's."""
    known = tests_of(other)
    places = [place for name, each in tests_of(path).items() if name in known for place in each]
    (folder / "tests.txt").write_text("".join(f"{place}\n" for place in places), encoding="utf-8")


def different_counts(old: Path, new: Path) -> list[str]:
    """How many tests passed in either, where the two differ: a test may have got other parameters."""
    passed = []
    for folder in (old, new):
        suite = ElementTree.parse(folder / "junit.xml").getroot()[0]
        passed.append(int(suite.attrib["tests"]) - int(suite.attrib["skipped"]))
    return [] if passed[0] == passed[1] else [f"{passed[0]} tests passed in the old one, {passed[1]} in the new one"]


ROWS = {
    "report": Row(
        "`report` of 340 runs",
        lambda data_root, out: ["-m", "bss", "report", f"{out}/runs", "--out", f"{out}/report"],
        different_tables,
        many_runs,
        needs=("mfeat.npz",),
    ),
    "doctor": Row(
        "`doctor cremad`, 6,000 files",
        lambda data_root, out: ["-c", INTO_A_FILE, f"{out}/doctor.json", "doctor", "cremad", f"{out}/cremad", "--json"],
        different_findings,
        clips,
    ),
    "help": Row("`CREMAD/train-CL.py --help`", lambda data_root, out: ["CREMAD/train-CL.py", "--help"]),
    "compare-mfeat": comparison("mfeat", "mfeat.npz"),
    "compare-tweets": comparison("tweets", "sarcasm/train_data.json"),
    "compare-digits": comparison("digits", "avdigits.npz", seeds=1),
    "tests": Row(
        "tests that both have",
        lambda data_root, out: ["-m", "pytest", f"--junitxml={out}/junit.xml", f"@{out}/tests.txt"],
        different_counts,
        shared_tests,
    ),
}


# ---- two checkouts in turn -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def checkout(name: str) -> Iterator[Path]:
    """A folder as it is, or a commit in a folder of its own, which is removed afterwards.

    Raises:
        SystemExit: neither.
    """
    if Path(name).is_dir():
        yield Path(name).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkout"
        git = ["git", "-C", str(ROOT), "worktree"]
        made = subprocess.run([*git, "add", "--detach", str(path), name], capture_output=True, text=True)
        if made.returncode:
            raise SystemExit(f"{name} is neither a folder nor a commit: {made.stderr.strip()}")
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", str(path)], check=True)


def commit_of(path: Path) -> str:
    """The commit that a checkout is at, and whether it has changes."""
    said = subprocess.run(
        ["git", "-C", str(path), "describe", "--always", "--dirty", "--exclude", "*"], capture_output=True, text=True
    )
    return said.stdout.strip() or "no commit"


ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def _answer_ctrl_c() -> None:
    """Undo what a shell does to a command in the background: tests that press Ctrl-C would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(path: Path, arguments: Sequence[str], log: Path) -> Spent:
    """Run Python with the package of a checkout, in it, and wait for it.

    Raises:
        SystemExit: it failed.
    """
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "PYTHONPATH": str(path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's modules are compiled once
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=path,
            env=environment,
            preexec_fn=_answer_ctrl_c,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)  # of the process and of its children, which it has waited for
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        raise SystemExit("\n".join([f"{path}: {' '.join(arguments)} ended with {process.returncode}:", *tail]))
    return Spent(used.ru_utime + used.ru_stime, time.perf_counter() - began)


class Measured(NamedTuple):
    """A row's numbers: of each repeat what old and new took, and what their results differ in."""

    spent: list[tuple[Spent, Spent]]
    different: Sequence[str]


def measure(row: Row, paths: Sequence[Path], data_root: Path) -> Measured:
    """Run a row as often as it should be, the two checkouts in turn."""
    spent: list[tuple[Spent, Spent]] = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = [Path(folder, f"prepared-{name}") for name in ("old", "new")]
        for path, other, made in zip(paths, reversed(paths), prepared, strict=True):
            made.mkdir()
            if row.prepare is not None:
                row.prepare(path, other, data_root, made)
        while True:
            pair, written = [], []
            for path, made, name in zip(paths, prepared, ("old", "new"), strict=True):
                out = Path(folder, name)
                shutil.rmtree(out, ignore_errors=True)
                shutil.copytree(made, out)
                pair.append(run(path, row.command(data_root, out), Path(folder, "log.txt")))
                written.append(out)
            spent.append((pair[0], pair[1]))
            slowest = max(each.wall for each in spent[0])
            if len(spent) >= next(times for below, times in REPEATS if slowest < below):
                return Measured(spent, row.differences(*written))


def ratio(values: Sequence[tuple[float, float]]) -> str:
    """Old / new: median, and smallest and largest where there are several."""
    ratios = sorted(old / new for old, new in values)
    between = f" ({ratios[0]:.2f} - {ratios[-1]:.2f})" if len(ratios) > 1 else ""
    return f"{statistics.median(ratios):.2f}{between}"


def line(row: Row, measured: Measured) -> str:
    """A row of the table."""
    cpu = [(old.cpu, new.cpu) for old, new in measured.spent]
    wall = [(old.wall, new.wall) for old, new in measured.spent]
    medians = [f"{statistics.median(side):.2f}" for side in zip(*cpu, strict=True)]
    equal = "equal" if not measured.different else f"{len(measured.different)} differences"
    return "| " + " | ".join((row.title, *medians, ratio(cpu), ratio(wall), str(len(cpu)), equal)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="commit, or folder of a checkout")
    parser.add_argument("new", help="commit, or folder of a checkout")
    parser.add_argument("--rows", help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--data-root", type=Path, default=Path("DATA"), help="folder of the study's data")
    parser.add_argument("--minutes", type=float, default=40.0, help="no row begins after these")
    flags = parser.parse_args()
    names = list(ROWS) if flags.rows is None else [name.strip() for name in flags.rows.split(",")]
    if unknown := [name for name in names if name not in ROWS]:
        raise SystemExit(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    ends, data_root = time.monotonic() + 60 * flags.minutes, flags.data_root.resolve()
    with checkout(flags.old) as old, checkout(flags.new) as new:
        print(f"old {commit_of(old)}, new {commit_of(new)}, Python {sys.version.split()[0]}, one thread a process,")
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
        print("| row | old, CPU s | new, CPU s | old / new, CPU | old / new, wall | repeats | results |")
        print("|---|---|---|---|---|---|---|", flush=True)
        different: dict[str, Sequence[str]] = {}
        for name in names:
            row = ROWS[name]
            lacking = [each for each in row.needs if not (data_root / each).exists()]
            if lacking or time.monotonic() > ends:
                reason = f"no {lacking[0]} under {data_root}" if lacking else "out of time"
                print(f"| {row.title} | not run: {reason} | | | | | |", flush=True)
                continue
            measured = measure(row, (old, new), data_root)
            print(line(row, measured), flush=True)
            different[name] = measured.different
    for name, places in different.items():
        for place in places[:10]:
            print(f"{name}: {place}")


if __name__ == "__main__":
    main()
