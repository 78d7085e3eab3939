"""Change the method's code by a seed, in one place at a time, and see whether the tests notice.

``python tests/mutate.py --seed 0`` draws 20 such mutants of ``bss/samplers``, ``bss/scoring``, ``bss/pacing.py`` and
``bss/compare/statistics.py`` (``--on`` names other files) and runs the tests of the changed module until one fails:
those of the same name and, of samplers and scoring, those that import it and all of its room. Each dead mutant is a
line that names what killed it: a test that fails, an import that does, a signal, or time. What survives is shown as a
diff with the command that repeats it; fewer than 19 of 20 dead ones are exit status 1. A Ctrl-C says what was counted
by then.

A mutant that takes five times as long as its tests on the unchanged code, which runs first, hangs, and counts as dead.
It may be the machine that has more to do by then: so the unchanged code runs once more, and where it takes longer than
before the mutant has another try, with more time.

A mutant can also survive because it does the same: another bound of what is cut off anyway, a cache that is not
filled. No program can tell in general, so each survivor wants a look: a test that was missing, or no difference.

Of packages that do this (read at the releases of this date) mutmut 3.8.1 writes its ``mutants/`` into the working
folder, wants a first run of all tests, knows no seed and needs libcst and textual; cosmic-ray 8.7.0 writes each mutant
over the module itself, in the working tree, knows no seed either, takes ``|`` in annotations for arithmetic, and needs
aiohttp, sqlalchemy and gitpython. What is left to write around either is about what stands here.
"""

import argparse
import collections
import compileall
import contextlib
import importlib
import itertools
import json
import multiprocessing
import os
import py_compile
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.mutating.mutants import mutants

ROOT = Path(__file__).resolve().parents[1]
DRAWN_FROM = ("bss/samplers", "bss/scoring", "bss/pacing.py", "bss/compare/statistics.py")
WHOLE_ROOMS = ("samplers", "scoring")  # their tests are about one another's modules as well
LEAST = 0.95  # of the mutants die
PATIENCE = 5  # times what the unchanged code takes for the same tests
PRELOADED = ("torch", "scipy.stats", "sklearn.metrics", "hypothesis", "xdist", "pytest")  # once, for all processes
# Endings of pytest: a test failed; a test file, or a conftest.py (the unchanged code's can), could not be imported.
FAILED, NO_IMPORT, TOO_LONG = 1, (2, 4), "too long"
SECONDS, START = "seconds.json", "start"  # what each test file took; beside the files: until the first test begins


def files(names):
    """The modules that these paths name, folders with all in them, relative to the root."""
    paths = [ROOT / name for name in names]
    found = sorted({each for path in paths for each in ([path] if path.is_file() else path.rglob("*.py"))})
    return [path.relative_to(ROOT) for path in found]


def drawn(paths, seed, root=ROOT):
    """All mutants of these files in an order of the seed's; a longer draw begins as a shorter one does."""
    found = [mutant for path in paths for mutant in mutants((root / path).read_text(), path.as_posix())]
    random.Random(seed).shuffle(found)
    return found


def tests_of(path, root=ROOT):
    """The test files of a module, those first that are likeliest to see a change of it."""
    folder = root / Path("tests", *path.parent.parts[1:])
    first = [file for stem in (path.stem, path.parent.name) if (file := folder / f"test_{stem}.py").is_file()]
    if path.parent.name in WHOLE_ROOMS:
        everywhere = [file for name in WHOLE_ROOMS for file in sorted((root / "tests" / name).glob("test_*.py"))]
        dotted = ".".join(path.with_suffix("").parts)
        first += [file for file in everywhere if dotted in file.read_text()]
    if not first or path.parent.name in WHOLE_ROOMS:
        first += sorted(folder.glob("test_*.py"))
    return [file.relative_to(root).as_posix() for file in dict.fromkeys(first)]


# ---- running -------------------------------------------------------------------------------------------------------


class Copy:
    """The package and its tests in a folder of their own; the working tree is only read."""

    def __init__(self, folder):
        self.root = Path(folder)
        for name in ("bss", "tests"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.root)
        # By their content: a mutant has its module's size and, within a second, its time.
        by_content = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(self.root / "bss", quiet=2, invalidation_mode=by_content)
        self.said = self.root / "said"
        self.took = collections.Counter()

    def check(self, tests):
        """Run these tests on the unchanged code, which must pass them, and remember how long each file took at most."""
        began = time.monotonic()
        status = self.run(tests, limit=None)
        if status != 0:
            raise SystemExit(f"the unchanged code fails ({status}):\n{self.said.read_text()[-3000:]}")
        took = json.loads((self.root / SECONDS).read_text())
        took[START] = time.monotonic() - began - sum(took.values())
        self.took |= took  # of two numbers the larger one

    def patience(self, tests):
        """How long these tests may take on a mutant, in seconds."""
        return PATIENCE * (self.took[START] + sum(self.took[file] for file in tests)) + 10

    def dies(self, mutant, tests):
        """What kills the mutant: pytest's status or that it takes too long; None if it survives."""
        status, given = TOO_LONG, 0
        while status == TOO_LONG and self.patience(tests) > given:
            given = self.patience(tests)
            status = self.tested(mutant, tests)
            if status == TOO_LONG:
                self.check(tests)  # is it the mutant, or has the machine more to do than before?
        if status not in (0, TOO_LONG, FAILED, *NO_IMPORT) and status >= 0:  # below 0: ended by a signal
            raise SystemExit(f"pytest ends with status {status}:\n{self.said.read_text()[-3000:]}")
        return status or None

    def tested(self, mutant, tests):
        """The status of these tests on the mutant; the copy is whole again afterwards."""
        module = self.root / mutant.path
        module.write_text(mutant.mutated)
        try:
            return self.run(tests, self.patience(tests))
        finally:
            module.write_text(mutant.source)

    def run(self, tests, limit):
        """Run tests in a process of their own, which has imported what is not ours; its status or TOO_LONG."""
        process = multiprocessing.get_context("fork").Process(target=_tests, args=(self.root, tests, self.said))
        process.start()
        try:
            process.join(limit)
            return TOO_LONG if process.exitcode is None else process.exitcode
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            process.join()


class _Seconds:
    """Tells pytest to write down how long the tests of each file took together."""

    def __init__(self, root):
        self.path, self.took = root / SECONDS, collections.Counter()

    def pytest_runtest_logreport(self, report):
        self.took[report.nodeid.partition("::")[0]] += report.duration

    def pytest_sessionfinish(self):
        self.path.write_text(json.dumps(self.took))


def _tests(root, tests, said):
    """What the forked process does: pytest on the copy, as if nothing of ours had been imported."""
    os.setsid()  # a Ctrl-C reaches the first process alone, which ends this one and its children
    with open(said, "w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    os.environ |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    os.chdir(root)
    sys.dont_write_bytecode = True
    sys.path[:] = [str(root), *(path for path in sys.path if Path(path or ".").resolve() not in (ROOT, ROOT / "tests"))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("bss", "tests")]:
        del sys.modules[name]
    del sys.modules["__main__"].__file__  # spawned processes would import this program, and by it the working tree
    import pytest

    import bss

    assert Path(bss.__file__).is_relative_to(root), bss.__file__
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--basetemp", str(root / "tmp")]
    status = pytest.main([*options, *tests], plugins=[_Seconds(root)])
    sys.stdout.flush()
    sys.exit(int(status))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--only", type=int, metavar="N", help="this mutant alone, with what the tests say")
    parser.add_argument("--on", nargs="+", metavar="FILE", default=DRAWN_FROM, help="modules or folders of bss/")
    args = parser.parse_args()
    if wrong := [name for name in args.on if not (ROOT / name).exists() or not name.startswith("bss/")]:
        parser.error(f"--on: {', '.join(wrong)}: no file or folder of bss/")
    chosen = list(enumerate(drawn(files(args.on), args.seed)))
    chosen = chosen[: args.count] if args.only is None else chosen[args.only : args.only + 1]
    if not chosen:
        parser.error("there are no such mutants")
    for name in PRELOADED:
        importlib.import_module(name)
    tqdm.monitor_interval = 0  # its thread would be lost in them
    again = f"python tests/mutate.py --seed {args.seed}" + (f" --on {' '.join(args.on)}" * (args.on != DRAWN_FROM))
    ends = collections.Counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        copy = Copy(Path(folder).resolve())
        tests = {mutant.path: tests_of(Path(mutant.path)) for _, mutant in chosen}
        copy.check(sorted(set(itertools.chain(*tests.values()))))
        for number, mutant in (bar := tqdm(chosen, desc="mutants", disable=None)):
            status = copy.dies(mutant, tests[mutant.path])
            kind, by = ending(status, copy.said.read_text(errors="replace"))
            ends[kind] += 1
            bar.set_postfix(alive=ends[ALIVE])
            if args.only is not None:
                print(copy.said.read_text())
            tqdm.write(survivor(mutant, f"{again} --only {number}") if kind == ALIVE else f"{place(mutant)}: {by}")
    done, dead = ends.total(), ends.total() - ends[ALIVE]
    stopped = f", stopped before the other {len(chosen) - done}" if done < len(chosen) else ""
    kinds = ", ".join(f"{number} {kind}" for kind, number in ends.most_common() if kind != ALIVE)
    print(f"{dead} of {done} mutants died ({kinds or 'none'}), seed {args.seed}{stopped}")
    return int(dead < LEAST * len(chosen))


ALIVE = "alive"


def ending(status, said):
    """How a mutant ended, as a kind to count and, of a dead one, as what killed it.

    Args:
        status: of :meth:`Copy.dies`.
        said: what pytest has written.
    """
    if status is None:
        return ALIVE, ""
    if status == TOO_LONG:
        return "by time", "takes too long"
    if status < 0:
        return "by a signal", f"ended by signal {-status}"
    lines = said.splitlines()
    first = next((line for line in lines if line.startswith(("FAILED ", "ERROR "))), None)
    if status == FAILED and first is not None:
        return "by a test", first.partition(" - ")[0]
    return "by an import", first or "".join(lines[-1:])  # a traceback's end, where bss itself could not be imported


def place(mutant):
    return f"{mutant.path}:{mutant.line}: {mutant.what}"


def survivor(mutant, command):
    """What is said of a mutant that no test has noticed."""
    return f"{place(mutant)}: no test notices\n{mutant.diff}\nagain: {command}\n"


if __name__ == "__main__":
    sys.exit(main())
