"""A run that was stopped, by whatever and wherever, goes on and ends as if nothing had happened, bit for bit."""

import contextlib
import json
import os
import random
import signal
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import bss
from bss.data.splits import Listed
from bss.recipes.presets import PAPER_SCHEDULE
from bss.training.engine import fit
from bss.training.run import Run
from bss.training.run_folder import read_checkpoint
from bss.utils.errors import DataError, RunFolderError
from bss.utils.interrupts import Interrupted, Interrupts, interruptible
from tests import tiny
from tests.processes import start
from tests.training import kill_worker

CPU = torch.device("cpu")


def leaves(value, path=""):
    """Every value of a nested state with its path."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        yield path, value
        return
    for name, inner in items:
        yield from leaves(inner, f"{path}.{name}")


def assert_identical(one, other):
    """Equal to the last bit: checkpoints, metrics, scores, summary; seconds aside."""
    for name in ("last.pt", "best.pt"):
        left, right = (dict(leaves(read_checkpoint(folder / name))) for folder in (one, other))
        assert left.keys() == right.keys()
        for path, value in left.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value.nan_to_num(nan=-7.0), right[path].nan_to_num(nan=-7.0)), f"{name}{path}"
            elif not path.endswith("seconds"):
                assert value == right[path], f"{name}{path}"
    rows = [[tiny.untimed(json.loads(line)) for line in (folder / "metrics.jsonl").open()] for folder in (one, other)]
    assert rows[0] == rows[1]
    summaries = [tiny.untimed(json.loads((folder / "summary.json").read_text())) for folder in (one, other)]
    assert summaries[0] == summaries[1]
    with np.load(one / "scores.npz") as left, np.load(other / "scores.npz") as right:
        assert left.files == right.files
        for name in left.files:
            assert np.array_equal(left[name], right[name], equal_nan=left[name].dtype.kind == "f"), name


# ---- killed processes ----------------------------------------------------------------------------------------------


def started(arm, out, *, workers=0):
    """A process that trains."""
    return start(kill_worker.train, arm, out, workers, said=out.with_suffix(".txt"))


def ended(process, *, after=120.0):
    """Wait so long for the process, and SIGKILL it if it still runs; its status."""
    process.join(timeout=after)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode


def where(out):
    """Where the newest checkpoint of a folder is: (finished epochs, step)."""
    for name in ("last.pt", "previous.pt"):  # a running or killed process may be between its two renamings
        with contextlib.suppress(RunFolderError):
            saved = read_checkpoint(out / name)
            return saved["finished_epochs"], saved["step"]
    return None


@pytest.fixture
def whole(tmp_path, arm):
    """The run that is never killed."""
    kill_worker.train(arm, tmp_path / "whole", 0)
    return tmp_path / "whole"


@pytest.mark.parametrize("arm", ["online"])
def test_a_killed_run_ends_as_the_run_that_was_never_killed(whole, tmp_path, arm):
    out = tmp_path / "killed"
    left = []
    for place in ((0, 3), (2, 1), (3, 5)):
        process = started(arm, out)
        while (where(out) or (0, 0)) < place and process.is_alive():
            time.sleep(0.005)
        assert ended(process, after=0.0) == -signal.SIGKILL
        left.append(where(out))
    assert all(step for _, step in left)  # in the middle of epochs
    assert ended(started(arm, out)) == 0
    assert_identical(whole, out)


@pytest.mark.slow
@pytest.mark.parametrize("arm", kill_worker.ARMS)
def test_runs_killed_at_twenty_random_moments_end_as_the_run_that_was_never_killed(whole, tmp_path, arm, capsys):
    draw = random.Random(f"moments {arm}")
    for out in (tmp_path / "warm", tmp_path / "timed"):  # the first start imports everything
        began = time.perf_counter()
        assert ended(started(arm, out)) == 0
        seconds = time.perf_counter() - began
    kills, runs = [], 0
    while len(kills) < 20:
        out, runs = tmp_path / f"run{runs}", runs + 1
        for _ in range(draw.randint(1, 3)):
            moment = draw.uniform(0.0, 1.0) * seconds
            if ended(started(arm, out, workers=draw.choice([0, 2])), after=moment) == 0:
                break
            kills.append((moment, where(out)))
            if (out / "done").exists():  # killed between its last word and its end
                break
        if not (out / "done").exists():
            assert ended(started(arm, out)) == 0
        assert_identical(whole, out)
    with capsys.disabled():
        print(f"\n{arm}: {len(kills)} kills of {runs} runs, all ends identical; seconds -> (finished epochs, step):")
        print("  " + ", ".join(f"{moment:.2f} -> {place}" for moment, place in kills))


# ---- signals -------------------------------------------------------------------------------------------------------


def run(out, *, recipe=tiny.SPL, **parts):
    data = replace(tiny.splits(noise=0.3), **parts)
    return fit(tiny.model(norm=True, dropout=0.3), data, recipe, Run(out, out, CPU))


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    out = tmp_path_factory.mktemp("never") / "run"
    run(out)
    return out


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
@pytest.mark.parametrize(
    ("part", "at", "saved"),
    [
        ("train", 3, (0, 1)),  # in the first step, which is finished and saved
        ("train", 60 + 20, (1, 3)),  # 56 samples an epoch: sample 80 is in step 3 of the second
        (
            "val",
            24 + 5,
            (0, 7),
        ),  # the files are read once before training; in the measuring of epoch 1 its steps are kept
        ("score", 5, None),  # in the first scoring pass there is nothing to save yet
        ("score", 60 + 5, (1, 0)),
    ],
)
def test_a_signal_lets_the_step_end_saves_and_goes_on_to_the_same_end(
    never_stopped, tmp_path, signum, status, part, at, saved
):
    data = tiny.splits(noise=0.3)
    with pytest.raises(Interrupted) as interrupted:
        run(tmp_path / "run", **{part: tiny.Signalling(getattr(data, part), at, signum)})
    assert interrupted.value.status == status
    assert where(tmp_path / "run") == saved
    run(tmp_path / "run")
    assert_identical(never_stopped, tmp_path / "run")


def test_the_papers_form_goes_on_between_two_scorings_with_the_balance_of_all_before(tmp_path):
    draws = {**PAPER_SCHEDULE, "sampler": "resampling", "rescore": 2}
    recipe = replace(tiny.SPL, epochs=5, schedule=replace(tiny.SPL.schedule, **draws))
    run(tmp_path / "whole", recipe=recipe)
    stopping = tiny.Signalling(tiny.splits(noise=0.3).train, 3 * 56 + 20, signal.SIGTERM)  # 56 samples an epoch
    with pytest.raises(Interrupted):
        run(tmp_path / "stopped", recipe=recipe, train=stopping)
    assert where(tmp_path / "stopped") == (3, 3)  # the epochs 2 and 3 have one scoring
    run(tmp_path / "stopped", recipe=recipe)
    assert_identical(tmp_path / "whole", tmp_path / "stopped")
    with np.load(tmp_path / "stopped" / "scores.npz") as scores:
        assert scores["epoch"].tolist() == [0, 2, 4]
        rounds = zip(scores["similarity"], scores["loss"], strict=True)
        first, second, third = [1 - bss.difficulty(*of_round).numpy() for of_round in rounds]
        history = 0.4 * (0.4 * first + 0.6 * second) + 0.6 * third  # beta = 0.6 is the newest's; the first is as it is
        np.testing.assert_allclose(1 - scores["difficulty"][2], history, rtol=0, atol=1e-5)
    assert np.abs(history - third).max() > 0.1


def test_the_handlers_are_given_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        assert signal.getsignal(signal.SIGTERM) not in before
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.noted == signal.SIGTERM
        with pytest.raises(Interrupted, match="SIGTERM"):
            list(interrupts.checked([1, 2]))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_that_is_ignored_from_the_start_stays_ignored():
    """As nohup does with SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(), Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR2)
        assert interrupts.noted == signal.SIGUSR2 and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_interrupts_at_once():
    with Interrupts(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


# ---- what goes on, and what is refused -----------------------------------------------------------------------------


def stop_in_epoch_two(out, **options):
    data = tiny.splits(noise=0.3)
    with pytest.raises(Interrupted):
        run(out, train=tiny.Signalling(data.train, 80, signal.SIGTERM), **options)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (replace(tiny.SPL, lr=0.01), "lr: 0.05 there, 0.01 here"),
        (replace(tiny.SPL, seed=7), "seed: 42 there, 7 here"),
        (tiny.CL, "sampler: SelfPacedSampler there, CurriculumSampler here"),
        (
            replace(tiny.SPL, lr=0.01, momentum=0.8, tail="last", weight_decay=0.0, seed=1),
            "and 1 more",
        ),
    ],
    ids=["lr", "seed", "sampler", "many"],
)
def test_an_unfinished_run_of_another_recipe_is_refused_with_the_difference(tmp_path, recipe, words):
    stop_in_epoch_two(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunFolderError, match=f"unfinished run that differs .*{words}"):
        run(tmp_path, recipe=recipe)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: {"names": ["other", *data.names[1:]]}, r"training list \(hash\): \w+ there, \w+ here"),
        (lambda data: {"val": tiny.features(30, seed=2)}, "validation samples: 24 there, 30 here"),
    ],
    ids=["names", "validation"],
)
def test_an_unfinished_run_of_other_data_is_refused_with_the_difference(tmp_path, change, words):
    stop_in_epoch_two(tmp_path)
    with pytest.raises(RunFolderError, match=words):
        run(tmp_path, **change(tiny.splits()))


def with_lists(**changes):
    data = tiny.splits()
    lists = {
        part: Listed([f"{part}{i}" for i in range(len(samples))], samples.label)
        for part, samples in (("val", data.val), ("test", data.test))
    }
    return replace(data, listed=lists | changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: {"test": tiny.features(24, seed=3)}, "test samples: 30 there, 24 here"),
        (
            lambda data: {"listed": {**data.listed, "test": Listed(data.listed["test"].names[::-1], data.test.label)}},
            r"test list \(hash\): \w{12} there, \w{12} here",
        ),
        (
            lambda data: {"listed": {**data.listed, "val": Listed(data.listed["val"].names, 2 - data.val.label)}},
            r"validation list \(hash\): \w{12} there, \w{12} here",
        ),
    ],
    ids=["shorter", "other order", "other labels"],
)
def test_a_list_that_was_edited_since_the_stop_is_refused_and_not_measured(tmp_path, change, words):
    stop_in_epoch_two(tmp_path, listed=with_lists().listed)
    lists = json.loads((tmp_path / "config.json").read_text())["lists"]
    assert {name: entry["count"] for name, entry in lists.items()} == {"train": 60, "val": 24, "test": 30}
    assert all(len(entry["hash"]) == 64 for entry in lists.values())
    data = with_lists()
    commonest = max(range(3), key=data.labels_N.tolist().count)  # of several the first
    assert lists["test"]["commonest_class_accuracy"] == data.test.label.tolist().count(commonest) / 30
    assert "commonest_class_accuracy" not in lists["val"] | lists["train"]
    with pytest.raises(RunFolderError, match=words):
        run(tmp_path, **{"listed": with_lists().listed, **change(with_lists())})


@pytest.mark.parametrize("known", [False, True], ids=["test count in config.json", "nothing"])
def test_a_folder_that_is_older_than_an_entry_of_the_identity_goes_on(tmp_path, known):
    stop_in_epoch_two(tmp_path)
    saved = read_checkpoint(tmp_path / "last.pt")
    for name in (
        "test samples",
        "compile",
        "imbalance_masking",
        "corrupt_pairs",
        "corrupt_labels",
    ):  # entries that older versions did not have
        saved["identity"].pop(name, None)
        saved["recipe"].pop(name, None)
    for name in ("stamp", "rows", "scores"):
        del saved[name]
    torch.save(saved, tmp_path / "last.pt")
    if not known:
        with pytest.raises(RunFolderError, match="test samples: 30 there, 24 here"):
            run(tmp_path, test=tiny.features(24, seed=3))
    run(tmp_path, listed=with_lists().listed)  # names and labels are known now, and were not
    config = json.loads((tmp_path / "config.json").read_text())
    assert "test list (hash)" in config["identity"] and config["continued"][0]["device"] == "cpu"


def test_a_corrupted_run_goes_on_with_the_same_corruption_and_no_other(tmp_path):
    noisy = replace(tiny.SPL, corrupt_pairs=0.2, corrupt_labels=0.3)
    run(tmp_path / "at once", recipe=noisy)
    stop_in_epoch_two(tmp_path / "in parts", recipe=noisy)
    with pytest.raises(RunFolderError, match=r"corrupt_pairs: 0\.2 there, 0\.1 here"):
        run(tmp_path / "in parts", recipe=replace(noisy, corrupt_pairs=0.1))
    run(tmp_path / "in parts", recipe=noisy)
    assert_identical(tmp_path / "at once", tmp_path / "in parts")


def test_more_epochs_and_other_checkpoints_are_no_difference(tmp_path):
    longer = replace(tiny.SPL, epochs=4, checkpoint_minutes=0.0)
    run(tmp_path / "at once", recipe=longer)
    stop_in_epoch_two(tmp_path / "in parts")
    run(tmp_path / "in parts", recipe=longer)
    assert_identical(tmp_path / "at once", tmp_path / "in parts")


def test_a_damaged_last_checkpoint_costs_steps_and_changes_nothing(never_stopped, tmp_path):
    every_epoch = replace(tiny.SPL, checkpoint_minutes=None)  # else there is none before it
    stop_in_epoch_two(tmp_path, recipe=every_epoch)
    content = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"last\.pt is torn"):
        run(tmp_path)
    assert_identical(never_stopped, tmp_path)


def test_a_run_without_a_checkpoint_starts_over(never_stopped, tmp_path):
    data = tiny.splits(noise=0.3)
    with pytest.raises(Interrupted):
        run(tmp_path, score=tiny.Signalling(data.score, 5, signal.SIGTERM))
    assert not (tmp_path / "last.pt").exists() and (tmp_path / "config.json").exists()
    run(tmp_path)
    assert "continued" not in json.loads((tmp_path / "config.json").read_text())
    assert_identical(never_stopped, tmp_path)


def test_the_config_says_that_and_where_a_run_was_continued(tmp_path):
    stop_in_epoch_two(tmp_path)
    run(tmp_path)
    noted = json.loads((tmp_path / "config.json").read_text())["continued"]
    assert [(entry["finished_epochs"], entry["step"]) for entry in noted] == [(1, 3)]


def test_a_finished_run_is_refused_or_left_as_it_is_when_asked(tmp_path, capsys):
    summary = run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunFolderError, match="a finished run"):
        run(tmp_path)
    again = fit(tiny.model(norm=True), tiny.splits(), tiny.SPL, Run(tmp_path, tmp_path, CPU, resume=True))
    assert again == summary and "nothing to do" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def weights_equal(one, other):
    left, right = (read_checkpoint(folder / "last.pt")["model"] for folder in (one, other))
    return all(torch.equal(left[name], right[name]) for name in left)


def test_overwrite_replaces_a_run_once_and_the_same_command_goes_on(never_stopped, tmp_path):
    over = replace(tiny.SPL, overwrite=True)
    run(tmp_path, recipe=replace(tiny.SPL, seed=7))
    stop_in_epoch_two(tmp_path, recipe=over)
    assert where(tmp_path) == (1, 3)
    data = tiny.splits(noise=0.3)
    with pytest.raises(Interrupted):
        run(tmp_path, recipe=over, train=tiny.Signalling(data.train, 10, signal.SIGTERM))
    assert where(tmp_path) == (1, 5)  # sample 10 is in the second step after the third
    run(tmp_path, recipe=over)
    assert weights_equal(tmp_path, never_stopped)
    run(tmp_path, recipe=replace(over, seed=7))  # a finished run is replaced, whoever began it
    assert not weights_equal(tmp_path, never_stopped)


@pytest.mark.parametrize("begun_with", [True, False])
def test_overwrite_replaces_an_unfinished_run_that_differs_or_is_damaged(never_stopped, tmp_path, begun_with):
    over = replace(tiny.SPL, overwrite=True)
    stop_in_epoch_two(tmp_path / "other", recipe=replace(over, seed=7, overwrite=begun_with))
    stop_in_epoch_two(tmp_path / "damaged", recipe=replace(over, overwrite=begun_with))
    for name in ("last.pt", "previous.pt"):
        (tmp_path / "damaged" / name).write_bytes(b"torn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the damaged checkpoints are named
        for folder in (tmp_path / "other", tmp_path / "damaged"):
            run(folder, recipe=over)
            assert weights_equal(folder, never_stopped)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (replace(tiny.SPL, lr=0.01), "lr: 0.05 there, 0.01 here"),
        (replace(tiny.SPL, epochs=2), "epochs: 3 there, 2 here"),  # to more epochs it can go on
        (tiny.CL, "sampler: SelfPacedSampler there, CurriculumSampler here"),
    ],
    ids=["lr", "epochs", "sampler"],
)
def test_a_finished_run_of_another_recipe_is_not_taken_for_the_one_asked_for(tmp_path, recipe, words):
    run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunFolderError, match=f"a finished run that differs .*{words}"):
        fit(tiny.model(norm=True), tiny.splits(), recipe, Run(tmp_path, tmp_path, CPU, resume=True))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["summary.json", "last.pt"])
def test_a_finished_run_that_is_damaged_is_named(tmp_path, name):
    run(tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(RunFolderError, match=rf"{name}.*damaged"):
        fit(tiny.model(norm=True), tiny.splits(), tiny.SPL, Run(tmp_path, tmp_path, CPU, resume=True))


def test_checkpoints_in_the_middle_of_an_epoch_change_nothing(never_stopped, tmp_path):
    run(tmp_path, recipe=replace(tiny.SPL, checkpoint_minutes=0.0))
    left, right = (read_checkpoint(folder / "last.pt") for folder in (never_stopped, tmp_path))
    assert all(torch.equal(left["model"][name], right["model"][name]) for name in left["model"])


# ---- the processes that load data ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signum", "status", "linux"),
    [(signal.SIGINT, 130, True), (signal.SIGTERM, 75, True), (signal.SIGTERM, 75, False), (signal.SIGUSR1, 75, True)],
)
def test_a_signal_to_the_whole_process_group_is_the_parents_to_answer(tmp_path, signum, status, linux):
    """SIGUSR1 is SLURM's warning; macOS and Windows do not tell a worker who sent a signal."""
    out = tmp_path / "run"
    process = start(in_a_group_of_its_own, out, linux, said=tmp_path / "said.txt")
    while (where(out) or (0, 0)) < (1, 2) and process.is_alive():
        time.sleep(0.005)
    os.killpg(process.pid, signum)  # what a terminal and a cluster do: the workers get it too
    process.join(timeout=60)
    assert process.exitcode == status, (tmp_path / "said.txt").read_text()
    assert where(out) >= (1, 2) and not (out / "done").exists()


def in_a_group_of_its_own(out, linux):
    os.setpgrp()
    if not linux:
        del signal.sigtimedwait
    try:
        kill_worker.train("online", out, 2)
    except Interrupted as interrupted:
        sys.stdout.flush()
        os._exit(interrupted.status)


def test_workers_end_when_the_parent_ends_by_an_error(tmp_path):
    process = start(fail_in_the_second_epoch, tmp_path / "run", said=tmp_path / "said.txt")
    process.join(timeout=60)
    assert process.exitcode == 1, (tmp_path / "said.txt").read_text()


def fail_in_the_second_epoch(out):
    class Failing(torch.utils.data.Dataset):
        def __init__(self, dataset):
            self.dataset, self.count = dataset, 0

        def __len__(self):
            return len(self.dataset)

        def __getitem__(self, index):
            self.count += 1
            if self.count > 40:  # in one of two workers
                raise DataError("clip.wav: broken")
            return self.dataset[index]

    data = tiny.splits()
    data = replace(data, train=Failing(data.train))
    fit(tiny.model(), data, tiny.SPL, Run(out, out, CPU, workers=2))


# ---- scoring passes of an older version ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "changes", "norm", "goes_on"),
    [
        (tiny.SPL, {"mode": "calibrated"}, True, False),
        (tiny.CL, {"mode": "calibrated"}, True, False),
        (tiny.SPL, {"mode": "calibrated"}, False, True),
        (tiny.SPL, {"mode": "eval"}, True, True),
        (tiny.CL, {"mode": "calibrated", "sampler": "random_pacing"}, True, True),
    ],
    ids=["SPL", "CL", "no BatchNorm", "eval mode", "no scores"],
)
def test_only_a_run_that_was_calibrated_otherwise_is_refused(tmp_path, base, changes, norm, goes_on):
    """Those before the pooled variance have no word of the calibration in their checkpoints."""
    recipe = replace(base, schedule=replace(base.schedule, **changes))

    def go(data):
        return fit(tiny.model(norm=norm), data, recipe, Run(out=tmp_path / "run", data_root=tmp_path, device=CPU))

    data = tiny.splits()
    with pytest.raises(Interrupted):
        go(replace(data, train=tiny.Signalling(data.train, len(data.train) + 20, signal.SIGTERM)))
    path = tmp_path / "run" / "last.pt"
    saved = read_checkpoint(path)
    assert saved.pop("calibration") == "pooled" and saved.pop("stamp") == 1
    torch.save(saved, path)
    if goes_on:
        go(data)
        return
    with pytest.raises(RunFolderError, match=r"calibrated\) took another variance for BatchNorm.*\n.*another --out"):
        go(data)
