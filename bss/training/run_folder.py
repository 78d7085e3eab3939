"""The run folder, written and read: what a run was, what it measured and what it learned; a crash loses nothing of it.

Format 2, see ``docs/run_folder.md``. Format 1 had no ``format`` in ``config.json``, and fewer fields; all of its fields
keep their names and places.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, cast

import numpy as np

from bss.scoring.heads import Metrics
from bss.training.checkpoint_file import FORMAT, read_checkpoint, write_checkpoint
from bss.training.environment import environment
from bss.training.tensorboard import EVENTS
from bss.utils import claim
from bss.utils.claim import Claim
from bss.utils.errors import FileHeldError, RunFolderError, first_line, shown
from bss.utils.filesystem import delete, flush_file, flush_folder, rename, replace_text, sweep, whole_file

if TYPE_CHECKING:  # a report reads run folders, and does not wait for PyTorch
    from torch import Tensor

    from bss.scoring.table import ScoreTable

_NAMES = (
    *("config.json", "metrics.jsonl", "summary.json", "scores.npz", "hits.npz", "scores.raw"),
    *("best.pt", "last.pt", "previous.pt", "done"),
)


FILES = (*_NAMES, *(f"{name}.tmp" for name in _NAMES))
"""Every file that a run writes, and the half-written ones that a crash left in format 1; besides the half-written ones
that :func:`bss.utils.filesystem.sweep` knows, nothing else in the folder is touched."""


TIMES = ("seconds", "train_seconds")
"""Fields of a row that hold times, which differ between two runs that are otherwise equal."""


Watched = Literal["val", "test"]
"""The split that is measured after every epoch; the key of its metrics in a row."""


class Imbalance(TypedDict, total=False):
    """How unequal the modalities are, after an epoch or at the end. None is what was not measured."""

    index: float | None
    true_class_probability: Mapping[str, float]
    gradient_norm: Mapping[str, float | None]
    gradient_ratio: float | None
    shapley: Mapping[str, Mapping[str, float]] | None
    probe: Mapping[str, float] | None


class EpochRow(TypedDict):
    """One line of ``metrics.jsonl``: an epoch.

    Attributes:
        epoch: 0-based.
        samples: that it has seen.
        steps: of the optimiser.
        train_loss: mean over its samples.
        lr: learning rate.
        train_seconds: of the steps alone.
        seconds: with scoring and measuring.
        val: metrics on the validation split; absent where there is none.
        test: metrics on the test set; absent where there is a validation split.
        order: see :meth:`bss.training.order_log.OrderLog.describe`.
        imbalance: see :meth:`bss.training.measuring.Measuring.after_epoch`.
        checksum: of all the others but the times, see :func:`checksum`; absent in format 1.
    """

    epoch: int
    samples: int
    steps: int
    train_loss: float
    lr: float
    train_seconds: float
    seconds: float
    val: NotRequired[Metrics]
    test: NotRequired[Metrics]
    order: dict[str, Any]
    imbalance: Imbalance
    checksum: NotRequired[str]


class Tested(TypedDict):
    """Metrics on the test set by two sets of weights: of the epoch that was chosen, and of the last one."""

    chosen: Metrics
    last: Metrics


class Summary(TypedDict):
    """``summary.json``: what a finished run came to.

    Attributes:
        test: metrics on the test set.
        chosen_epoch: 0-based.
        chosen_on: ``"val"``; ``"last"`` where there is no validation split; absent in format 1.
        oracle: the best TEST epoch and its metrics, where there is no validation split.
        imbalance: see :meth:`bss.training.measuring.Measuring.at_the_end`.
        updates: optimiser steps of all epochs.
        seconds: wall time of all epochs.
        train_seconds: wall time of their steps alone.
        stopped_early: the last epoch, 0-based, of a run that ended before its epochs did (``patience`` of the recipe);
            absent in others.
    """

    test: Tested
    chosen_epoch: int
    chosen_on: NotRequired[str]
    oracle: NotRequired[dict[str, Any]]
    imbalance: Imbalance
    updates: int
    seconds: float
    train_seconds: float
    stopped_early: NotRequired[int]


class Failure(TypedDict):
    """How a run ended that did not finish: the ``failed`` of ``summary.json``, until a checkpoint comes after it.

    Attributes:
        how: by numbers that are not finite, for want of memory, or because it was asked to stop.
        epoch: the one under way, 0-based.
        step: steps of it that were done.
        reason: the error, in a line.
    """

    how: Literal["not finite", "out of memory", "stopped"]
    epoch: int
    step: int
    reason: str


READ_BACK = ("config.json", "arm.json", "metrics.jsonl", "scores.npz", "hits.npz")
"""Files whose content a finished run's ``summary.json`` vouches for, see :func:`digests`."""


def whole_digest(content: Any) -> str:
    """SHA-256 of a JSON value, whatever its layout and the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest(content: Any) -> str:
    """The first 16 digits of :func:`whole_digest`."""
    return whole_digest(content)[:16]


def _without(content: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}


def checksum(row: Mapping[str, Any]) -> str:
    """:func:`digest` of a row without its times: equal for equal epochs, wherever they ran."""
    return digest(_without(row, *TIMES, "checksum"))


def _seal(content: Mapping[str, Any]) -> str:
    """:func:`digest` of everything in a file but the checksum itself."""
    return digest(_without(content, "checksum"))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object, and as its last field ``checksum`` the :func:`digest` of everything else in it."""
    plain = json.loads(json.dumps(dict(content)))  # with the keys that a reader will find: JSON has texts alone
    return {**_without(plain, "checksum"), "checksum": _seal(plain)}


def _writes(method: Callable[..., None]) -> Callable[..., None]:
    """A method that writes: it does nothing where this process is not the one that writes, and names the folder."""

    @functools.wraps(method)
    def writing(self: "RunFolder", *args: Any, **options: Any) -> None:
        if not self.writes:
            return
        try:
            if self.claim is not None:
                self.claim.check()
            method(self, *args, **options)
        except (RunFolderError, FileHeldError):
            raise
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
            raise _unwritable(self.path, error) from error

    return writing


def _unwritable(path: Path, error: OSError | RuntimeError) -> RunFolderError:
    reason = getattr(error, "strerror", None) or first_line(error)
    return RunFolderError(
        f"cannot write to the run folder {path}: {reason}; what is already there stays. "
        "Make room, or pass another --out"
    )


class RunFolder:
    """Writes one run: ``config.json``, ``metrics.jsonl``, ``scores.npz``, ``best.pt``, ``last.pt``, ``summary.json``.

    Whole files are written under another name, flushed to the disk and then renamed, so a reader never sees half of
    one. ``done`` is written last: a folder without it holds an unfinished run. As long as the object lives the folder
    is claimed, see :mod:`bss.utils.claim`, unless the run in it is finished and stays.

    Args:
        path: the folder; made when missing.
        writes: False for all processes of a run but one: they compute the same and write nothing.
        overwrite: whether a run that is already there is replaced; an unfinished one that was itself begun with
            ``overwrite`` goes on, since it is the one that replaced the other.
        resume: whether a finished run is fine: there is nothing left to do, or :meth:`reopen` makes more to do.
        claim: of somebody who has claimed the folder before, and releases it; None = this object claims it.

    Attributes:
        path: the folder.
        finished: whether it holds a finished run, which is left as it is.
        rows: checksum of every row of ``metrics.jsonl``.
        scores: checksum of every scored epoch that is kept, see :meth:`append_scores`.
        claim: by which this process has it; None where it has none.

    Raises:
        RunFolderError: the folder holds a finished run; here and from every method: it cannot be written.
        RunHeldError: another process trains in it; from every method: has begun to.
    """

    def __init__(
        self,
        path: Path,
        *,
        writes: bool = True,
        overwrite: bool = False,
        resume: bool = False,
        claim: Claim | None = None,
    ):
        self.path, self.writes = Path(path), writes
        self.finished = False
        self.rows: list[str] = []
        self.scores: list[str] = []
        self._unflushed: set[str] = set()
        self.claim, self._own_claim = claim, claim is None
        self._open(overwrite)
        if self.finished and not resume:
            epochs = count_lines(self.path / "metrics.jsonl")
            self.close()
            raise RunFolderError(
                f"{self.path} holds a finished run ({epochs} epoch{'s' * (epochs != 1)}): "
                "pass another --out, or --set overwrite=true; --resume with more --epochs goes on"
            )

    @_writes
    def _open(self, overwrite: bool) -> None:
        if self.claim is None:
            self.claim = claimed(self.path, overwrite=overwrite)
        if self.claim is None:
            self.finished = True
            return
        sweep(self.path, older=0)  # what a killed run was writing: nobody else writes here now
        if overwrite and not self._overwritten():
            self.clear()
        self.finished = (self.path / "done").exists()

    def _overwritten(self) -> bool:
        """Whether the run here is unfinished and has replaced another one already."""
        try:
            config = read_json(self.path, "config.json")
            return bool(config["recipe"]["overwrite"]) and not (self.path / "done").exists()
        except (RunFolderError, KeyError, TypeError):
            return False

    @property
    def scored(self) -> int:
        """Number of epochs whose scores are kept in it."""
        return len(self.scores)

    @_writes
    def clear(self) -> None:
        """Remove what a run wrote, the half-written files of a crash included; nothing else is touched.

        Backwards: killed on the way, it leaves no folder that seems finished, nor a checkpoint of the older run beside
        files of the newer one.
        """
        for path in (*(self.path / name for name in reversed(FILES)), *self.path.glob(EVENTS)):
            delete(path)
        self.rows, self.scores = [], []

    def summary(self) -> Summary:
        """The summary of a finished run.

        Raises:
            RunFolderError: it is damaged or missing.
        """
        try:
            summary = read_json(self.path, "summary.json")
        except RunFolderError as error:
            raise RunFolderError(
                f"{self.path} is marked as done, but {error}: pass another --out, or --set overwrite=true"
            ) from error
        summary.pop("files", None)
        return cast(Summary, summary)

    # ---- endings ---------------------------------------------------------------------------------------------------

    def note_failure(self, failure: Failure) -> None:
        """Write how the run has ended; what has failed for numbers or memory stays so until there is a checkpoint.

        Any process of the run may say so. It is said beside an error that must not be hidden by one of its own.
        """
        before = self.failure()
        if failure["how"] == "stopped" and before is not None and before["how"] != "stopped":
            return
        with contextlib.suppress(OSError):
            self._write_json("summary.json", {"failed": failure})

    def failure(self) -> Failure | None:
        """How the unfinished run here has ended, if it has said so; None where this process does not write."""
        return read_failure(self.path) if self.writes else None

    def num_tested(self) -> int | None:
        """How long the test list was when the run began; None where the folder does not tell."""
        try:
            return int(read_json(self.path, "config.json")["samples"]["test"]) if self.writes else None
        except (RunFolderError, KeyError, TypeError, ValueError):
            return None

    @_writes
    def reopen(self) -> None:
        """Make a finished run an unfinished one, which goes on to more epochs.

        Raises:
            RunFolderError: its ``scores.npz`` is damaged.
            RunHeldError: another process has made it one already.
        """
        if self.claim is None:
            self.claim = claimed(self.path, overwrite=True)
        raw = self.path / "scores.raw"
        try:
            packed = read_scores(self.path)
            rows = np.zeros(len(packed["epoch"]), _score_row(len(packed["name"])))
            for name in ("epoch", "similarity", "loss", "difficulty"):
                rows[name] = packed[name]
        except (RunFolderError, ValueError) as error:
            raise RunFolderError(
                f"{self.path} cannot go on to more epochs: {first_line(error)}. Pass another --out"
            ) from error
        with whole_file(raw, flush=True) as temporary:
            rows.tofile(temporary)
        # Until here it is finished, and from here on it is a run that was stopped after its last epoch.
        for name in ("done", "summary.json", "hits.npz"):
            delete(self.path / name)
        flush_folder(self.path)
        self.finished = False

    # ---- continuing an unfinished run ------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, ``last.pt`` or the one before it; None where there is neither, or nothing to do.

        A file that is torn or damaged is recognised by its checksums: a warning names it, and the one before is used.

        Raises:
            RunFolderError: there are checkpoints, and none is whole.
        """
        if not self.writes:
            return None
        paths = [path for name in ("last.pt", "previous.pt") if (path := self.path / name).exists()]
        for path in paths:
            try:
                return read_checkpoint(path)
            except RunFolderError as error:
                reason = str(error)
                warnings.warn(f"{reason}; looking for the checkpoint before it", stacklevel=2)
        if paths:
            raise RunFolderError(f"{reason}, and there is no whole one before it: pass another --out")
        return None

    def rewind(
        self,
        *,
        epochs: int,
        scored: int,
        rows: Sequence[str] | None = None,
        scores: Sequence[str] | None = None,
    ) -> list[EpochRow]:
        """Cut what was written after a checkpoint, which will be written again.

        Args:
            epochs: finished epochs at the checkpoint.
            scored: scored epochs at the checkpoint, see :meth:`append_scores`.
            rows: :attr:`rows` at the checkpoint; None where it is older than that.
            scores: :attr:`scores` at the checkpoint.

        Returns:
            The rows of ``metrics.jsonl`` of the finished epochs; none where this process does not write.

        Raises:
            RunFolderError: the folder has less than the checkpoint says, or something else.
        """
        found: list[EpochRow] = []
        self._rewind(found, epochs, scored, rows, scores)
        return found

    @_writes
    def _rewind(
        self,
        rows: list[EpochRow],
        epochs: int,
        scored: int,
        row_checksums: Sequence[str] | None,
        score_checksums: Sequence[str] | None,
    ) -> None:
        metrics, raw = self.path / "metrics.jsonl", self.path / "scores.raw"
        lines = metrics.read_text(encoding="utf-8", errors="replace").splitlines()[:epochs] if metrics.exists() else []
        try:
            rows += _rows(lines)
        except RunFolderError as error:
            raise RunFolderError(f"{self.path}: {error}: pass another --out") from error
        size = _score_row(self._num_samples()).itemsize * scored if scored else 0
        if len(rows) < epochs or (size and (not raw.exists() or raw.stat().st_size < size)):
            raise RunFolderError(
                f"{self.path} has less than its checkpoint says ({len(rows)} of {epochs} epochs): files of the run "
                "were removed. Pass another --out, or delete it"
            )
        kept = [_score_checksum(row) for row in self._raw_scores(scored)]
        self._refuse_other("metrics.jsonl", [checksum(row) for row in rows], row_checksums)
        self._refuse_other("scores.raw", kept, score_checksums)
        replace_text(metrics, "".join(f"{line}\n" for line in lines))
        if raw.exists():
            os.truncate(raw, size)
        self.rows, self.scores = [checksum(row) for row in rows], kept

    def _refuse_other(self, name: str, found: Sequence[str], expected: Sequence[str] | None) -> None:
        """Refuse a file whose rows are not those that were there when the checkpoint was made."""
        if expected is not None and found != list(expected):
            place = next((n for n, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), 0)
            raise RunFolderError(
                f"{self.path / name} is damaged or another run's: its row {place + 1} is not the one that the "
                "checkpoint speaks of. Pass another --out, or delete the folder"
            )

    def _raw_scores(self, count: int) -> Iterator[np.ndarray]:
        """The first rows of ``scores.raw``, one by one; a file that ends within a row ends before it."""
        if not count:
            return
        kind = _score_row(self._num_samples())
        with open(self.path / "scores.raw", "rb") as file:
            for _ in range(count):
                content = file.read(kind.itemsize)
                if len(content) < kind.itemsize:
                    return
                yield np.frombuffer(content, kind)

    @_writes
    def note_continuation(
        self,
        where: Mapping[str, Any],
        *,
        changed: Mapping[str, Sequence[Any]] | None = None,
        after: Failure | None = None,
        identity: Mapping[str, Any] | None = None,
        hardware: Mapping[str, Any] | None = None,
    ) -> None:
        """Add to ``config.json`` that, from where, and by which command and versions the run is continued.

        Args:
            where: finished epochs and step.
            changed: recipe field -> [before, now], of those that are not what they were; the recipe says the new one.
            after: how the part before it has ended, where that is known.
            identity: takes the place of the older one.
            hardware: what this part runs on.
        """
        config = self._config()
        if not isinstance(config.get("recipe"), dict) or not isinstance(config.get("continued", []), list):
            raise RunFolderError(f"{self.path}: config.json has no recipe, or an odd continued: pass another --out")
        config["recipe"] |= {name: now for name, (_, now) in (changed or {}).items()}
        if identity is not None and "identity" in config:
            config["identity"] = dict(identity)
        part = {**where, **({"changed": dict(changed)} if changed else {}), **({"after": after} if after else {})}
        config.setdefault("continued", []).append({**part, **(hardware or {}), **environment()})
        self._write_json("config.json", config)

    def _num_samples(self) -> int:
        config = self._config()
        try:
            return int(config["samples"]["train"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(
                f"{self.path}: config.json has no number of training samples: pass another --out"
            ) from error

    def _config(self) -> dict[str, Any]:
        try:
            return read_json(self.path, "config.json")
        except RunFolderError as error:
            raise RunFolderError(f"{self.path}: {error}: pass another --out") from error

    # ---- writing ---------------------------------------------------------------------------------------------------

    @_writes
    def write_config(self, config: Mapping[str, Any]) -> None:
        """Save what the run is; format, versions, commit, machine and command line are added."""
        self._write_json("config.json", {"format": FORMAT, **config, **environment()})

    @_writes
    def append_metrics(self, row: EpochRow) -> None:
        """One line an epoch, with its checksum; on the disk before a checkpoint that speaks of it."""
        self._append("metrics.jsonl", (json.dumps({**row, "checksum": checksum(row)}) + "\n").encode())
        self.rows.append(checksum(row))

    @_writes
    def append_scores(self, epoch: int, table: "ScoreTable", difficulty: "Tensor") -> None:
        """Keep the scores that the order of ``epoch`` was made from."""
        row = np.zeros(1, _score_row(table.num_samples))
        row["epoch"] = epoch
        for name, values in (("similarity", table.similarity), ("loss", table.loss), ("difficulty", difficulty)):
            row[name] = values.float().cpu().numpy()
        self._append("scores.raw", row.tobytes())
        self.scores.append(_score_checksum(row))

    @_writes
    def pack_scores(self, names: Sequence[str], labels: "Tensor") -> None:
        """Turn the scores kept so far into ``scores.npz``.

        Arrays: ``similarity``, ``loss`` and ``difficulty``, each (scored epochs, N) float32; ``epoch``, the first epoch
        that each row was used for (online scores of the last epoch: would be used for); ``name`` and ``label`` (N,).
        """
        raw, kind = self.path / "scores.raw", _score_row(len(names))
        # A disk that was full may have left the beginning of a row; an empty file cannot be mapped.
        whole = raw.stat().st_size // kind.itemsize if raw.exists() else 0
        rows = np.memmap(raw, kind, "r", shape=(whole,)) if whole else np.zeros(0, kind)
        with whole_file(self.path / "scores.npz", flush=True) as temporary:  # scores.raw is deleted after it
            np.savez(
                temporary,
                epoch=rows["epoch"],
                similarity=rows["similarity"],
                loss=rows["loss"],
                difficulty=rows["difficulty"],
                name=np.array(names, dtype=np.str_),
                label=labels.cpu().numpy(),
            )

    @_writes
    def write_hits(self, hits: "Hits | None") -> None:
        """Save which test samples were classified rightly, as ``hits.npz``; None leaves no such file.

        Arrays: ``head`` (H,), names; ``chosen`` and ``last``, each (H, ceil(N / 8)) uint8, a bit per sample with the
        first sample in the highest bit; ``count``, N. Where they are known: ``names``, the hash of the test list, as
        ``lists.test.hash`` in ``config.json``; ``label`` (N,) int32, class ids; ``group`` (N,) int32 and
        ``grouped_by``, the word for a group.
        """
        if hits is None:
            delete(self.path / "hits.npz")
            return
        arrays: dict[str, Any] = {
            "head": np.array(hits.heads, dtype=np.str_),
            "chosen": hits.chosen,
            "last": hits.last,
            "count": np.int64(hits.count),
            "names": hits.names,
            "label": hits.labels,
            "group": hits.groups,
            "grouped_by": hits.grouped_by,
        }
        with whole_file(self.path / "hits.npz", flush=True) as temporary:
            np.savez(temporary, **{name: array for name, array in arrays.items() if array is not None})

    @_writes
    def save_checkpoint(self, name: str, state: dict[str, Any]) -> None:
        """Write a whole file with ``torch.save``, onto the disk; it loads with ``weights_only=True``.

        The ``last.pt`` before the newest one is kept as ``previous.pt``.
        """
        path = self.path / name
        self._flush()
        with whole_file(path, flush=True) as temporary:
            write_checkpoint(temporary, state)
            if name == "last.pt" and path.exists():
                flush_file(temporary)  # the one before keeps its name until the new one is on the disk
                rename(path, self.path / "previous.pt")
        if name == "last.pt":  # the run has come further than where it has failed
            delete(self.path / "summary.json")

    @_writes
    def finish(self, summary: Summary) -> None:
        """Save the summary, mark the run as finished, drop what only a continued run needs, and give up the claim."""
        try:
            files = digests(self.path)
        except RunFolderError as error:
            raise RunFolderError(f"{self.path}: {error}: something else has written to it") from error
        self._flush()
        self._write_json("summary.json", {**summary, "files": files})
        replace_text(self.path / "done", "")  # on the disk before anything that a continued run needs is removed
        for name in ("scores.raw", "previous.pt"):
            delete(self.path / name)
        self.close()

    def close(self) -> None:
        """Give up the claim, unless it is somebody else's to release."""
        if self.claim is not None and self._own_claim:
            self.claim.release()
            self.claim = None

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        replace_text(self.path / name, json.dumps(sealed(content), indent=2) + "\n")

    def _append(self, name: str, content: bytes) -> None:
        with open(self.path / name, "ab") as file:
            file.write(content)
        self._unflushed.add(name)

    def _flush(self) -> None:
        """Put what was appended on the disk."""
        while self._unflushed:
            flush_file(self.path / self._unflushed.pop())


def claimed(path: Path, *, overwrite: bool = False, tell: Callable[[str], None] = lambda text: None) -> Claim | None:
    """Claim a run folder for this process, which comes before everything else that is written into it.

    Args:
        path: the folder; made when missing.
        overwrite: whether a finished run is to be replaced, or to go on.
        tell: see :func:`bss.utils.claim.take`.

    Returns:
        The claim; None where the run in it is finished and stays: nothing is written then.

    Raises:
        RunHeldError: another process trains in it.
        RunFolderError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot make the run folder {path}: {error.strerror}"
        raise RunFolderError(f"{reason}; pass another --out") from error
    try:
        return None if (path / "done").exists() and not overwrite else claim.take(path, tell=tell)
    except FileHeldError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from error


def _score_checksum(row: np.ndarray) -> str:
    return hashlib.sha256(row.tobytes()).hexdigest()[:16]


def _score_row(num_samples: int) -> np.dtype:
    """One scored epoch in ``scores.raw``; it can be read back even after the process was killed."""
    values = (np.float32, num_samples)
    return np.dtype([("epoch", np.int64), ("similarity", *values), ("loss", *values), ("difficulty", *values)])


def read_identity(path: Path) -> dict[str, Any]:
    """What must be equal to go on with the run in a folder: of ``config.json``, in format 1 of ``last.pt``.

    Raises:
        RunFolderError: it is damaged or missing.
    """
    config = read_json(path, "config.json")
    return config["identity"] if "identity" in config else read_checkpoint(path / "last.pt")["identity"]


def read_json(path: Path, name: str) -> dict[str, Any]:
    """A JSON object in a run folder, without its ``checksum``, which must fit; older files have none.

    Raises:
        RunFolderError: it is damaged, missing or was changed; the message does not name the folder.
    """
    try:
        text = (path / name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{name} is damaged or missing ({shown(str(error))})") from error
    return _without(_object(text, name, _seal), "checksum")


def read_failure(path: Path) -> Failure | None:
    """How the unfinished run in a folder has ended; None where it did not say."""
    try:
        failed = read_json(path, "summary.json").get("failed")
    except RunFolderError:
        return None
    kinds = {"how": str, "epoch": int, "step": int, "reason": str}
    whole = isinstance(failed, dict) and all(isinstance(failed.get(name), kind) for name, kind in kinds.items())
    return cast(Failure, failed) if whole else None


def read_rows(path: Path) -> list[EpochRow]:
    """The rows of a run's ``metrics.jsonl``, epoch by epoch, whose checksums must fit; those of format 1 have none.

    Raises:
        RunFolderError: it is damaged, missing or was changed, or its epochs are not 0, 1, 2 and so on; the message
            does not name the folder.
    """
    try:
        lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RunFolderError(f"metrics.jsonl is damaged or missing ({shown(str(error))})") from error
    return _rows(lines)


def _rows(lines: Sequence[str]) -> list[EpochRow]:
    rows = []
    for epoch, line in enumerate(lines):
        where = f"metrics.jsonl, line {epoch + 1},"
        row = _object(line, where, checksum)
        if type(row.get("epoch")) is not int or row["epoch"] != epoch:
            raise RunFolderError(
                f"{where} is epoch {shown(row.get('epoch'))} where {epoch} is due: epochs are repeated, missing or out "
                "of order"
            )
        rows.append(cast(EpochRow, row))
    return rows


def _object(text: str, where: str, checksum_of: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    """A JSON object whose ``checksum`` fits the rest of it, where it has one."""
    try:
        content = json.loads(text)
        told = content.get("checksum") if isinstance(content, dict) else None
        whole = told is None or told == checksum_of(content)
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{where} is damaged ({shown(str(error))})") from error
    if not isinstance(content, dict):
        raise RunFolderError(f"{where} is damaged: it holds a {type(content).__name__}")
    if not whole:
        raise RunFolderError(f"{where} is damaged or was changed by hand: its content does not fit its checksum")
    return content


def count_lines(path: Path) -> int:
    """How many lines a file has, damaged or not; 0 where there is none."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def digests(path: Path) -> dict[str, str]:
    """What the files of a run say, as one number each: of JSON the content, of others the bytes.

    ``summary.json`` keeps these as ``files``: it is written last, so that none of the others can be changed, or be
    another run's, without being seen.

    Returns:
        Name -> the first 16 digits of a SHA-256, of those of :data:`READ_BACK` that are there.

    Raises:
        RunFolderError: one of them is damaged; the message does not name the folder.
    """
    found = {}
    for name in READ_BACK:
        if not (path / name).exists():
            continue
        if name.endswith(".json"):
            found[name] = digest(read_json(path, name))
        elif name.endswith(".jsonl"):
            found[name] = digest(read_rows(path))
        else:
            try:
                with open(path / name, "rb") as file:
                    found[name] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
            except OSError as error:
                raise RunFolderError(f"{name} is damaged or missing ({shown(str(error))})") from error
    return found


def check_files(path: Path, summary: Mapping[str, Any]) -> None:
    """Refuse a folder whose files are not those that its ``summary.json`` was written for; older ones do not tell.

    Raises:
        RunFolderError: names the first; the message does not name the folder.
    """
    expected = summary.get("files")
    if expected is None:
        return
    if not isinstance(expected, dict):
        raise RunFolderError("summary.json is damaged: files is no table")
    found = digests(path)
    for name, value in expected.items():
        if name in READ_BACK and found.get(name) != value:
            what = "was changed after the run had ended, or is another run's" if name in found else "is missing"
            raise RunFolderError(f"{name} {what}: it does not fit summary.json")


_SCORES = {"epoch": "iu", "similarity": "f", "loss": "f", "difficulty": "f", "name": "U", "label": "iu"}
"""Arrays of ``scores.npz``, and the kinds of number or text that each may be of."""


def read_scores(path: Path) -> dict[str, Any]:
    """The arrays of a run's ``scores.npz``: see :meth:`bss.training.run_folder.RunFolder.pack_scores`.

    Raises:
        RunFolderError: it is damaged or missing, or they do not fit together; the message does not name the folder.
    """
    found = _read_arrays(path, "scores.npz", _SCORES)
    epochs, samples = found["epoch"].shape, found["name"].shape
    shapes = {"epoch": epochs, "name": samples, "label": samples}
    for name, kinds in _SCORES.items():
        array, shape = found[name], shapes.get(name, (*epochs, *samples))
        if array.dtype.kind not in kinds or array.ndim != (1 if name in shapes else 2) or array.shape != shape:
            raise RunFolderError(f"scores.npz is damaged: {name} is {array.dtype} of shape {array.shape}")
    if (found["epoch"] < 0).any() or (np.diff(found["epoch"]) <= 0).any():
        raise RunFolderError("scores.npz is damaged: its epochs are not in order")
    return found


def _read_arrays(path: Path, file: str, needed: Iterable[str], others: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Arrays of a file that ``np.savez`` wrote into a run folder: those that it must have, and others that it may have.

    Raises:
        RunFolderError: it is damaged or missing, or lacks one; the message does not name the folder.
    """
    try:
        with zipfile.ZipFile(path / file) as archive:
            if sum(member.file_size for member in archive.infolist()) > os.path.getsize(path / file):
                raise zipfile.BadZipFile("it unpacks to more than it is: np.savez writes no such file")
            there = {name.removesuffix(".npy") for name in archive.namelist()}
            # Whole: np.load reads as much as an array's head says, which may be less than the checksum is of.
            members = {name: archive.read(f"{name}.npy") for name in (*needed, *there.intersection(others))}
        return {name: np.lib.format.read_array(io.BytesIO(data)) for name, data in members.items()}
    except Exception as error:
        # Nothing but the file went in; zipfile and numpy name a dozen exception types for damaged ones.
        raise RunFolderError(f"{file} is damaged or missing ({shown(str(error))})") from error


# ---- hits of the test samples --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Which test samples a run classified rightly, with each of its heads.

    Attributes:
        heads: their names, in the order of the bits.
        chosen: with the weights of the chosen epoch, (H, ceil(N / 8)) uint8: a bit per sample.
        last: the same with those of the last epoch.
        count: N, the number of test samples.
        names: hash of the test list, see :func:`list_hash`; None where its names are not known.
        labels: class id of every sample, (N,) int32; None of runs of earlier versions.
        groups: number of every sample's group (speaker, video, user), (N,) int32; None where no group is known.
        grouped_by: the word for a group (``"actor"``); None where there is none.
    """

    heads: tuple[str, ...]
    chosen: np.ndarray
    last: np.ndarray
    count: int
    names: str | None = None
    labels: np.ndarray | None = None
    groups: np.ndarray | None = None
    grouped_by: str | None = None

    @classmethod
    def packed(
        cls,
        chosen: Mapping[str, np.ndarray],
        last: Mapping[str, np.ndarray],
        *,
        names: str | None = None,
        labels: np.ndarray | None = None,
        groups: Sequence[int] | None = None,
        grouped_by: str | None = None,
    ) -> "Hits":
        """Turn hits into bits.

        Args:
            chosen: head name -> (N,) bool, with the weights of the chosen epoch.
            last: of the same heads, with those of the last epoch.
            names: see the attributes.
            labels: see the attributes; of any integers.
            groups: see the attributes.
            grouped_by: see the attributes.
        """
        heads = tuple(chosen)
        return cls(
            heads=heads,
            chosen=np.packbits(np.stack([chosen[head] for head in heads]), axis=1),
            last=np.packbits(np.stack([last[head] for head in heads]), axis=1),
            count=len(chosen[heads[0]]),
            names=names,
            labels=None if labels is None else labels.astype(np.int32),
            groups=None if groups is None else np.array(groups, np.int32),
            grouped_by=None if groups is None else grouped_by,
        )

    def of(self, epoch: str, head: str) -> np.ndarray:
        """The hits of one head, (N,) bool.

        Args:
            epoch: ``"chosen"`` or ``"last"``: whose weights they are of.
            head: one of :attr:`heads`.
        """
        bits = {"chosen": self.chosen, "last": self.last}[epoch][self.heads.index(head)]
        return np.unpackbits(bits, count=self.count).astype(bool)

    def accuracy(self, epoch: str) -> dict[str, float]:
        """Head -> share of its hits, to the last digit as :func:`bss.scoring.metrics.classification_metrics` has it."""
        return {head: float(self.of(epoch, head).mean()) for head in self.heads}


def read_hits(path: Path) -> Hits | None:
    """The ``hits.npz`` of a run, see :meth:`RunFolder.write_hits`; None where it has none, as older runs.

    Raises:
        RunFolderError: it is damaged; the message does not name the folder.
    """
    if not (path / "hits.npz").exists():
        return None
    others = ("names", "label", "group", "grouped_by")
    found = _read_arrays(path, "hits.npz", ("head", "chosen", "last", "count"), others)
    count = found["count"]
    whole = count.dtype.kind in "iu" and count.shape == () and 0 < count < 2**53
    size, heads = int(count) if whole else 0, found["head"].size
    bits = ("u", (heads, -(-size // 8)))
    wanted = {"count": ("iu", ()), "head": ("U", (heads,)), "chosen": bits, "last": bits}
    wanted |= {"names": ("U", ()), "label": ("iu", (size,)), "group": ("iu", (size,)), "grouped_by": ("U", ())}
    for name, (kinds, shape) in wanted.items():
        array = found.get(name)
        if array is not None and (not whole or array.dtype.kind not in kinds or array.shape != shape):
            raise RunFolderError(f"hits.npz is damaged: {name} is {array.dtype} of shape {array.shape}")
    if len(set(found["head"].tolist())) < heads or found["chosen"].dtype != np.uint8 or found["last"].dtype != np.uint8:
        raise RunFolderError("hits.npz is damaged: it has a head twice, or hits that are no bits")
    return Hits(
        heads=tuple(found["head"].tolist()),
        chosen=found["chosen"],
        last=found["last"],
        count=size,
        names=str(found["names"]) if "names" in found else None,
        labels=found.get("label"),
        groups=found.get("group"),
        grouped_by=str(found["grouped_by"]) if "grouped_by" in found else None,
    )


def list_hash(names: Sequence[str], labels_N: np.ndarray) -> str:
    """SHA-256 of the training samples' names, order and class ids."""
    return hashlib.sha256("\0".join(names).encode() + labels_N.astype("<i8").tobytes()).hexdigest()
