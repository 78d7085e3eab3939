"""Trains the runs of a comparison in a pool of processes that live as long as it, since importing PyTorch takes time.

A run that is finished is left as it is, one that was stopped goes on from its last checkpoint, and one that fails does
not end the others. One that another process trains is waited for. What a run prints goes to ``log.txt`` in its folder.
"""

import contextlib
import json
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bss import tasks
from bss.compare.arms import Arm, find
from bss.compare.comparison import Comparison, weights_hash
from bss.compare.pairs import Pair, fold_of
from bss.compare.runs import ARM_FILE
from bss.data.splits import Splits
from bss.recipes.fields import defaults, flatten
from bss.recipes.recipe import Recipe
from bss.samplers import BY_NAME
from bss.training.build import as_trained, method_of
from bss.training.callbacks import of_task
from bss.training.checkpoint import (
    OF_THE_DATA,
    defaults_of_method,
    difference,
    identity_without_data,
    with_newer_fields,
)
from bss.training.engine import fit
from bss.training.run import Run
from bss.training.run_folder import claimed, list_hash, read_identity, read_json, sealed
from bss.utils.claim import Claim
from bss.utils.devices import accelerators
from bss.utils.errors import BssError, RecipeError, RunFolderError, RunHeldError, first_line
from bss.utils.filesystem import whole_file
from bss.utils.interrupts import Interrupted, Interrupts, interruptible
from bss.utils.processes import preload, start_method, startable, stop_with_the_parent
from bss.utils.screen_log import kept

RETRY = 2.0
"""Seconds after which a run that another process trains is looked at again, when there is nothing else to do."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        arm: name.
        seed: of the run, or seed of its fold.
        failure: what went wrong, in a line or two; None = it is finished.
        accuracy: what the comparison tells of its runs, in [0, 1]; None where it failed.
        stopped: it was asked to stop, and goes on when the command is repeated.
        held: which other process trains it; None = none does.
    """

    arm: str
    seed: Pair
    failure: str | None = None
    accuracy: float | None = None
    stopped: bool = False
    held: str | None = None


def devices_of(name: str) -> list[str]:
    """The devices that runs are dealt to.

    Args:
        name: ``"auto"``, ``"cuda"`` and the like are all GPUs (``"auto"`` without any is the CPU), others one.

    Raises:
        RecipeError: a device that does not exist.
    """
    gpus = accelerators()
    if name == "cpu" or (name == "auto" and not gpus):
        return ["cpu"]
    if gpus and name in ("auto", gpus[0].partition(":")[0]):
        return gpus
    if name in gpus:
        return [name]
    raise RecipeError(f"--device {name}: PyTorch sees {len(gpus)} GPUs here; {', '.join(['auto', 'cpu', *gpus])}")


def is_finished(comparison: Comparison, arm: Arm, seed: Pair) -> bool:
    """Whether the run is done, and done as it would be now.

    Raises:
        RunFolderError: there is a finished run of another task, recipe, sampler or method in its folder (named).
    """
    folder = comparison.folder(arm.name, seed)
    if not (folder / "done").exists():
        return False
    try:
        config, mark = read_json(folder, "config.json"), read_json(folder, ARM_FILE)
        saved = {name: value for name, value in read_identity(folder).items() if name not in OF_THE_DATA}
        there = {**saved, **{name: config["recipe"][name] for name in ("epochs", "compile")}, "task": mark["task"]}
        samples, code_there = int(config["samples"]["train"]), mark["task_file"]
    except (RunFolderError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(f"{folder} is marked as done, but damaged ({error}): delete it, and repeat") from error
    recipe, code = comparison.recipe(arm, seed, comparison.updates(samples)), tasks.task_file(comparison.task)
    method = method_of(recipe, samples)
    own = identity_without_data(BY_NAME[recipe.schedule.sampler], method, flatten(recipe))
    here = {**own, "epochs": recipe.epochs, "compile": recipe.compile, "task": tasks.task_name(comparison.task)}
    if code is not None and code_there == code:
        here["task"] = mark["task"]  # the file lies elsewhere now
    here = json.loads(json.dumps(here))
    there = with_newer_fields(there, defaults(recipe) | defaults_of_method(method))
    names = difference(there, here)
    if names:
        name = names[0]
        more = f", and {len(names) - 1} more" if len(names) > 1 else ""
        raise RunFolderError(
            f"{folder} holds a finished run of another kind ({name}: {there.get(name)} there, {here.get(name)} here"
            f"{more}): pass another --out, or delete it"
        )
    if code_there != code:
        raise RunFolderError(
            f"{folder} was trained before {comparison.task} was changed: pass another --out, or delete it.\n"
            "If the change does not matter, python -m bss report puts older and newer runs into one table, and says so"
        )
    return True


def check_data(comparison: Comparison, data: Splits) -> None:
    """Refuse finished runs of the first seed that were trained on other samples than those under the data root.

    Raises:
        RunFolderError: names the first.
    """
    own = _samples_hash(data, comparison.recipe(find(comparison.arms)[0], comparison.pairs[0], None))
    for arm in comparison.arms:
        folder = comparison.folder(arm, comparison.pairs[0])
        if (folder / "done").exists() and _mark(folder).get("training_samples") != own:
            raise RunFolderError(
                f"{folder} was trained on other samples than those under {comparison.data_root}: pass another --out, "
                "or delete it"
            )


def check_finished(comparison: Comparison) -> list[tuple[str, Pair]]:
    """The runs of a comparison that are finished, as (arm, pair), and done as they would be now.

    Raises:
        RunFolderError: see :func:`is_finished`.
    """
    arms = {arm.name: arm for arm in find(comparison.arms)}
    return [(arm, seed) for arm, seed in comparison.plan() if is_finished(comparison, arms[arm], seed)]


def run_all(comparison: Comparison, *, jobs: int, devices: list[str], interrupts: Interrupts) -> list[Outcome]:
    """Train whatever is not finished, with a progress bar over the runs.

    Args:
        comparison: the comparison.
        jobs: processes, see :func:`bss.utils.processes.startable`.
        devices: process i trains on device i modulo their number.
        interrupts: requests to end.

    Returns:
        The outcome of every run that was under way; after Ctrl-C or SIGTERM the newest are ``stopped``, and some of the
        runs of the plan are not among them.

    Raises:
        RunFolderError: see :func:`is_finished`; before anything is trained.
    """
    plan, finished = comparison.plan(), set(check_finished(comparison))
    todo = [each for each in plan if each not in finished]
    outcomes: list[Outcome] = []
    with tqdm(total=len(plan), initial=len(plan) - len(todo), unit="run", disable=None, smoothing=0) as bar:
        for outcome in _pooled(comparison, todo, min(startable(jobs), len(todo)), devices, interrupts):
            if outcome.held:
                tqdm.write(f"waiting for {outcome.arm} seed {outcome.seed}: {outcome.held}")
                continue
            outcomes.append(outcome)
            if not outcome.stopped:
                bar.update()
                result = outcome.failure or f"{100 * outcome.accuracy:.1f} % {comparison.told}"
                failed = "FAILED: " if outcome.failure else ""
                done = len(plan) - len(todo) + len(outcomes)
                tqdm.write(f"[{done}/{len(plan)}] {outcome.arm} seed {outcome.seed}: {failed}{result}")
    return outcomes


class _Worker:
    """A process and what it is doing."""

    def __init__(self, comparison: Comparison, device: str, threads: int):
        context = multiprocessing.get_context("spawn")  # a forked process could neither use a GPU nor OpenMP safely
        self.pipe, theirs = context.Pipe()
        loaders = start_method()
        heard, self._orders = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(theirs, heard, comparison, device, threads, loaders))
        # Ctrl-C reaches the whole process group, but it is for the parent to say what ends; fit itself may note it.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.process.start()
        signal.signal(signal.SIGINT, handler)
        theirs.close()  # so that the end of the process is the end of the pipe
        heard.close()
        self.job: tuple[str, Pair] | None = None

    def give(self, job: tuple[str, Pair]) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # it died: outcome() will say so
            self.pipe.send(job)

    def stop(self) -> None:
        """Have the run under way end, which fit does by saving."""
        with contextlib.suppress(OSError):  # it died
            self._orders.send_bytes(b"stop")

    def outcome(self, *, stopping: bool) -> Outcome:
        """Wait for the worker's job, and return its outcome."""
        arm, seed = self.job
        self.job = None
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            cause = f"signal {signal.Signals(-code).name}; most often memory ran out" if code < 0 else f"status {code}"
            return Outcome(arm, seed, None if stopping else f"its process died ({cause})", stopped=stopping)


def _pooled(
    comparison: Comparison, todo: list[tuple[str, Pair]], jobs: int, devices: list[str], interrupts: Interrupts
) -> Iterator[Outcome]:
    """The outcomes as they come; of a run that another process trains first that, once, and its outcome later."""
    threads = max(1, torch.get_num_threads() // max(jobs, 1))

    def start(slot: int) -> _Worker:
        return _Worker(comparison, devices[slot % len(devices)], threads)

    waiting, held, told = deque(todo), deque[tuple[str, Pair]](), set[tuple[str, Pair]]()
    workers: list[_Worker] = []
    stopping, again = False, 0.0
    try:
        while True:
            for slot in range(jobs):
                if stopping or (slot < len(workers) and workers[slot].job):
                    continue
                if not waiting and held and time.monotonic() >= again:
                    again = time.monotonic() + RETRY
                    waiting.append(held.popleft())
                if not waiting:
                    break
                if slot == len(workers):
                    workers.append(start(slot))
                elif not workers[slot].process.is_alive():
                    workers[slot] = start(slot)
                workers[slot].give(waiting.popleft())
            busy = {worker.pipe: slot for slot, worker in enumerate(workers) if worker.job}
            if not busy and (stopping or not held):
                return
            for pipe in wait(list(busy), timeout=0.2):
                outcome = workers[busy[pipe]].outcome(stopping=stopping)
                job = outcome.arm, outcome.seed
                if outcome.held:
                    held.append(job)
                    if job in told:
                        continue
                    told.add(job)
                yield outcome
            if interrupts.noted is not None and not stopping:
                stopping = True
                if busy:
                    tqdm.write("stopping: every run finishes its step and saves")
                for worker in workers:
                    if worker.job:
                        worker.stop()
    except BaseException:  # a second Ctrl-C is for those that do not save soon enough
        for worker in workers:
            worker.process.kill()
        raise
    finally:
        for worker in workers:
            worker.pipe.close()  # a process ends when there is no more to receive
        for worker in workers:
            worker.process.join()


# ---- in a worker process -------------------------------------------------------------------------------------------


def _work(
    pipe: Connection, orders: Connection, comparison: Comparison, device: str, threads: int, loaders: str
) -> None:
    """Train what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows hands no handler down from the parent
    stop_with_the_parent(orders)
    torch.set_num_threads(threads)
    # As in a single run. Else loaders would be started as this process was, which not every data set can be sent to.
    multiprocessing.set_start_method(loaders, force=True)
    preload(Path(comparison.task).stem)
    with interruptible(), contextlib.suppress(EOFError, BrokenPipeError, Interrupted):
        while True:
            name, seed = pipe.recv()
            outcome = attempt(comparison, find([name])[0], seed, device)
            pipe.send(outcome)
            if outcome.stopped:
                return


def attempt(comparison: Comparison, arm: Arm, seed: Pair, device: str) -> Outcome:
    """One run, whatever becomes of it; what it prints, and why it fails, is in its ``log.txt``."""
    folder = comparison.folder(arm.name, seed)
    try:
        claim = claimed(folder)
        if claim is None:  # another process has trained it meanwhile
            is_finished(comparison, arm, seed)
            summary = read_json(folder, "summary.json")
        else:
            with claim, kept(folder / "log.txt", screen=False):
                summary = train(comparison, arm, seed, device, claim)
    except RunHeldError as error:
        return Outcome(arm.name, seed, held=str(error))
    except (Interrupted, KeyboardInterrupt):
        return Outcome(arm.name, seed, stopped=True)
    except BssError as error:
        return Outcome(arm.name, seed, str(error))
    except Exception as error:  # one failed run does not end the others, whatever a user's task raises
        reason = f"{type(error).__name__}: {first_line(error)}"
        return Outcome(arm.name, seed, f"{reason} (see {folder / 'log.txt'})")
    return Outcome(arm.name, seed, accuracy=comparison.accuracy(folder, summary))


def train(comparison: Comparison, arm: Arm, seed: Pair, device: str, claim: Claim | None = None) -> dict[str, Any]:
    """One run, in this process; returns what :func:`bss.training.engine.fit` does, and raises what it and the task do.

    Args:
        comparison: the comparison.
        arm: way to train.
        seed: of the run, or seed of its fold.
        device: where.
        claim: on the run's folder, which the caller releases; None = it is claimed here.

    Raises:
        RecipeError: its initial weights or its training samples are not those of the other arms with this seed, or the
            task's file is not what it was when the comparison began.
        RunFolderError: its unfinished run began with others, or with another task.
        RunHeldError: another process trains it.
    """
    if claim is None:
        with claimed(comparison.folder(arm.name, seed)) or contextlib.nullcontext() as claim:
            return _train(comparison, arm, seed, device, claim)
    return _train(comparison, arm, seed, device, claim)


def _train(comparison: Comparison, arm: Arm, seed: Pair, device: str, claim: Claim | None) -> dict[str, Any]:
    code = tasks.task_file(comparison.task)
    if comparison.code not in (None, code):
        raise RecipeError(
            f"{comparison.task} was changed since this comparison began, whose other runs its older text has trained: "
            "bring that back and repeat the command, or pass another --out"
        )
    task, folder = tasks.load(comparison.task), comparison.folder(arm.name, seed)
    recipe = comparison.recipe(arm, seed, None)
    data = task.build_data(recipe, comparison.data_root)
    recipe = comparison.recipe(arm, seed, comparison.updates(len(data.train)))
    model = task.build_model(recipe, comparison.data_root)
    mark = {
        "arm": arm.name,
        "title": arm.title,
        "task": tasks.task_name(comparison.task),
        "task_file": code,
        "task_title": tasks.title(task, recipe),
        "initial_weights": weights_hash(model.state_dict()),
        "training_samples": _samples_hash(data, recipe),
    }
    if tuned := comparison.chosen.get((arm.name, fold_of(seed))):
        mark["tuned"] = [each.partition("=")[0] for each in tuned]
    _check_unfinished(folder, mark)
    with whole_file(folder / ARM_FILE) as temporary:
        temporary.write_text(json.dumps(sealed(mark), indent=2) + "\n", encoding="utf-8")
    # Of two runs that begin at once, the one that wrote its mark last sees the other's.
    for other in comparison.arms:
        _check_start(comparison.folder(other, seed), mark)
    run = Run(
        folder,
        comparison.data_root,
        torch.device(device),
        workers=comparison.workers,
        resume=True,
        task=tasks.task_name(comparison.task),
        task_hash=code,
        title=tasks.title(task, recipe),
        arm=arm.name,
        claim=claim,
    )
    return fit(model, data, recipe, run, callbacks=of_task(task, recipe, folder))


def _samples_hash(data: Splits, recipe: Recipe) -> str:
    """The hash of the training samples' names and labels, with the wrong ones that the recipe asks for."""
    trained = as_trained(data, recipe)
    return list_hash(trained.names, trained.labels_N.numpy())


def _check_unfinished(folder: Path, mark: Mapping[str, Any]) -> None:
    """Refuse to go on with what began otherwise; the checkpoint would carry on what the new mark denies."""
    if not (folder / "last.pt").exists() or not (folder / ARM_FILE).exists():
        return
    began = _mark(folder)
    for name, noun in (("initial_weights", "weights"), ("training_samples", "samples"), ("task_file", "code")):
        if began.get(name) != mark[name]:
            raise RunFolderError(
                f"{folder} holds an unfinished run that began with other {noun}: the task was changed since. "
                "Delete it, or pass another --out"
            )


def _check_start(folder: Path, mark: Mapping[str, Any]) -> None:
    """Refuse a run that does not start where another arm's run of the same seed does."""
    if not (folder / ARM_FILE).exists():
        return
    other = _mark(folder)
    for name in ("initial_weights", "training_samples"):
        if other.get(name) != mark[name]:
            raise RecipeError(
                f"the {name.replace('_', ' ')} of {mark['arm']} and {other.get('arm')} differ with one seed, so these "
                f"arms cannot be compared. Does build_model draw its weights from the recipe's seed, as "
                f'`with seeded("build", recipe.seed):` does? If the task was changed since, delete {folder} or pass '
                "another --out"
            )


def _mark(folder: Path) -> dict[str, Any]:
    """What ``arm.json`` says."""
    try:
        return read_json(folder, ARM_FILE)
    except RunFolderError as error:
        raise RunFolderError(f"{folder}: {error}: delete it, and repeat") from error
