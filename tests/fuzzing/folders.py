"""Run folders of a comparison, one of them damaged: the report has the same numbers, or leaves that folder out by name.

Half of the cases damage a folder as it is. The others are of what no checksum can see: a folder of an older version,
which has none, and one whose checksums were made right again. There the numbers of that one run may be others; what is
asked for is that it takes nothing else down and changes nothing else.
"""

import contextlib
import io
import json
import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bss.compare import load
from bss.compare.arms import find
from bss.compare.comparison import Comparison
from bss.compare.page import page
from bss.compare.runner import train
from bss.compare.runs import FinishedRun, find_folders, read_runs
from bss.compare.tables import Results, as_csv, as_markdown, results_of
from bss.training.run_folder import checksum, digests, sealed
from bss.utils.errors import RunFolderError
from tests.compare import comparing
from tests.fuzzing.mutations import damage_bytes, damage_entry, damage_json, damage_lines, damage_tree, remove
from tests.fuzzing.outcome import Outcome, outcome_of

JSON = ("config.json", "summary.json", "arm.json")
FILES = (*JSON, "metrics.jsonl", "scores.npz", "hits.npz", "done", "log.txt")

HOSTILE = {
    "deep lists": "[" * 100_000,
    "deep tables": '{"a": ' * 5_000,
    "closed deep tables": '{"epoch": ' * 800 + "0" + "}" * 800,
    "many digits": '{"epoch": ' + "9" * 5_000 + "}",
    "null bytes": "\0" * 1_000,
    "a key twice": '{"epoch": 0, "epoch": 0}\n{"epoch": 1, "epoch": 0}',
}
"""Texts that other readers of JSON stumble over."""


class Subject:
    """Three arms with two seeds each, trained once."""

    def __init__(self, folder: Path):
        self.whole, self.damaged = folder / "whole", folder / "damaged"
        (folder / "data").mkdir()
        comparison = Comparison(
            task=comparing.__file__,
            arms=("uniform", "cl", "spl"),
            seeds=(0, 1),
            budget="equal",
            assignments=("imbalance_every=0",),
            data_root=folder / "data",
            out=self.whole,
            workers=0,
        )
        with contextlib.redirect_stdout(io.StringIO()):
            for arm, seed in comparison.plan():
                train(comparison, find([arm])[0], seed, "cpu")
                (comparison.folder(arm, seed) / "log.txt").write_text("one\ntwo\n")
        self.runs = sorted(comparison.folder(*each).relative_to(self.whole) for each in comparison.plan())
        self.reported = cache(self._reported)
        self.contents = {_content(run) for run in read_runs([self.whole / run for run in self.runs])[0]}
        self.drawn: set[tuple[str, ...]] = set()
        self.reason = ""  # why a folder was left out of the newest report

    def case(self, generator: np.random.Generator) -> Outcome:
        """One run folder damaged, and the report of all six."""
        self.reason = ""
        shutil.rmtree(self.damaged, ignore_errors=True)
        shutil.copytree(self.whole, self.damaged)
        run = self.runs[int(generator.integers(len(self.runs)))]
        folder = self.damaged / run
        intact = generator.random() < 0.5
        ways = (_as_it_is, _linked) if intact else (_older, _sealed_anew)
        mutation = ways[int(generator.random() < 0.2 if intact else generator.integers(2))](folder, generator)
        outcome = outcome_of(f"{run}: {mutation}", self._report, lambda found: self._differences(found, run, intact))
        return (
            outcome._replace(ending="refused", detail=self.reason)
            if self.reason and outcome.ending == "same"
            else outcome
        )

    def _report(self) -> tuple[Results, str, Any]:
        """The results, ``table.csv``, and the long table."""
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            table = load(self.damaged)
        runs, failed, left_out = read_runs(find_folders([self.damaged]))
        results = results_of(runs, failed=failed, left_out=left_out)
        self.reason = "; ".join(reason for _, reason in results.left_out)
        if left_out and not any(str(left_out[0][0]) in str(warning.message) for warning in said):
            raise AssertionError("bss.compare.load left a folder out and did not name it")
        self._page(results)
        as_markdown(results)
        return results, as_csv(results), table

    def _page(self, results: Results) -> None:
        """Pages take a second to draw: there is one for every way in which a run is not as it was."""
        key = tuple(content for run in results.runs if (content := _content(run)) not in self.contents)
        if key not in self.drawn:
            page(results)
            self.drawn.add(key)

    def _reported(self, without: Path | None) -> tuple[str, Any]:
        """What a report of the whole folders says: the table in full precision, and the long table."""
        folders = [self.whole / run for run in self.runs if run != without]
        results = results_of(read_runs(find_folders(folders))[0])
        table = load(self.whole)
        return as_csv(results), table[table["run"] != str(without)]

    def _differences(self, found: tuple[Results, str, Any], run: Path, intact: bool) -> str:
        results, csv, table = found
        left_out = [path.relative_to(self.damaged.resolve()) for path, _ in results.left_out]
        if left_out not in ([], [run]):
            return f"left out were {left_out}"
        whole, expected = self.reported(run if left_out else None)
        ours, theirs = table, expected
        if not intact:
            ours, theirs = table[table["run"] != str(run)], expected[expected["run"] != str(run)]
        elif csv != whole:
            return "table.csv differs"
        same = ours.reset_index(drop=True).astype(str).equals(theirs.reset_index(drop=True).astype(str))
        return "" if same else "the table of bss.compare.load differs"


def _content(run: FinishedRun) -> str:
    """Everything that a page shows of a run."""
    rows = [{name: value for name, value in row.items() if name != "checksum"} for row in run.rows]
    summary = {name: value for name, value in run.summary.items() if name != "files"}
    return json.dumps([run.config, rows, summary, run.mark, run.training_list])


# ---- ways to damage a folder ---------------------------------------------------------------------------------------


def _as_it_is(folder: Path, generator: np.random.Generator) -> str:
    path = folder / FILES[int(generator.integers(len(FILES)))]
    if path.name == "scores.npz" and generator.random() < 0.5:
        return _damage_scores(path, generator)
    if generator.random() < 0.05:
        name = str(generator.choice(list(HOSTILE)))
        path.write_text(HOSTILE[name])
        return f"{path.name}: {name}"
    if path.name in JSON and generator.random() < 0.6:
        return damage_json(path, generator)
    if path.name == "metrics.jsonl" and generator.random() < 0.6:
        return damage_lines(path, generator) if generator.random() < 0.5 else _damage_row(path, generator)
    if path.name == "done" or generator.random() < 0.3:
        return damage_entry(path, generator)
    return damage_bytes(path, generator)


def _linked(folder: Path, generator: np.random.Generator) -> str:
    """A file or folder replaced by a link to another run's, to nothing or to itself."""
    path = folder / FILES[int(generator.integers(len(FILES)))]
    others = sorted(other for other in folder.parents[1].glob("*/*") if other != folder)
    other = others[int(generator.integers(len(others)))]
    target = {"other": other / path.name, "nothing": folder / "nothing", "itself": path, "folder": other}
    way = str(generator.choice(list(target)))
    remove(path)
    path.symlink_to(target[way])
    return f"{path.name}: link to {way}"


def _older(folder: Path, generator: np.random.Generator) -> str:
    """As of a version without checksums: those of one file go, or of all."""
    for name in JSON:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({k: v for k, v in content.items() if k not in ("checksum", "files")}))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{name: value for name, value in row.items() if name != "checksum"} for row in rows]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"older, {_as_it_is(folder, generator)}"


def _sealed_anew(folder: Path, generator: np.random.Generator) -> str:
    name = (*JSON, "metrics.jsonl", "scores.npz")[int(generator.integers(5))]
    if name == "scores.npz":
        mutation = _damage_scores(folder / name, generator)
    elif name == "metrics.jsonl":
        mutation = _damage_row(folder / name, generator)
    else:
        mutation = damage_json(folder / name, generator)
    _seal(folder)
    return f"sealed anew, {mutation}"


def _seal(folder: Path) -> None:
    """Make all checksums right again, as far as the files are what has some."""
    with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        lines = [json.dumps({**row, "checksum": checksum(row)}) + "\n" for row in rows]
        (folder / "metrics.jsonl").write_text("".join(lines))
    for name in ("config.json", "arm.json", "summary.json"):
        content = json.loads((folder / name).read_text())
        if not isinstance(content, dict):
            continue
        if name == "summary.json":
            content["files"] = {}
            with contextlib.suppress(RunFolderError):
                content["files"] = digests(folder)
        (folder / name).write_text(json.dumps(sealed(content)))


def _damage_row(path: Path, generator: np.random.Generator) -> str:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    mutation = damage_tree(rows, generator)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{path.name}: {mutation}"


def _damage_scores(path: Path, generator: np.random.Generator) -> str:
    """Another shape, type or value in one of the arrays, in a file that is whole."""
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays}
    name = str(generator.choice(list(content)))
    array = content[name]
    ways = {
        "dropped": lambda: None,
        "flat": lambda: array.reshape(-1),
        "shorter": lambda: array[..., :-1],
        "fewer": lambda: array[:-1],
        "deeper": lambda: array[None],
        "text": lambda: array.astype("U9"),
        "half": lambda: array.astype("f2") if array.dtype.kind != "U" else array.astype("S9"),
        "complex": lambda: array.astype("c8") if array.dtype.kind != "U" else np.zeros(array.shape),
        "nan": lambda: np.full(array.shape, np.nan, array.dtype if array.dtype.kind == "f" else "f4"),
        "huge": lambda: np.full(array.shape, 1e30, "f4"),
        "negative": lambda: np.full(array.shape, -1),
        "reversed": lambda: array[..., ::-1],
        "empty": lambda: array[:0],
        "scalar": lambda: np.float32(1),
    }
    way = str(generator.choice(list(ways)))
    changed = ways[way]()
    content = {**content, name: changed} if changed is not None else {k: v for k, v in content.items() if k != name}
    np.savez(path, **content)
    return f"{path.name}: {name} {way}"
