"""A trained network out of its run folder: the one way to it, for evaluation, prediction and export.

Only what :mod:`bss.training.run_folder` and :mod:`bss.training.checkpoint_file` take for whole is read, and nothing in
the folder is run: weights are tensors, a task of ``bss`` is found by its name, and a task's file is imported only where
the caller names it. Nothing is written. A folder of :func:`bss.training.export.export_run` is read like a run's.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args, get_type_hints

from torch import Tensor, nn

from bss import samplers, tasks
from bss.data.parts import Part, PartName, class_ids, part_of
from bss.data.splits import Splits
from bss.recipes.constants import Constants
from bss.recipes.fields import defaults, flatten, plain, with_values
from bss.recipes.recipe import KINDS, MAY_CHANGE, Recipe
from bss.tasks import Task
from bss.training.checkpoint import AFTER_A_FAILURE, fits_best
from bss.training.checkpoint_file import read_checkpoint
from bss.training.export_file import TEXT_MODEL, WEIGHTS, is_exported, read_export
from bss.training.run_folder import (
    EpochRow,
    Summary,
    check_files,
    count_lines,
    list_hash,
    read_failure,
    read_json,
    read_rows,
    read_scores,
)
from bss.utils.errors import DataNotFoundError, RecipeError, RunFolderError, first_line, shown, told_in_python
from bss.utils.seeding import seeded

Checkpoint = Literal["best", "last"]
"""Whose weights are loaded.

``"best"`` are those of the chosen epoch, of which ``test.chosen`` in ``summary.json`` speaks: ``best.pt`` where a
validation split chose it, and without one those of the last epoch, since ``best.pt`` is then the best by the test set.
``"last"`` are the newest ones, ``last.pt``.
"""


class LoadedRun(NamedTuple):
    """A trained network and what its inputs and outputs mean.

    Attributes:
        model: in eval mode, on the CPU; maps a batch to :class:`bss.models.Logits`.
        recipe: every number of the run.
        classes: class names; the logits are in their order.
    """

    model: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]


@told_in_python("bss.load_run", ("checkpoint", "task", "data_root"))
def load_run(
    run: str | os.PathLike[str],
    *,
    checkpoint: Checkpoint = "best",
    task: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
) -> LoadedRun:
    """Load the trained network of a run folder.

    The recipe's network is built without any file of pretrained weights, and then gets the run's: every name, shape and
    type must fit. A text model still gives its shape, the ``config.json`` that the recipe's ``text_model`` names.

    Args:
        run: the folder, of a finished run; ``checkpoint="last"`` takes an unfinished one as well. Or an exported one,
            whose recipe names the text model that lies in it, where it has one.
        checkpoint: ``"best"``: the weights of the chosen epoch, those of ``test.chosen`` in ``summary.json``.
            ``"last"``: the newest ones. An exported folder has one set, which is taken whatever is asked for.
        task: the Python file of the run's task, for a run whose task is one of your own: it is never imported because
            the folder names it, and its code must be that which the run was trained with. For a folder that names no
            task also the name of one of the library's.
        data_root: where the text model is looked for first, and where a folder of format 1 gets its class names from;
            None = the folder that the run was trained on, where that is still there.

    Returns:
        ``(model, recipe, classes)``.

    Raises:
        RunFolderError: no folder of a run, an unfinished or damaged one, weights of another recipe or of another
            network (the first name that does not fit is named), or class names that cannot be told.
        RecipeError: a task that cannot be told or is another one, or a recipe that it does not admit.
        DataNotFoundError: the shape of the text model, or what a folder of format 1 needs, is not there.
    """
    saved = read_saved(run, checkpoint=checkpoint, task=task)
    return saved.loaded(saved.root(data_root))


@dataclass(frozen=True, kw_only=True)
class SavedRun:
    """A run folder, read and checked for one of its sets of weights. Nothing is built yet.

    Attributes:
        path: the folder.
        config: what ``config.json`` holds.
        task: what was trained.
        recipe: every number of it.
        weights: of the network, by name.
        file: that holds them.
        checkpoint: ``"best"`` or ``"last"``: what was asked for.
        epoch: after which they were saved, 0-based; -1 = in the first one, of an unfinished run.
        summary: of a finished run; None of an unfinished or an exported one.
    """

    path: Path
    config: Mapping[str, Any]
    task: Task
    recipe: Recipe
    weights: Mapping[str, Any]
    file: Path
    checkpoint: Checkpoint
    epoch: int
    summary: Summary | None

    def root(self, given: str | os.PathLike[str] | None) -> Path | None:
        """The data root: the one that is given, or else the run's own, where it is known and still there."""
        if given is not None:
            return Path(given)
        recorded = self.config.get("data_root")
        if not isinstance(recorded, str) or not Path(recorded).is_absolute():
            return None  # format 1 kept what was typed, relative to a folder that nobody knows
        return Path(recorded) if Path(recorded).is_dir() else None

    def build(self, root: Path | None) -> nn.Module:
        """The network with the run's weights, in eval mode, on the CPU.

        Raises:
            DataNotFoundError, RunFolderError: see :func:`load_run`.
        """
        try:
            with seeded("load", self.recipe.seed):  # what the layers draw is replaced, and the caller's stream stays
                model = self.task.build_model(self.recipe.from_random_weights(), root or Path.cwd())
        except DataNotFoundError as error:
            raise DataNotFoundError(
                f"the network of {self.path} cannot be built: {first_line(error)}\n"
                "Name the data set's folder, where it was trained on such a file (--data-root DIR, data_root=)"
            ) from error
        _put_weights(model, self.weights, self.file)
        return model.eval()

    def classes(self, root: Path | None) -> tuple[str, ...]:
        """The class names, in the order of the logits.

        Raises:
            DataNotFoundError, RunFolderError: see :func:`load_run`.
        """
        known = self.config.get("classes")
        if known is not None:
            if not isinstance(known, list) or not all(isinstance(name, str) for name in known):
                raise RunFolderError(f"{self.path}: config.json is damaged: classes is {shown(known)}")
            return tuple(known)
        if root is None:
            raise DataNotFoundError(
                f"{self.path} is of format 1, which holds no class names: name the data set's folder that it was "
                "trained on (--data-root DIR, data_root=), from whose lists they can be told"
            )
        return self.checked(self.task.build_data(self.recipe, root)).classes

    def loaded(self, root: Path | None) -> LoadedRun:
        """What :func:`load_run` gives."""
        return LoadedRun(self.build(root), self.recipe, self.classes(root))

    def part(self, root: Path, name: PartName = "test", *, listed: Path | None = None) -> Part:
        """Samples to be measured, as the run's test sees them, without anything that its recipe corrupts.

        Args:
            root: the data root.
            name: of the run's own parts.
            listed: a list of one's own in the form of the data set's, in place of these.

        Raises:
            RecipeError: a list, and the task cannot read one.
            DataError, DataNotFoundError: see the task's ``build_data`` and ``build_list``, and
                :func:`bss.data.parts.part_of`.
        """
        recipe = self.recipe.without_cache()  # one pass is not worth a copy of all files
        if listed is None:
            return part_of(self.task.build_data(recipe, root), name)
        if not hasattr(self.task, "build_list"):
            raise RecipeError("--list: the task of this run reads no lists, since it does not define build_list")
        return self.task.build_list(recipe, root, listed)

    def is_own_test(self, part: Part, classes: Sequence[str]) -> bool:
        """Whether a part is the test set that the run's summary speaks of: by names, order and class ids.

        Where a run or a list tells no names, a test part of the same length is taken for it.

        Args:
            part: any.
            classes: of the run.
        """
        known = (self.config.get("lists") or {}).get("test", {}).get("hash")
        if known is None or part.labels_N is None:
            samples = self.config.get("samples") or {}
            return part.title == "test" and samples.get("test") == len(part)
        return known == list_hash(part.names, class_ids(part.classes, classes)[part.labels_N.numpy()])

    def checked(self, data: Splits) -> Splits:
        """The data, if its training list is the run's: names, order and class ids.

        Raises:
            RunFolderError: it is another list, so that class ids need not mean the same.
        """
        with _named(self.path):
            scores = read_scores(self.path)
        there = list_hash(scores["name"].tolist(), scores["label"])
        if list_hash(data.names, data.labels_N.numpy()) != there:
            raise RunFolderError(
                f"{self.path} is of format 1, which holds no class names, and the training list of the data root is "
                "not the one that it was trained on: which class an output stands for cannot be told"
            )
        return data


def read_saved(run: str | os.PathLike[str], *, checkpoint: Checkpoint = "best", task: str | None = None) -> SavedRun:
    """Read and check a run folder, see :func:`load_run`.

    Raises:
        RunFolderError, RecipeError: see :func:`load_run`.
    """
    path = Path(run)
    if checkpoint not in get_args(Checkpoint):
        raise ValueError(f"checkpoint must be one of {', '.join(get_args(Checkpoint))}, got {shown(checkpoint)}")
    if is_exported(path):
        return _read_exported(path, task)
    if not (path / "config.json").is_file():
        what = "holds no run: a run folder has config.json in it" if path.is_dir() else "is not a folder"
        raise RunFolderError(f"{path} {what}")
    finished = (path / "done").is_file()
    if not finished and checkpoint == "best":
        raise RunFolderError(
            f"{path} holds {_unfinished(path)}: let it end by its own command, or take its newest weights "
            '(--checkpoint last, checkpoint="last")'
        )
    with _named(path):
        summary = read_json(path, "summary.json") if finished else None
        if summary is not None:
            check_files(path, summary)
        config = read_json(path, "config.json")
        mark = read_json(path, "arm.json") if (path / "arm.json").is_file() else {}
        rows = read_rows(path) if (path / "metrics.jsonl").is_file() else []
    module = _task_of(path, config, mark, task)
    recipe = _recipe_of(path, config, module.CL)
    name = checkpoint if summary is not None and rows and "val" in rows[0] else "last"
    file = path / f"{name}.pt"
    if not file.is_file():
        raise RunFolderError(f"{path} has no {file.name}: its weights are not there")
    state = read_checkpoint(file)
    if not isinstance(state.get("model"), dict):
        raise RunFolderError(f"{file} is no checkpoint of a run: it has no model")
    if name == "best":
        assert summary is not None  # or it would be "last"
        epoch = _check_best(file, state, rows, summary)
    else:
        epoch = _check_last(file, state, config, None if summary is None else len(rows))
    return SavedRun(
        path=path,
        config=config,
        task=module,
        recipe=recipe,
        weights=state["model"],
        file=file,
        checkpoint=checkpoint,
        epoch=epoch,
        summary=cast(Summary | None, summary),
    )


def _read_exported(path: Path, task: str | None) -> SavedRun:
    config, weights = read_export(path)
    module = _task_of(path, config, {}, task)
    recipe = _recipe_of(path, config, module.CL)
    if (path / TEXT_MODEL).is_dir() and "text_model" in flatten(recipe):
        recipe = with_values(recipe, {"text_model": str((path / TEXT_MODEL).resolve())})
    epoch = config.get("epoch")
    if type(epoch) is not int:
        raise RunFolderError(f"{path}: config.json: epoch is {shown(epoch)}")
    return SavedRun(
        path=path,
        config=config,
        task=module,
        recipe=recipe,
        weights=weights,
        file=path / WEIGHTS,
        checkpoint="last" if config.get("checkpoint") == "last" else "best",
        epoch=epoch,
        summary=None,
    )


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error about one of its files begin with the folder."""
    try:
        yield
    except RunFolderError as error:
        raise RunFolderError(f"{path}: {error}") from error


def _unfinished(path: Path) -> str:
    epochs = count_lines(path / "metrics.jsonl")
    so_far = f"{epochs} epoch{'s' * (epochs != 1)} so far"
    if (failed := read_failure(path)) is not None:
        return f"an unfinished run ({so_far}; {failed['how']}: {failed['reason']})"
    return f"an unfinished run ({so_far})"


# ---- what was trained ----------------------------------------------------------------------------------------------


def _task_of(path: Path, config: Mapping[str, Any], mark: Mapping[str, Any], given: str | None) -> Task:
    """The task of a run: one of the library's by the name that the folder has, and a file only where it is given."""
    there = config.get("task") or mark.get("task")
    code = config.get("task_hash") or mark.get("task_file")
    if there in tasks.names():
        if given not in (None, there):
            raise RecipeError(f"{path} is of a run of {there}, and not of {given}: leave --task out")
        return tasks.load(there)
    if given is None:
        what = f"of a run of a task in a file ({shown(there)})" if there else "of a run that does not say of which task"
        raise RecipeError(f"{path} is {what}: name the file with --task FILE.py (task=)")
    if given.endswith(".py") and not Path(given).is_file():
        raise RecipeError(f"--task {given} is not a file")
    # Before it is imported: the code must not be run to find that it is another one.
    if there and (code is None or _code_hash(given) != code):
        raise RecipeError(
            f"--task {given} has other code than the task that {path} was trained with, and is not run: pass the file "
            "as it was then"
        )
    return tasks.load(given)


def _code_hash(reference: str) -> str | None:
    try:
        return tasks.task_file(reference)
    except (OSError, SyntaxError, ValueError) as error:
        raise RecipeError(f"--task {reference} cannot be read as Python: {first_line(error)}") from error


def _recipe_of(path: Path, config: Mapping[str, Any], base: Recipe) -> Recipe:
    """The recipe in ``config.json``, to the last digit; fields that are younger than the folder have their defaults.

    Args:
        path: of the folder, for errors.
        config: what ``config.json`` holds.
        base: a recipe of the task, for its kind.

    Raises:
        RecipeError: the recipe has a field or a value that this kind does not admit, or lacks one that it needs.
    """
    saved = config.get("recipe")
    schedule = saved.get("schedule") if isinstance(saved, dict) else None
    if not isinstance(saved, dict) or not isinstance(schedule, dict):
        raise RecipeError(f"{path}: config.json has no recipe")
    # Format 1 names the sampler by its class; one of one's own has the kind of schedule that the task's recipe has.
    classes = {kind.__name__: name for name, kind in samplers.BY_NAME.items()}
    sampler = schedule.get("sampler", classes.get(str(config.get("sampler")), base.schedule.sampler))
    if not isinstance(sampler, str) or sampler not in KINDS:
        raise RecipeError(f"{path}: config.json: the sampler {shown(sampler)} is none of {', '.join(KINDS)}")
    if sampler not in get_args(get_type_hints(type(base.schedule))["sampler"]):
        base = replace(base, schedule=KINDS[sampler]())
    base = replace(base, method_options=Constants())  # those of the task are not the run's
    content = {**saved, "schedule": {**schedule, "sampler": sampler}}
    given, known = _opened(content), flatten(base)
    lacking = [name for name in known if name not in given and name not in defaults(base)]
    if lacking:
        raise RecipeError(f"{path}: config.json: the recipe has no {lacking[0]}")
    try:
        recipe = with_values(base, {**defaults(base), **given})
    except RecipeError as error:
        raise RecipeError(f"{path}: config.json: {error}") from error
    read = json.loads(json.dumps(_opened(plain(recipe))))
    odd = [name for name, value in given.items() if read[name] != value]
    if odd:
        raise RecipeError(f"{path}: config.json: {odd[0]} cannot be {shown(given[odd[0]])}")
    return recipe


def _opened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value of the fields in nested tables."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= _opened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


# ---- its weights ---------------------------------------------------------------------------------------------------


def _check_best(file: Path, state: Mapping[str, Any], rows: Sequence[EpochRow], summary: Mapping[str, Any]) -> int:
    """The epoch of the weights in ``best.pt``, which must be the one that the summary says was chosen."""
    chosen = summary.get("chosen_epoch")
    if type(chosen) is not int or not 0 <= chosen < len(rows):
        raise RunFolderError(f"{file.parent}: summary.json: chosen_epoch is {shown(chosen)}, of {len(rows)} epochs")
    if not fits_best(rows[chosen], state):
        raise RunFolderError(
            f"{file} has not the weights of epoch {chosen + 1}, which validation chose, but those of another epoch or "
            "run: something else has written to the folder"
        )
    return chosen


def _check_last(file: Path, state: Mapping[str, Any], config: Mapping[str, Any], epochs: int | None) -> int:
    """The epoch of the weights in ``last.pt``, which must be those of the recipe and, of a finished run, of its end.

    Args:
        file: for errors.
        state: what it holds.
        config: what ``config.json`` holds.
        epochs: of the finished run; None = it is unfinished.
    """
    done = state.get("finished_epochs")
    if type(done) is not int or (epochs is not None and (done != epochs or state.get("step"))):
        raise RunFolderError(f"{file} is not of the end of the run: it is after epoch {shown(done)} of {epochs}")
    allowed = MAY_CHANGE | (AFTER_A_FAILURE if epochs is None else set())
    saved = state.get("recipe")
    if not isinstance(saved, Mapping):
        raise RunFolderError(f"{file} has no recipe")
    for there, here in ((_opened(saved), _opened(config["recipe"])), (state.get("identity"), config.get("identity"))):
        if not isinstance(there, Mapping) or not isinstance(here, Mapping):
            continue  # format 1 has the identity in one of the files alone
        for name in there.keys() & here.keys() - allowed:
            if there[name] != here[name]:
                raise RunFolderError(
                    f"{file} has the weights of another recipe than config.json: {name} is {shown(there[name])} there "
                    f"and {shown(here[name])} here"
                )
    return done - 1


def _put_weights(model: nn.Module, weights: Mapping[str, Any], file: Path) -> None:
    """Load weights into a network that has just these.

    Raises:
        RunFolderError: names the first one that is lacking, unknown, or of another shape or type.
    """
    own = model.state_dict()
    lacking = [name for name in own if name not in weights]
    unknown = [name for name in weights if name not in own]
    other = [name for name in own if name in weights and _kind(weights[name]) != _kind(own[name])]
    found = []
    if lacking:
        found.append(f"it lacks {_first(lacking)}")
    if unknown:
        found.append(f"it has {_first(unknown)}, which the network has not")
    if other:
        found.append(f"{_first(other)} is {_kind(weights[other[0]])}, and {_kind(own[other[0]])} in the network")
    if found:
        raise RunFolderError(
            f"{file} has not the weights of the network that its recipe builds: {'; '.join(found)}.\n"
            "Was the network's code changed since?"
        )
    model.load_state_dict(weights)


def _first(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} (and {len(names) - 1} more)"


def _kind(value: object) -> str:
    """Type and shape of a tensor in words; of what else a state may hold, its type."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return type(value).__name__
