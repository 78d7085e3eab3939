"""hits.npz: which test samples a run classified rightly, written with the final test and read back strictly."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from bss.compare.runs import check_comparable, read_run, read_runs
from bss.data.rows import Row, group_ids
from bss.data.splits import Listed
from bss.scoring.metrics import classification_metrics, hits
from bss.training.engine import fit
from bss.training.epochs import Training
from bss.training.run import Run
from bss.training.run_folder import digests, list_hash, read_hits, sealed
from bss.utils.errors import RunFolderError
from tests import tiny


class Spoken(tiny.Features):
    """Samples of speakers, three by three; of the first nothing is known."""

    def listed_rows(self):
        return [Row(f"t{i}", int(label), i, f"speaker{i // 3}" if i else "") for i, label in enumerate(self.label)]


def spoken(**sizes):
    whole = tiny.splits(**sizes)
    test = Spoken(whole.test.audio, whole.test.visual, whole.test.label)
    listed = {"test": Listed([f"t{i}" for i in range(len(test))], test.label)}
    return replace(whole, test=test, listed=listed, group="speaker")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    fit(tiny.model(), spoken(test=31), replace(tiny.SPL, lr=0.3, epochs=5), Run(folder, folder, torch.device("cpu")))
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_hits_are_those_that_the_accuracy_counts():
    heads = {"all": torch.tensor([[2.0, 1], [0, 1], [3, 3]]), "audio": torch.tensor([[0.0, 1], [0, 1], [0, 1]])}
    target = torch.tensor([0, 0, 0])
    found = hits(heads, target)
    assert {name: hit.tolist() for name, hit in found.items()} == {"all": [True, False, True], "audio": [False] * 3}
    assert {n: hit.mean() for n, hit in found.items()} == classification_metrics(heads, target)["accuracy"]


def test_a_run_keeps_the_hits_of_every_head_and_of_both_epochs(trained):
    summary = json.loads((trained / "summary.json").read_text())
    config = json.loads((trained / "config.json").read_text())
    found = read_hits(trained)
    assert summary["chosen_epoch"] < 4  # both sets of weights met the test set
    assert list(found.heads) == list(summary["test"]["last"]["accuracy"])
    assert found.count == 31
    assert found.names == config["lists"]["test"]["hash"]
    assert found.labels.tolist() == [i % 3 for i in range(31)]
    for epoch in ("chosen", "last"):
        assert found.accuracy(epoch) == summary["test"][epoch]["accuracy"]
    assert summary["files"]["hits.npz"] == digests(trained)["hits.npz"]
    with np.load(trained / "hits.npz") as stored:  # as docs/run_folder.md says
        assert stored["chosen"].shape == (4, 4)
        unpacked = np.unpackbits(stored["last"], axis=1, count=int(stored["count"]))
    assert unpacked[1].astype(bool).tolist() == found.of("last", "fused").tolist()


def test_hits_know_the_groups_of_the_test_samples(trained):
    found = read_hits(trained)
    assert found.groups.tolist() == [0, 1, 1, *(i // 3 + 1 for i in range(3, 31))]
    assert found.grouped_by == "speaker"
    assert group_ids(tiny.features(4)) is None


def test_without_names_and_groups_there_are_hits_all_the_same_and_without_validation_those_of_the_last_epoch(tmp_path):
    summary = fit(tiny.model(), tiny.splits(val=0), replace(tiny.CL, val_fraction=0.0), run := run_of(tmp_path))
    found = read_hits(run.out)
    assert (found.names, found.groups, found.grouped_by) == (None, None, None)
    assert found.accuracy("chosen") == found.accuracy("last") == summary["test"]["last"]["accuracy"]
    assert read_run(run.out).hits.count == 30


def run_of(folder):
    return Run(folder / "out", folder, torch.device("cpu"))


def test_hits_of_an_earlier_version_have_no_labels(folder):
    rewrite(folder, label=None)
    run = read_run(folder)
    assert run.hits.labels is None and run.test_labels is None


def test_hits_that_are_not_those_of_the_summary_are_not_written_and_that_is_said(tmp_path, monkeypatch, capsys):
    """A run that goes on with the test alone, on another device, may find a sample on the other side."""
    counted = Training._keep_hits

    def other(self, chosen, last, tested):
        accuracy = {head: value / 2 for head, value in tested["last"]["accuracy"].items()}
        counted(self, chosen, last, {**tested, "last": {**tested["last"], "accuracy": accuracy}})

    monkeypatch.setattr(Training, "_keep_hits", other)
    fit(tiny.model(), tiny.splits(val=0), replace(tiny.CL, epochs=1, val_fraction=0.0), run_of(tmp_path))
    assert not (tmp_path / "out" / "hits.npz").exists()
    assert "no hits.npz: measured again" in capsys.readouterr().out
    assert read_run(tmp_path / "out").hits is None


def test_a_run_that_goes_on_to_more_epochs_drops_its_hits_until_it_is_tested_anew(folder):
    before = read_hits(folder).last
    more = replace(tiny.SPL, lr=0.3, epochs=6)
    fit(tiny.model(), spoken(test=31), more, Run(folder, folder, torch.device("cpu"), resume=True))
    run = read_run(folder)
    assert len(run.rows) == 6
    assert run.hits.accuracy("last") == run.summary["test"]["last"]["accuracy"]
    assert run.hits.last.shape == before.shape


# ---- reading ---------------------------------------------------------------------------------------------------------


def seal(folder):
    """Make the checksums fit whatever is in the folder now."""
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(sealed({**summary, "files": digests(folder)})))


def rewrite(folder, **changed):
    with np.load(folder / "hits.npz") as stored:
        arrays = {name: value for name, value in {**stored, **changed}.items() if value is not None}
    np.savez(folder / "hits.npz", **arrays)
    seal(folder)


def test_a_folder_without_hits_is_read_as_older_ones_are(folder):
    (folder / "hits.npz").unlink()
    seal(folder)
    assert read_run(folder).hits is None


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda run: (run / "hits.npz").unlink(), "hits.npz is missing"),
        (lambda run: (run / "hits.npz").write_bytes(b"PK"), "hits.npz was changed after the run had ended"),
        (lambda run: ((run / "hits.npz").write_bytes(b"PK"), seal(run)), "hits.npz is damaged or missing"),
        (lambda run: rewrite(run, chosen=None), "hits.npz is damaged or missing"),
        (lambda run: rewrite(run, count=np.float64(31)), "count is float64"),
        (lambda run: rewrite(run, count=np.int64(-1)), "count is int64"),
        (lambda run: rewrite(run, count=np.int64(64)), r"chosen is uint8 of shape \(4, 4\)"),
        (
            lambda run: rewrite(run, count=np.int64(30), group=None, label=None),
            "hits.npz: count is 30, and by others 31",
        ),
        (lambda run: rewrite(run, last=np.zeros((3, 4), np.uint8)), r"last is uint8 of shape \(3, 4\)"),
        (lambda run: rewrite(run, last=np.zeros((4, 4), np.uint16)), "it has a head twice, or hits that are no bits"),
        (lambda run: rewrite(run, head=np.array(["all"] * 4)), "it has a head twice"),
        (
            lambda run: rewrite(run, head=np.array(["all", "fused", "audio", "x"])),
            "is of the heads all, fused, audio, x",
        ),
        (lambda run: rewrite(run, group=np.zeros(30, np.int32)), r"group is int32 of shape \(30,\)"),
        (lambda run: rewrite(run, grouped_by=np.array(1)), "grouped_by is int64"),
        (lambda run: rewrite(run, label=np.zeros(30, np.int32)), r"label is int32 of shape \(30,\)"),
        (lambda run: rewrite(run, label=np.arange(31)), "hits.npz: label is 0 to 30, which are no ids of the run's"),
        (lambda run: rewrite(run, label=np.arange(-1, 30)), "hits.npz: label is -1 to 29, which are no ids"),
        (lambda run: rewrite(run, names=np.array("0" * 64)), "hits.npz: names is "),
        (lambda run: rewrite(run, last=np.zeros((4, 4), np.uint8)), "test.last.accuracy.all is .*, and by others 0.0"),
    ],
    ids=[
        *("gone", "changed", "torn", "no-array", "no-number", "negative", "longer", "count", "heads", "wide", "twice"),
        *("other-heads", "groups", "word", "labels", "classes", "below-0", "names", "accuracy"),
    ],
)
def test_damaged_hits_leave_the_run_out_by_name(folder, trained, change, said):
    change(folder)
    with pytest.raises(RunFolderError, match=said):
        read_run(folder)
    found = read_runs([trained, folder])
    assert [run.path for run in found.runs] == [trained]
    assert found.left_out[0][0] == folder


def test_test_lists_are_compared_by_the_hash_that_the_hits_have_where_config_does_not_tell(folder):
    names = list_hash([f"t{i}" for i in range(31)], tiny.features(31, seed=3).label.numpy())
    run = read_run(folder)
    assert run.hash_of("test") == names
    older = replace(run, config={**run.config, "lists": {}}, path=folder / "older")
    assert older.hash_of("test") == names
    other = replace(older, hits=replace(run.hits, names="0" * 64), arm="other")
    with pytest.raises(RunFolderError, match=r"the test list \(hash\) is"):
        check_comparable([run, other])


@pytest.mark.parametrize("what", ["groups", "labels"])
def test_runs_whose_test_samples_have_other_groups_or_labels_do_not_stand_in_one_table(folder, what):
    run = read_run(folder)
    changed = np.zeros_like(getattr(run.hits, what))
    other = replace(run, hits=replace(run.hits, **{what: changed}), arm="other")
    with pytest.raises(RunFolderError, match=f"the {what} of the test samples"):
        check_comparable([run, other])
    check_comparable([run, replace(other, hits=replace(run.hits, **{what: None}), rows=run.rows[:1])])  # it tells none
