"""Checkpoints: which files a kill leaves, what a checkpoint must hold, and that best.pt and last.pt cannot disagree."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from bss.training.checkpoint import snapshot
from bss.training.checkpoint_file import read_checkpoint, write_checkpoint
from bss.training.engine import fit
from bss.training.run import Run
from bss.utils.errors import RunFolderError
from bss.utils.interrupts import Interrupted
from tests import tiny
from tests.training.test_resume import assert_identical

CPU = torch.device("cpu")
# The best epoch is the first, and then the third; every epoch is saved as it ends.
RECIPE = replace(tiny.SPL, seed=0, epochs=4, imbalance_every=0, checkpoint_minutes=None)
HELD = replace(RECIPE, checkpoint_minutes=10.0)  # nothing is, before the run ends


def run(out, recipe=RECIPE, *, callbacks=(), **parts):
    data = replace(tiny.splits(noise=0.3), **parts)
    return fit(tiny.model(norm=True, dropout=0.3), data, recipe, Run(out, out, CPU), callbacks=callbacks)


def stopped(out, at, recipe=RECIPE):
    """A run that SIGTERM stops when the training samples have been read so often; an epoch reads 56."""
    with pytest.raises(Interrupted):
        run(out, recipe, train=tiny.Signalling(tiny.splits(noise=0.3).train, at, signal.SIGTERM))
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    run(out)
    return out


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    out = tmp_path_factory.mktemp("held") / "run"
    run(out, HELD)
    return out


@pytest.fixture(scope="module")
def in_epoch_four(tmp_path_factory):
    """Stopped in the fourth epoch, when the third one is the best so far."""
    return stopped(tmp_path_factory.mktemp("stopped") / "run", 60 + 60 + 60 + 20)


def test_a_run_with_neutral_pictures_is_another_than_one_whose_pictures_were_mended(tmp_path):
    out, blank = tmp_path / "run", {"train": ["3"]}
    recipe, training = replace(RECIPE, epochs=1), tiny.splits(noise=0.3).train
    with pytest.raises(Interrupted):
        run(out, recipe, train=tiny.Signalling(training, 20, signal.SIGTERM), blank=blank)
    assert json.loads((out / "config.json").read_text())["blank"] == blank
    for other in ({}, {"train": ["4"]}, {"test": ["3"]}):
        with pytest.raises(RunFolderError, match=r"differs from this one \(neutral in place of \(hash\)"):
            run(out, recipe, blank=other)
    run(out, recipe, blank=blank)
    run(tmp_path / "plain", recipe)
    config = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert "blank" not in config and not any("neutral" in name for name in config["identity"])


# ---- one protocol --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint_minutes", [None, 0.0], ids=["between epochs", "after every step"])
def test_a_run_that_was_killed_before_any_renaming_ends_as_the_one_that_was_not(
    tmp_path, monkeypatch, checkpoint_minutes
):
    recipe, original, left = replace(RECIPE, epochs=3, checkpoint_minutes=checkpoint_minutes), os.replace, []

    def kill_here(source, target):
        """What a kill at this moment leaves."""
        if str(target).endswith(".pt") and (checkpoint_minutes is None or len(left) % 7 == 0):
            killed = tmp_path / f"killed{len(left)}"  # without the claim of this process, which lives
            left.append(shutil.copytree(tmp_path / "run", killed, ignore=shutil.ignore_patterns("claim.json")))
        else:
            left.append(None)
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", kill_here)
        run(tmp_path / "run", recipe)
    folders = [folder for folder in left if folder is not None]
    assert len(folders) >= 6
    for folder in folders:
        run(folder, recipe)
        assert_identical(tmp_path / "run", folder)


class AfterEpoch:
    """Does something after every epoch: a callback."""

    def __init__(self, do):
        self.do = do

    def start(self, config):
        pass

    def log(self, row, updates):
        self.do(row["epoch"])

    def finish(self, summary):
        pass


def test_a_short_run_writes_its_checkpoints_once_and_ends_as_one_that_writes_them_every_epoch(whole, tmp_path):
    out, there = tmp_path / "run", []
    run(out, HELD, callbacks=[AfterEpoch(lambda epoch: there.append(list(out.glob("*.pt"))))])
    assert there == [[]] * 4
    for name in ("last.pt", "best.pt"):
        here, there = (read_checkpoint(folder / name) for folder in (out, whole))
        assert here.keys() == there.keys() and here["model"].keys() == there["model"].keys()
        assert all(torch.equal(value, there["model"][key]) for key, value in here["model"].items())
    assert [each["checksum"] for each in tiny.rows(out)] == [each["checksum"] for each in tiny.rows(whole)]


def test_a_short_run_that_is_killed_begins_anew(held, tmp_path):
    out, killed = tmp_path / "run", tmp_path / "killed"

    def kill(epoch):
        if epoch == 2:
            shutil.copytree(out, killed, ignore=shutil.ignore_patterns("claim.json"))

    run(out, HELD, callbacks=[AfterEpoch(kill)])
    assert len(tiny.rows(killed)) == 3 and not list(killed.glob("*.pt"))
    run(killed, HELD)
    assert "continued" not in json.loads((killed / "config.json").read_text()) and len(tiny.rows(killed)) == 4
    assert_identical(held, killed)


class Unreadable(tiny.Features):
    """Samples that cannot be read any more once the fourth epoch is measured; they are read once before training."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        if self.reads > 24 * 4:
            raise OSError("for want of a nail")
        return super().__getitem__(index)


def test_what_waits_is_written_when_a_run_ends_by_whatever_and_goes_on_from_there(held, tmp_path):
    val, out = tiny.splits().val, tmp_path / "run"
    with pytest.raises(OSError, match="nail"):
        run(out, HELD, val=Unreadable(val.audio, val.visual, val.label))
    saved = read_checkpoint(out / "last.pt")
    assert (saved["finished_epochs"], saved["step"]) == (3, 0)
    assert read_checkpoint(out / "best.pt")["epoch"] == 2
    run(out, HELD)
    assert_identical(held, out)


@pytest.mark.parametrize("at", [150, 200], ids=["in epoch three", "in epoch four"])
def test_a_kill_between_the_files_that_waited_leaves_a_run_that_goes_on(held, tmp_path, monkeypatch, at):
    """Stopped in an epoch, with the best weights of an earlier one still to be written."""
    out, original, left = tmp_path / "run", os.replace, []

    def kill_here(source, target):
        if str(target).endswith(".pt"):
            left.append(shutil.copytree(out, tmp_path / f"{len(left)}", ignore=shutil.ignore_patterns("claim.json")))
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", kill_here)
        stopped(out, at, HELD)
    assert len(left) == 2
    for folder in (*left, out):
        run(folder, HELD)
        assert_identical(held, folder)


def test_a_state_that_waits_does_not_go_on_with_the_network():
    network = tiny.model(norm=True)
    state = {"model": network.state_dict(), "rows": ["a"], "row": {"loss": 0.5, "none": None}, "pair": (1, 2)}
    copied = snapshot(state)
    network.heads["audio"].weight.data.add_(1)
    weight = "heads.audio.weight"
    assert torch.equal(copied["model"][weight] + 1, state["model"][weight])
    assert copied["model"]._metadata == state["model"]._metadata
    assert {**copied, "model": 0} == {**state, "model": 0} and copied["rows"] is not state["rows"]
    assert snapshot({"model": {"weight": torch.empty(17 * 2**20)}}) is None  # 68 MiB, of which no page is touched


@pytest.mark.parametrize("lost", ["missing", "older", "torn"])
def test_a_kill_between_last_and_best_makes_best_again_from_last(whole, in_epoch_four, tmp_path, lost):
    """Its checkpoint ends the third epoch, which is the best; best.pt has not come to it."""
    out = shutil.copytree(in_epoch_four, tmp_path / "run")
    shutil.copy(out / "previous.pt", out / "last.pt")
    saved = read_checkpoint(out / "last.pt")
    assert (saved["finished_epochs"], saved["step"]) == (3, 0)
    kept = read_checkpoint(out / "best.pt")
    assert kept["epoch"] == 2
    if lost == "older":
        rows = tiny.rows(out)
        write_checkpoint(out / "best.pt", {**kept, "epoch": 0, "row": rows[0], "val": rows[0]["val"]})
    else:
        (out / "best.pt").write_bytes(b"PK\x03\x04")
        if lost == "missing":
            (out / "best.pt").unlink()
    run(out)
    assert_identical(whole, out)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), r"best\.pt.*its weights are lost"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), r"best\.pt is torn or damaged.*its weights are lost"),
        (
            lambda path: write_checkpoint(path, {**read_checkpoint(path), "epoch": 0}),
            r"best\.pt is not of epoch 3, the best one so far: its weights are lost, so pass another --out",
        ),
    ],
    ids=["missing", "torn", "another epoch"],
)
def test_a_best_checkpoint_that_is_lost_is_named_before_anything_is_trained(in_epoch_four, tmp_path, damage, words):
    out = shutil.copytree(in_epoch_four, tmp_path / "run")
    damage(out / "best.pt")
    with pytest.raises(RunFolderError, match=words):
        run(out)
    assert len(tiny.rows(out)) == 3


def test_a_best_checkpoint_of_an_epoch_that_is_trained_again_is_made_again(whole, tmp_path):
    """The checkpoint that ends the third epoch is damaged, and the one before it knows of two."""
    out = stopped(tmp_path / "run", 120)
    early = {name: (out / name).read_bytes() for name in ("last.pt", "scores.raw")}
    stopped(out, 60)
    assert read_checkpoint(out / "best.pt")["epoch"] == 2
    for name, content in early.items():
        (out / name).write_bytes(content)
    run(out)
    assert_identical(whole, out)


def test_an_epoch_that_is_the_best_no_longer_when_it_is_trained_again_does_not_lend_its_weights(tmp_path, monkeypatch):
    """The fault: the summary named one epoch, and the test was measured with another one's weights."""
    out = stopped(tmp_path / "run", 130)
    kept, row = read_checkpoint(out / "best.pt"), tiny.rows(out)[0]
    assert kept["epoch"] == 0
    # As if the third epoch had been better on two processes; its checkpoint is lost, and it is worse on one.
    write_checkpoint(out / "best.pt", {**kept, "epoch": 2, "row": {**row, "epoch": 2}})
    monkeypatch.setattr("bss.training.checkpoint.Progress.note", never_better)
    with pytest.raises(RunFolderError, match=r"best\.pt is not of epoch 1, which validation chose"):
        run(out)
    assert len(tiny.rows(out)) == 3 and not (out / "done").exists()


def never_better(progress, row, watched):
    progress.last = row
    progress.best = progress.best or row


def test_the_weights_of_the_chosen_epoch_are_checked_before_they_are_measured(in_epoch_four, tmp_path):
    out = shutil.copytree(in_epoch_four, tmp_path / "run")

    class Meddling(torch.utils.data.Dataset):
        """Somebody writes another best.pt while the last epoch is trained."""

        def __init__(self, dataset):
            self.dataset = dataset

        def __len__(self):
            return len(self.dataset)

        def __getitem__(self, index):
            if read_checkpoint(out / "best.pt")["epoch"] != 1:
                write_checkpoint(out / "best.pt", {**read_checkpoint(out / "best.pt"), "epoch": 1})
            return self.dataset[index]

    with pytest.raises(RunFolderError, match=r"best\.pt is not of epoch 3, which validation chose, so the test cannot"):
        run(out, train=Meddling(tiny.splits(noise=0.3).train))
    assert not (out / "done").exists()


# ---- what a checkpoint holds ---------------------------------------------------------------------------------------


def saved_again(path, **changes):
    """What another program does that loads a checkpoint and saves it."""
    state = torch.load(path, weights_only=True)
    torch.save({**state, **changes}, path)


def test_a_checkpoint_that_was_saved_again_with_another_number_is_refused(in_epoch_four, tmp_path):
    out = shutil.copytree(in_epoch_four, tmp_path / "run")
    saved = read_checkpoint(out / "last.pt")
    saved["model"]["heads.audio.weight"][0, 0] += 1e-3
    for name in ("last.pt", "previous.pt"):
        saved_again(out / name, model=saved["model"])
        with pytest.raises(RunFolderError, match=rf"{name} was changed after it was written: its stamp does not fit"):
            read_checkpoint(out / name)
    with pytest.warns(UserWarning, match="was changed after"), pytest.raises(RunFolderError, match="no whole one"):
        run(out)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (3, r"last\.pt is of format 3, and this version of bss knows 2: update bss"),
        ("2", r"last\.pt is no checkpoint: its format is '2'"),
        (True, "its format is True"),
        (0, "its format is 0"),
    ],
)
def test_a_checkpoint_of_a_newer_or_of_no_version_is_refused_by_name(tmp_path, version, words):
    torch.save({"format": version, "epoch": 0}, tmp_path / "last.pt")
    with pytest.raises(RunFolderError, match=words):
        read_checkpoint(tmp_path / "last.pt")


def test_checkpoints_of_older_versions_have_no_stamp_and_are_read(tmp_path):
    for state in ({"format": 2, "epoch": 0}, {"epoch": 0}):
        torch.save(state, tmp_path / "last.pt")
        assert read_checkpoint(tmp_path / "last.pt") == state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"table": None}, r"has None for its table"),
        ({"step": -3}, r"has -3 for its step"),
        ({"finished_epochs": "3"}, r"has '3' for its finished_epochs"),
        ({"randomness": {}}, r"has {} for its randomness"),
        ({"optimizer": {}}, r"the checkpoint's optimizer does not fit this run \(KeyError: 'param_groups'\)"),
        ({"spent": {"days": 1}}, r"the checkpoint's spent does not fit this run"),
        ({"sampler": {"order": 1}}, r"the checkpoint's epoch under way does not fit this run"),
    ],
)
def test_an_odd_entry_of_a_checkpoint_is_named(in_epoch_four, tmp_path, change, words):
    """Such as an older version may have written, whose files have no stamp."""
    out = shutil.copytree(in_epoch_four, tmp_path / "run")
    write_checkpoint(out / "last.pt", {**read_checkpoint(out / "last.pt"), **change})
    with pytest.raises(RunFolderError, match=words):
        run(out)


@pytest.mark.parametrize("name", ["identity", "recipe", "model", "scaler", "finished_epochs", "sampler"])
def test_an_entry_that_a_checkpoint_lacks_is_named(in_epoch_four, tmp_path, name):
    out = shutil.copytree(in_epoch_four, tmp_path / "run")
    saved = read_checkpoint(out / "last.pt")
    del saved[name]
    write_checkpoint(out / "last.pt", saved)
    with pytest.raises(RunFolderError, match=f"the checkpoint in .* has no {name}, so nothing can go on from it"):
        run(out)


def test_another_network_is_named_in_a_line_or_two(in_epoch_four, tmp_path):
    out = shutil.copytree(in_epoch_four, tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"the checkpoint's model does not fit .*Unexpected key") as refused:
        fit(tiny.model(), tiny.splits(noise=0.3), replace(RECIPE, seed=0), Run(out, out, CPU))
    assert "was the network changed since?" in str(refused.value) and str(refused.value).count("\n") == 1


# ---- what is beside it ---------------------------------------------------------------------------------------------


def bytes_changed(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def a_row_changed(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["val"]["accuracy"]["all"] = 1.0
    rows[1].pop("checksum")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("scores.raw", bytes_changed, r"scores\.raw is damaged or another run's: its row 3 is not the one"),
        ("scores.raw", lambda path: path.write_bytes(b""), "has less than its checkpoint says"),
        ("metrics.jsonl", a_row_changed, r"metrics\.jsonl is damaged or another run's: its row 2 is not the one"),
        ("metrics.jsonl", lambda path: path.write_text("{"), r"metrics\.jsonl, line 1, is damaged.*another --out"),
        ("metrics.jsonl", lambda path: path.unlink(), "has less than its checkpoint says"),
        ("config.json", lambda path: path.write_text("{"), r"config\.json is damaged.*another --out"),
        ("config.json", lambda path: path.write_text("[]"), r"config\.json is damaged: it holds a list.*another --out"),
        ("config.json", lambda path: path.write_text("{}"), r"config\.json has no number of training samples"),
        ("config.json", lambda path: path.unlink(), r"config\.json is damaged or missing.*another --out"),
    ],
)
def test_a_damaged_file_beside_the_checkpoint_is_named_when_the_run_goes_on(
    in_epoch_four, tmp_path, name, damage, words
):
    out = shutil.copytree(in_epoch_four, tmp_path / "run")
    damage(out / name)
    with pytest.raises(RunFolderError, match=words) as refused:
        run(out)
    assert len(str(refused.value).splitlines()) <= 2
