"""How a run ends that does not finish, what it leaves, and how it goes on; and runs that go on to more epochs."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bss.compare.runs import read_run
from bss.recipes.presets import PAPER_SCHEDULE
from bss.training.checkpoint_file import read_checkpoint
from bss.training.engine import fit
from bss.training.epochs import first_not_finite, ran_out_of_memory
from bss.training.run import Run
from bss.training.run_folder import RunFolder, read_json, sealed
from bss.utils.errors import MemoryRanOutError, NotFiniteError, RunFolderError
from bss.utils.interrupts import Interrupted
from tests import tiny
from tests.training.test_checkpoints import assert_identical

CPU = torch.device("cpu")
SPL = replace(tiny.SPL, imbalance_every=0)
EVERY_STEP = replace(SPL, epochs=2, checkpoint_minutes=0.0)


def run(out, recipe=SPL, *, model=None, resume=False, **parts):
    data = replace(tiny.splits(), **parts)
    return fit(model or tiny.model(norm=True), data, recipe, Run(out, out, CPU, resume=resume))


class Spoiled(torch.utils.data.Dataset):
    """From the n-th sample on, the samples are not finite, or something happens."""

    def __init__(self, at, act=None):
        self.dataset, self.at, self.count = tiny.splits().train, at, 0
        self.act = act or (lambda sample: {**sample, "audio": sample["audio"] * math.nan})

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        self.count += 1
        sample = self.dataset[index]
        return self.act(sample) if self.count >= self.at else sample


def failed_at(out, at, recipe=EVERY_STEP, *, act=None, error=NotFiniteError):
    """A run that fails at the n-th training sample, of which an epoch reads 56; what is said."""
    with pytest.raises(error) as said:
        run(out, recipe, train=Spoiled(at, act))
    return str(said.value)


@pytest.fixture(scope="module")
def not_finite(tmp_path_factory):
    """A run that has failed in the fourth step of its second epoch, and was saved after every one."""
    out = tmp_path_factory.mktemp("failed") / "run"
    failed_at(out, 56 + 30)
    return out


@pytest.fixture
def failed(not_finite, tmp_path):
    """The same, to go on with."""
    return shutil.copytree(not_finite, tmp_path / "failed")


def config_of(out):
    return json.loads((out / "config.json").read_text())


# ---- not finite ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "minutes", [0.0, None, 10.0], ids=["saved after every step", "after every epoch", "at the end"]
)
def test_a_state_that_is_not_finite_is_never_saved_and_the_last_good_one_goes_on(tmp_path, minutes):
    recipe, out = replace(SPL, checkpoint_minutes=minutes), tmp_path / "run"
    said = failed_at(out, 56 + 20, recipe)
    kept = "the state after step 2 of epoch 2" if minutes == 0.0 else "the state after epoch 1"
    assert "the training loss of epoch 2 is nan" in said and "step 3" in said and kept in said
    assert "add --set lr=0.005" in said and len(said.splitlines()) == 2
    for name in ("last.pt", "previous.pt", "best.pt"):
        for value in read_checkpoint(out / name)["model"].values() if (out / name).exists() else ():
            assert value.isfinite().all(), name
    assert read_json(out, "summary.json")["failed"]["how"] == "not finite" and not (out / "done").exists()
    with pytest.raises(
        RunFolderError, match=r"failed and unfinished, 1 epoch so far; not finite after step \d of epoch 2"
    ):
        read_run(out)  # what a report says of it
    run(out, recipe)  # the samples are mended
    run(tmp_path / "whole", recipe)
    assert_identical(tmp_path / "whole", out)


class Breaking(nn.Module):
    """The network of tests/tiny.py, one of whose values is infinite after some training steps."""

    def __init__(self, spoil, after):
        super().__init__()
        self.inner, self.spoil, self.after, self.seen = tiny.model(norm=True), spoil, after, 0

    def forward(self, batch):
        if self.training:
            self.seen += 1
            if self.seen > self.after:
                self.spoil(self.inner)
        return self.inner(batch)


def infinite_buffer(network):
    network.encoders["audio"][1].running_var.fill_(math.inf)


@torch.no_grad()
def infinite_weight(network):
    network.heads["visual"].bias[0] = -math.inf


@pytest.mark.parametrize(
    ("spoil", "name"), [(infinite_buffer, "running_var"), (infinite_weight, "epoch 2 is (nan|inf)")]
)
def test_weights_and_buffers_that_are_not_finite_are_not_saved_either(tmp_path, spoil, name):
    with pytest.raises(NotFiniteError, match=rf"(?s){name}.*keeps the state after step 2 of epoch 2"):
        run(tmp_path, EVERY_STEP, model=Breaking(spoil, 7 + 2))
    saved = read_checkpoint(tmp_path / "last.pt")
    assert (saved["finished_epochs"], saved["step"]) == (1, 2)


TENSORS = {
    "empty": torch.zeros(0),
    "count": torch.tensor(3),
    "scalar": torch.tensor(1.0),
    "double": torch.full((2,), 1e300, dtype=torch.float64),
    "large": torch.full((9,), 3e38),  # finite; the sum of their squares is not
    "half": torch.full((3,), 6e4, dtype=torch.float16),
    "brain": torch.ones(2, 2, dtype=torch.bfloat16),
}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["scalar", "double", "large", "half", "brain"])
def test_one_number_that_is_not_finite_is_found_among_tensors_of_all_kinds(name, value):
    assert first_not_finite(TENSORS) is None and first_not_finite({}) is None
    broken = TENSORS[name].clone()
    broken.view(-1)[-1] = value
    assert first_not_finite({**TENSORS, name: broken}) == name


def test_an_optimiser_that_is_not_finite_is_not_saved(tmp_path):
    recipe = replace(EVERY_STEP, optimizer="adam", lr=1e-30)  # the square of the gradient overflows, the weights stay
    network = tiny.model()
    network.encoders["audio"][0].weight.register_hook(lambda gradient: gradient * 1e30)
    with pytest.raises(NotFiniteError, match=r"the optimiser's exp_avg_sq of parameter 0 is not finite any more"):
        run(tmp_path, recipe, model=network)


def test_a_mask_may_be_infinite_from_the_start(tmp_path):
    network = tiny.model()
    network.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    run(tmp_path, replace(SPL, epochs=1), model=network)
    assert (tmp_path / "done").exists()


def test_a_loss_is_watched_without_a_wait_for_the_device():
    """The step in which a sum stopped being finite is counted in a tensor; on a GPU nothing is looked at before."""
    from bss.training.loops import Totals

    totals = Totals(torch.zeros((), dtype=torch.float64), steps=2)
    for loss in (1.0, 2.0, math.inf, 1.0):
        totals.add(torch.tensor(loss), 8)
    assert (int(totals.sound), totals.steps, totals.samples) == (4, 6, 32)


def test_a_signal_does_not_hide_that_the_state_is_not_finite(tmp_path):
    """A cluster starts again what was stopped by SIGTERM; this must not be started again."""

    def act(sample):
        os.kill(os.getpid(), signal.SIGTERM)
        return {**sample, "audio": sample["audio"] * math.nan}

    assert "is nan" in failed_at(tmp_path, 60, SPL, act=act)
    assert read_checkpoint(tmp_path / "last.pt")["step"] == 0


def test_without_a_checkpoint_the_same_command_begins_anew(tmp_path):
    assert "nothing is saved yet, so the same command begins anew: add --set lr=" in failed_at(tmp_path, 3, SPL)
    run(tmp_path, replace(SPL, lr=0.01))
    assert config_of(tmp_path)["recipe"]["lr"] == 0.01 and (tmp_path / "done").exists()


# ---- going on with other numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"lr": 0.005}, {"precision": "fp16"}, {"batch_size": 4}, {"lr": 0.01, "batch_size": 12}]
)
def test_after_a_failure_a_run_goes_on_with_another_rate_batch_size_or_precision(failed, change, capsys):
    run(failed, replace(EVERY_STEP, **change))
    assert "it has ended before (not finite) after step 4 of epoch 2; " in capsys.readouterr().out
    config = config_of(failed)
    (part,) = config["continued"]
    assert part["changed"] == {name: [getattr(EVERY_STEP, name), value] for name, value in change.items()}
    assert (part["finished_epochs"], part["step"], part["after"]["how"]) == (1, 3, "not finite")
    assert {name: config["recipe"][name] for name in change} == change
    assert {name: config["identity"][name] for name in change} == change
    assert "failed" not in read_json(failed, "summary.json")


def test_a_precision_without_a_loss_scale_leaves_the_saved_one(tmp_path):
    failed_at(tmp_path, 56 + 30, replace(EVERY_STEP, precision="fp16"))
    run(tmp_path, replace(EVERY_STEP, precision="bf16"))
    assert config_of(tmp_path)["recipe"]["precision"] == "bf16" and (tmp_path / "done").exists()


def test_a_state_from_which_a_run_fails_again_is_not_advised_a_third_time(tmp_path):
    """The state of the step before numbers overflow is finite, and no rate helps it."""
    failed_at(tmp_path, 56 + 30, SPL)
    said = failed_at(tmp_path, 30, replace(SPL, lr=0.005))
    assert "failed for the second time from the state after epoch 1: begin anew, with --set overwrite=true" in said
    run(tmp_path, replace(SPL, lr=0.0005, overwrite=True))
    assert "continued" not in config_of(tmp_path) and (tmp_path / "done").exists()


def test_another_batch_size_goes_on_where_the_samples_are_not_seen_yet(failed):
    """Three batches of 8 are done: 24 samples. Batches of 9 go on at the 18th, and all of them are whole."""
    seen = []

    class Recording(Spoiled):
        def __getitem__(self, index):
            seen.append(index)
            return self.dataset[index]

    run(failed, replace(EVERY_STEP, batch_size=9, epochs=2), train=Recording(0))
    assert len(seen) == 54 - 18
    row = tiny.rows(failed)[1]
    assert (row["steps"], row["samples"]) == (3 + 4, 24 + 36)


def test_a_batch_size_that_was_changed_is_stopped_and_goes_on_at_its_own_place(failed, tmp_path):
    two = shutil.copytree(failed, tmp_path / "two")
    smaller = replace(EVERY_STEP, batch_size=9)
    run(failed, smaller)
    with pytest.raises(Interrupted):
        run(two, smaller, train=tiny.Signalling(tiny.splits().train, 15, signal.SIGTERM))
    assert read_checkpoint(two / "last.pt")["repeated"] == 6
    run(two, smaller)
    assert_identical(failed, two)


def test_an_ordinary_stop_goes_on_with_the_same_numbers_alone(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, EVERY_STEP, train=tiny.Signalling(tiny.splits().train, 70, signal.SIGTERM))
    assert read_json(tmp_path, "summary.json")["failed"]["how"] == "stopped"
    for change in ({"lr": 0.005}, {"precision": "bf16"}, {"batch_size": 4}):
        with pytest.raises(RunFolderError, match=f"unfinished run that differs .*{next(iter(change))}"):
            run(tmp_path, replace(EVERY_STEP, **change))


def test_a_stop_before_the_next_checkpoint_leaves_the_failure_as_it_is(tmp_path):
    failed_at(tmp_path, 56 + 30, SPL)
    slower = replace(SPL, lr=0.005)
    with pytest.raises(Interrupted):
        run(tmp_path, slower, score=tiny.Signalling(tiny.splits().score, 5, signal.SIGTERM))
    assert read_json(tmp_path, "summary.json")["failed"]["how"] == "not finite"
    run(tmp_path, slower)
    assert len(config_of(tmp_path)["continued"]) == 2


def test_what_a_failure_does_not_allow_is_still_refused(failed):
    with pytest.raises(RunFolderError, match=r"differs from this one \(momentum: 0\.9 there, 0\.8 here\)"):
        run(failed, replace(EVERY_STEP, lr=0.005, momentum=0.8))


def test_a_run_that_counts_updates_keeps_its_batch_size(tmp_path):
    counted = replace(EVERY_STEP, updates=20)
    assert "--batch-size" not in failed_at(tmp_path, 56 + 30, counted, act=out_of_memory, error=MemoryRanOutError)
    with pytest.raises(RunFolderError, match="batch_size: 8 there, 4 here"):
        run(tmp_path, replace(counted, batch_size=4))
    run(tmp_path, replace(counted, lr=0.01))
    assert read_json(tmp_path, "summary.json")["updates"] == 20


# ---- memory --------------------------------------------------------------------------------------------------------


def out_of_memory(sample):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...")


def test_memory_that_runs_out_is_told_in_two_lines_and_a_smaller_batch_goes_on(tmp_path):
    said = failed_at(tmp_path, 56 + 30, act=out_of_memory, error=MemoryRanOutError)
    first, second = said.splitlines()
    assert "memory ran out after step 3 of epoch 2 (CUDA out of memory. Tried to allocate 2.00 GiB." in first
    assert second == (
        f"{tmp_path} keeps the state after step 3 of epoch 2, and the same command goes on from it: "
        "add --set accumulate=2 or --batch-size 4 or --set precision=bf16"
    )
    assert read_json(tmp_path, "summary.json")["failed"]["how"] == "out of memory"
    other = shutil.copytree(tmp_path, tmp_path / "other")
    run(other, replace(EVERY_STEP, accumulate=2))
    assert config_of(other)["continued"][0]["changed"] == {"accumulate": [1, 2]} and (other / "done").exists()
    run(tmp_path, replace(EVERY_STEP, batch_size=4))
    assert config_of(tmp_path)["continued"][0]["after"]["how"] == "out of memory" and (tmp_path / "done").exists()


def test_what_another_process_said_of_its_end_outlasts_the_checkpoint_that_waited_for_this_one(tmp_path):
    """Its connection closes, so this process ends too, and writes the state after epoch 1 that it held in memory."""
    failure = {"how": "out of memory", "epoch": 1, "step": 2, "reason": "CUDA out of memory."}

    def closed(sample):
        (tmp_path / "summary.json").write_text(json.dumps(sealed({"failed": failure})))  # as the other one does
        raise RuntimeError("Connection closed by peer")

    failed_at(tmp_path, 56 + 30, replace(SPL, epochs=2), act=closed, error=RuntimeError)
    assert read_checkpoint(tmp_path / "last.pt")["finished_epochs"] == 1
    assert read_json(tmp_path, "summary.json")["failed"] == failure
    run(tmp_path, replace(SPL, epochs=2, batch_size=4))
    assert config_of(tmp_path)["continued"][0]["after"]["how"] == "out of memory" and (tmp_path / "done").exists()


def test_memory_that_a_network_alone_does_not_fit_in_is_told_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr("bss.training.engine.parts", lambda *_: out_of_memory(None))
    with pytest.raises(MemoryRanOutError, match=r"before the training could begin \(CUDA out of memory\..*fit, or"):
        run(tmp_path)


def test_the_ways_in_which_memory_runs_out():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60)
    assert ran_out_of_memory(error.value)
    assert ran_out_of_memory(MemoryError()) and ran_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert ran_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not ran_out_of_memory(RuntimeError("mat1 and mat2 must have the same dtype"))
    assert not ran_out_of_memory(ValueError("DefaultCPUAllocator"))


# ---- scores that cannot be packed ----------------------------------------------------------------------------------


def test_an_empty_file_of_scores_is_packed_as_no_scores(tmp_path):
    """The fault: "cannot mmap an empty file" and exit status 1, in place of 75."""
    (tmp_path / "scores.raw").touch()
    RunFolder(tmp_path).pack_scores(["a", "b"], torch.zeros(2))
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["loss"].shape == (0, 2)


def test_sigterm_ends_with_its_own_status_when_there_are_no_scores_yet(tmp_path):
    """A first epoch that goes on leaves an empty file of scores, and a second signal comes before the next pass."""
    with pytest.raises(Interrupted):
        run(tmp_path, EVERY_STEP, train=tiny.Signalling(tiny.splits().train, 3, signal.SIGTERM))
    saved = read_checkpoint(tmp_path / "last.pt")
    assert saved["step"] == 1
    (tmp_path / "scores.raw").write_bytes(b"")
    folder = RunFolder(tmp_path)
    with pytest.raises(Interrupted) as stopped, packing(folder):
        raise Interrupted(signal.SIGTERM)
    assert stopped.value.status == 75


def packing(folder):
    from bss.training.engine import _scores_packed

    return _scores_packed(folder, tiny.splits())


def test_a_row_of_scores_that_a_full_disk_has_cut_hides_neither_the_error_nor_the_rows(tmp_path):
    folder = RunFolder(tmp_path)
    table = tiny.splits().labels_N
    whole = np.zeros(1, [("epoch", np.int64), *((name, np.float32, len(table)) for name in "abc")]).tobytes()
    (tmp_path / "scores.raw").write_bytes(whole + whole[:100])
    with pytest.raises(RunFolderError, match="No space left"), packing(folder):
        raise RunFolderError("cannot write to the run folder: No space left on device")
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["epoch"].tolist() == [0]


# ---- more epochs ---------------------------------------------------------------------------------------------------


LONG = {
    "cl": replace(tiny.CL, imbalance_every=0, lr_step=2, schedule=replace(tiny.CL.schedule, rescore=2)),
    "online": replace(SPL, lr_step=2, optimizer="adam", schedule=replace(SPL.schedule, rescore="online", history=0.5)),
    "paper": replace(SPL, schedule=replace(SPL.schedule, sampler="resampling", **{**PAPER_SCHEDULE, "rescore": 2})),
}


@pytest.mark.parametrize("arm", LONG)
def test_a_finished_run_goes_on_to_more_epochs_and_ends_as_if_it_had_had_them_all_along(tmp_path, arm):
    recipe, longer = (replace(LONG[arm], epochs=epochs) for epochs in (2, 5))
    run(tmp_path / "parts", recipe)
    run(tmp_path / "parts", longer, resume=True)
    run(tmp_path / "whole", longer)
    assert_identical(tmp_path / "whole", tmp_path / "parts")
    config = config_of(tmp_path / "parts")
    assert config["recipe"]["epochs"] == 5 and config["continued"][0]["changed"] == {"epochs": [2, 5]}
    assert config["continued"][0]["processes"] == 1 and config["continued"][0]["threads"] == torch.get_num_threads()
    again = run(tmp_path / "parts", longer, resume=True)
    assert again["updates"] == sum(row["steps"] for row in tiny.rows(tmp_path / "parts"))


def test_a_finished_run_does_not_go_on_unless_it_is_asked_to(tmp_path):
    run(tmp_path, replace(SPL, epochs=1))
    with pytest.raises(RunFolderError, match=r"finished run \(1 epoch\).*--resume.*more --epochs"):
        run(tmp_path, replace(SPL, epochs=2))
    with pytest.raises(RunFolderError, match=r"lr: 0\.05 there, 0\.01 here"):
        run(tmp_path, replace(SPL, epochs=2, lr=0.01), resume=True)
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_kill_while_a_finished_run_is_opened_again_loses_nothing(tmp_path, monkeypatch, at):
    short, longer = replace(SPL, epochs=1), replace(SPL, epochs=2)
    run(tmp_path / "run", short)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        where = "bss.training.run_folder.whole_file" if at == "before" else "bss.training.epochs.Training.go_on"
        patch.setattr(where, lambda *_, **__: signal.raise_signal(signal.SIGINT) or signal.raise_signal(signal.SIGINT))
        run(tmp_path / "run", longer, resume=True)
    assert (tmp_path / "run" / "done").exists() == (at == "before")
    run(tmp_path / "run", longer, resume=True)
    run(tmp_path / "whole", longer)
    assert_identical(tmp_path / "whole", tmp_path / "run")


def test_scores_of_a_finished_run_that_are_damaged_keep_it_as_it_is(tmp_path):
    run(tmp_path, replace(SPL, epochs=1))
    (tmp_path / "scores.npz").write_bytes(b"PK")
    with pytest.raises(RunFolderError, match=r"cannot go on to more epochs: scores\.npz is damaged"):
        run(tmp_path, replace(SPL, epochs=2), resume=True)
    assert (tmp_path / "done").exists() and (tmp_path / "summary.json").exists()


def test_more_epochs_are_refused_where_what_was_trained_depends_on_their_number(tmp_path):
    """A method's warm-up is a quarter of the run's epochs at most."""
    recipe = replace(SPL, epochs=4, method="smv", schedule=replace(SPL.schedule, rescore="pass"))
    run(tmp_path, recipe)
    with pytest.raises(RunFolderError, match=r"method\.warmup_epochs: 1 there, 2 here"):
        run(tmp_path, replace(recipe, epochs=8), resume=True)


def test_a_run_that_counts_updates_has_no_more_epochs_to_go_on_to(tmp_path):
    counted = replace(SPL, updates=7)
    run(tmp_path, counted)
    with pytest.raises(RunFolderError, match="epochs: 3 there, 9 here"):
        run(tmp_path, replace(counted, epochs=9), resume=True)


def test_a_run_does_not_end_before_the_epoch_that_it_has_come_to(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, SPL, train=tiny.Signalling(tiny.splits().train, 56 + 20, signal.SIGTERM))
    with pytest.raises(RunFolderError, match=r"unfinished run that is in epoch 2 already: pass --epochs 2 or more"):
        run(tmp_path, replace(SPL, epochs=1))
    run(tmp_path, replace(SPL, epochs=2))
    assert config_of(tmp_path)["recipe"]["epochs"] == 2 == len(tiny.rows(tmp_path))
