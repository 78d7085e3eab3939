import errno
import fcntl
import hashlib
import json
import math
import os
import platform
import signal
import zipfile

import numpy as np
import pytest
import torch

from bss.scoring.table import ScoreTable
from bss.training.run_folder import (
    FILES,
    Hits,
    RunFolder,
    check_files,
    checksum,
    read_checkpoint,
    read_json,
    read_rows,
    sealed,
)
from bss.utils.errors import FileHeldError, RunFolderError, RunHeldError
from tests import fake_windows

NAMES = ["1001_DFA_ANG_XX", "two words", "c"]
LABELS = torch.tensor([2, 0, 1])
HEAD = {"format": 2, "stamp": 1}  # of every checkpoint


def scored(similarity, loss):
    table = ScoreTable(len(similarity))
    table.update(range(len(similarity)), similarity=torch.tensor(similarity), loss=torch.tensor(loss))
    table.synchronize()
    return table


def unfinished_run(path):
    """A run of two epochs that was interrupted in its third."""
    folder = RunFolder(path)
    folder.write_config({"recipe": {"lr": 0.1}})
    for epoch in range(2):
        folder.save_checkpoint("last.pt", {"epoch": epoch})
        folder.save_checkpoint("best.pt", {"epoch": epoch})
        folder.append_metrics({"epoch": epoch})
    folder.append_scores(0, scored([0.5, 0.5, 0.5], [1.0, 2.0, 3.0]), torch.zeros(3))
    return folder


def finished_run(path):
    folder = unfinished_run(path)
    folder.pack_scores(NAMES, LABELS)
    right = {"all": np.array([True, False, True])}
    folder.write_hits(Hits.packed(right, right))
    folder.finish({"test": {}})
    return folder


def contents(path):
    """What a run wrote; beside it lies the claim, for as long as the folder is open."""
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "claim.json"}


# ---- whose folder it is --------------------------------------------------------------------------------------------


def test_the_folder_and_its_parents_are_made(tmp_path):
    assert RunFolder(tmp_path / "runs" / "cremad" / "seed0").path.is_dir()


def test_a_folder_with_a_finished_run_is_refused_with_the_ways_out_and_left_as_it_was(tmp_path):
    finished_run(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(RunFolderError) as error:
        RunFolder(tmp_path)
    said = str(error.value)
    assert f"{tmp_path} holds a finished run (2 epochs)" in said and "--out" in said and "--set overwrite=true" in said
    assert contents(tmp_path) == before


def test_a_finished_run_is_fine_for_one_who_only_wants_it_finished(tmp_path):
    finished_run(tmp_path)
    folder = RunFolder(tmp_path, resume=True)
    assert folder.finished and folder.summary() == {"test": {}}


def test_an_unfinished_run_is_left_as_it_is_for_going_on(tmp_path):
    unfinished_run(tmp_path).close()
    before = contents(tmp_path)
    folder = RunFolder(tmp_path)
    assert not folder.finished and contents(tmp_path) == before
    assert folder.checkpoint() == {**HEAD, "epoch": 1}


# ---- going on ------------------------------------------------------------------------------------------------------


def test_the_checkpoint_before_the_last_is_kept(tmp_path):
    unfinished_run(tmp_path)
    assert read_checkpoint(tmp_path / "previous.pt") == {**HEAD, "epoch": 0}


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    RunFolder(tmp_path).save_checkpoint("best.pt", {"weight": torch.zeros(10**6)})
    with zipfile.ZipFile(tmp_path / "best.pt") as plain, zipfile.ZipFile(tmp_path / "last.pt", "w", 8) as packed:
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    with pytest.raises(RunFolderError, match=r"last\.pt is torn or damaged .*refused, it unpacks to 40\d{5} bytes"):
        read_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize("damage", ["cut", "a flipped bit", "empty", "text"])
def test_a_torn_checkpoint_is_named_and_the_one_before_it_is_used(tmp_path, damage):
    folder = RunFolder(tmp_path)
    for epoch in range(2):
        folder.save_checkpoint("last.pt", {"epoch": epoch, "weight": torch.ones(1000)})
    whole = (tmp_path / "last.pt").read_bytes()
    middle = whole.index(b"\x00\x00\x80\x3f" * 8) + 16  # among the weights, where torch.load does not look
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    torn = {"cut": whole[:-300], "a flipped bit": flipped, "empty": b"", "text": b"hello"}[damage]
    (tmp_path / "last.pt").write_bytes(torn)
    with pytest.warns(UserWarning, match=r"last\.pt is (torn or )?damaged"):
        assert folder.checkpoint()["epoch"] == 0
    (tmp_path / "previous.pt").write_bytes(torn)
    with pytest.warns(UserWarning), pytest.raises(RunFolderError, match=r"no whole one before it: pass another --out"):
        folder.checkpoint()


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(tmp_path):
    assert RunFolder(tmp_path).checkpoint() is None


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    class Exploit:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"epoch": Exploit()}, tmp_path / "last.pt")
    with pytest.raises(RunFolderError, match=r"last\.pt is no checkpoint of a run: .* holds posix\.mkdir at"):
        read_checkpoint(tmp_path / "last.pt")
    torch.save([1, 2], tmp_path / "last.pt")
    with pytest.raises(RunFolderError, match="no checkpoint: it holds a list"):
        read_checkpoint(tmp_path / "last.pt")
    assert not (tmp_path / "owned").exists()


def test_rewinding_cuts_what_came_after_the_checkpoint(tmp_path):
    folder = unfinished_run(tmp_path)
    folder.write_config({"samples": {"train": 3}})
    folder.append_metrics({"epoch": 2})
    folder.append_scores(1, scored([0.1, 0.1, 0.1], [1.0, 1.0, 1.0]), torch.ones(3))
    row = {"epoch": 0, "checksum": checksum({"epoch": 0})}
    assert folder.rewind(epochs=1, scored=1) == [row]
    assert (tmp_path / "metrics.jsonl").read_text() == json.dumps(row) + "\n"
    assert folder.scored == 1
    folder.append_scores(5, scored([0.1, 0.1, 0.1], [7.0, 7.0, 7.0]), torch.ones(3))
    folder.pack_scores(NAMES, LABELS)
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["epoch"].tolist() == [0, 5] and scores["loss"].tolist() == [[1.0, 2.0, 3.0], [7.0, 7.0, 7.0]]


@pytest.mark.parametrize(("epochs", "scored_epochs"), [(3, 0), (1, 2)])
def test_a_folder_with_less_than_its_checkpoint_says_is_refused(tmp_path, epochs, scored_epochs):
    folder = unfinished_run(tmp_path)
    folder.write_config({"samples": {"train": 3}})
    with pytest.raises(RunFolderError, match="has less than its checkpoint says"):
        folder.rewind(epochs=epochs, scored=scored_epochs)


def test_a_continuation_is_noted_in_the_config(tmp_path):
    folder = unfinished_run(tmp_path)
    folder.note_continuation({"finished_epochs": 2, "step": 5})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"] == {"lr": 0.1} and config["continued"][0]["step"] == 5
    assert config["continued"][0]["versions"]["python"] == platform.python_version()


@pytest.mark.parametrize("run", [finished_run, unfinished_run])
def test_overwrite_starts_with_no_file_of_the_older_run(tmp_path, run):
    run(tmp_path)
    RunFolder(tmp_path, overwrite=True)
    assert contents(tmp_path) == {}


def test_overwrite_leaves_foreign_files_and_folders_alone(tmp_path):
    finished_run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "old.pt").write_bytes(b"mine too")
    (tmp_path / "plots").mkdir()
    RunFolder(tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "old.pt", "plots"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_with_foreign_files_alone_is_taken(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path).append_metrics({"epoch": 0})
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_clear_removes_what_a_run_wrote(tmp_path):
    folder = unfinished_run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    folder.clear()
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_an_overwritten_run_does_not_count_as_finished(tmp_path):
    finished_run(tmp_path)
    RunFolder(tmp_path, overwrite=True).append_metrics({"epoch": 0})
    assert not RunFolder(tmp_path).finished


@pytest.mark.parametrize("inner", ["", "below"])
def test_a_path_that_cannot_be_a_folder_is_refused_with_the_way_out(tmp_path, inner):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunFolderError, match=r"cannot make the run folder .*--out"):
        RunFolder(tmp_path / "file" / inner)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_finished_run_consists_of_the_listed_files_alone(tmp_path):
    finished_run(tmp_path)
    whole = {name for name in FILES if not name.endswith(".tmp")}
    assert set(contents(tmp_path)) == whole - {"scores.raw", "previous.pt"}


# ---- metrics, config, summary --------------------------------------------------------------------------------------


def test_every_line_of_metrics_is_on_disk_at_once(tmp_path):
    folder = RunFolder(tmp_path)
    for epoch in range(3):
        row = {"epoch": epoch, "train_loss": 0.5 * epoch, "order": {"age": None}}
        folder.append_metrics(row)
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1]) == {**row, "checksum": checksum(row)}
        assert len(lines) == epoch + 1


def test_a_line_of_metrics_outlives_a_process_that_dies(tmp_path):
    folder = RunFolder(tmp_path)
    child = os.fork()
    if child == 0:
        try:
            folder.append_metrics({"epoch": 0})
        finally:
            os._exit(9)  # nothing is flushed or closed on the way out
    os.waitpid(child, 0)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["epoch"] == 0


def test_config_holds_what_it_was_given_and_the_versions(tmp_path):
    RunFolder(tmp_path).write_config({"recipe": {"lr": 0.1}, "sampler": "SelfPacedSampler"})
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["recipe"], config["sampler"]) == ({"lr": 0.1}, "SelfPacedSampler")
    versions = config["versions"]
    assert versions["python"] == platform.python_version() and versions["numpy"] == np.__version__
    assert versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert {"bss", "torchvision", "torchaudio", "scikit-learn"} < set(versions)


def test_a_package_is_named_as_python_starts_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/bss/__main__.py", "compare", "ks"])
    RunFolder(tmp_path).write_config({})
    assert json.loads((tmp_path / "config.json").read_text())["command"] == ["python", "-m", "bss", "compare", "ks"]


def test_config_holds_command_commit_and_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/CREMAD/train-CL.py", "--sample", "--seed", "3"])
    RunFolder(tmp_path).write_config({})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["command"] == ["train-CL.py", "--sample", "--seed", "3"]
    assert config["machine"]["cores"] == os.cpu_count() and "commit" in config


def test_finish_saves_the_summary_and_marks_the_run(tmp_path):
    folder = RunFolder(tmp_path)
    folder.finish({"chosen_epoch": 3})
    assert json.loads((tmp_path / "summary.json").read_text()) == sealed({"chosen_epoch": 3, "files": {}})
    assert (tmp_path / "done").exists()


def test_a_run_is_not_marked_as_finished_before_its_summary_is_there(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(TypeError):
        folder.finish({"chosen_epoch": object()})
    assert not (tmp_path / "done").exists() and not (tmp_path / "summary.json").exists()


# ---- scores --------------------------------------------------------------------------------------------------------


def test_the_scores_of_several_epochs_become_one_row_each(tmp_path):
    folder = RunFolder(tmp_path)
    folder.append_scores(0, scored([0.0, 0.5, 1.0], [3.0, 2.0, 1.0]), torch.tensor([2.0, 1.0, 0.0]))
    folder.append_scores(4, scored([0.25, 0.5, 0.75], [1.0, 1.5, 4.0]), torch.tensor([1.0, 0.5, 1.25]))
    folder.pack_scores(NAMES, LABELS)
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["similarity"].tolist() == [[0.0, 0.5, 1.0], [0.25, 0.5, 0.75]]
        assert scores["loss"].tolist() == [[3.0, 2.0, 1.0], [1.0, 1.5, 4.0]]
        assert scores["difficulty"].tolist() == [[2.0, 1.0, 0.0], [1.0, 0.5, 1.25]]
        assert scores["epoch"].tolist() == [0, 4]
        assert scores["name"].tolist() == NAMES and scores["label"].tolist() == [2, 0, 1]


def test_the_scores_are_stored_as_float32(tmp_path):
    folder = RunFolder(tmp_path)
    folder.append_scores(0, scored([0.1, 0.2, 0.3], [1.0, 2.0, 3.0]), torch.zeros(3, dtype=torch.float64))
    folder.pack_scores(NAMES, LABELS)
    with np.load(tmp_path / "scores.npz") as scores:
        kinds = [scores[name].dtype for name in ("similarity", "loss", "difficulty")]
    assert kinds == [np.float32] * 3


def test_a_run_without_scores_has_arrays_without_rows(tmp_path):
    RunFolder(tmp_path).pack_scores(NAMES, LABELS)
    with np.load(tmp_path / "scores.npz") as scores:
        shapes = {name: scores[name].shape for name in scores}
    assert shapes == {
        "similarity": (0, 3),
        "loss": (0, 3),
        "difficulty": (0, 3),
        "epoch": (0,),
        "name": (3,),
        "label": (3,),
    }


def test_a_sample_that_was_never_scored_is_kept_as_nan(tmp_path):
    table = ScoreTable(3)
    table.update([0, 2], similarity=torch.tensor([0.5, 1.0]), loss=torch.tensor([1.0, 2.0]))
    table.synchronize()
    folder = RunFolder(tmp_path)
    folder.append_scores(0, table, table.difficulty())
    folder.pack_scores(NAMES, LABELS)
    with np.load(tmp_path / "scores.npz") as scores:
        assert np.isnan(scores["similarity"]).tolist() == [[False, True, False]]


def test_scores_kept_so_far_are_on_disk_before_they_are_packed(tmp_path):
    folder = RunFolder(tmp_path)
    folder.append_scores(0, scored([0.0, 0.5, 1.0], [3.0, 2.0, 1.0]), torch.zeros(3))
    # one int64 for the epoch, then N float32 of each kind
    content = (tmp_path / "scores.raw").read_bytes()
    assert int(np.frombuffer(content[:8], np.int64)[0]) == 0
    rows = np.frombuffer(content[8:], np.float32).reshape(3, 3)
    assert rows.tolist() == [[0.0, 0.5, 1.0], [3.0, 2.0, 1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("locks", [True, False])
def test_a_folder_is_claimed_while_a_run_writes_into_it(tmp_path, monkeypatch, locks):
    if not locks:
        monkeypatch.setattr(fcntl, "flock", no_locks)
    folder = RunFolder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["claim.json"]
    holder = f"is being trained by {platform.node()} \\(pid {os.getpid()}\\): wait for it, or pass another --out"
    with pytest.raises(RunHeldError, match=holder):
        RunFolder(tmp_path, overwrite=True)
    folder.close()
    RunFolder(tmp_path)


def no_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_run_that_lost_its_folder_while_it_was_paused_writes_nothing_more(tmp_path):
    folder = unfinished_run(tmp_path)
    claim = json.loads((tmp_path / "claim.json").read_text())
    (tmp_path / "claim.json").write_text(json.dumps({**claim, "host": "elsewhere", "job": "17", "id": "another"}))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for write in (
        lambda: folder.append_metrics({"epoch": 2}),
        lambda: folder.save_checkpoint("last.pt", {"epoch": 2}),
        lambda: folder.finish({}),
        folder.clear,
    ):
        with pytest.raises(RunHeldError, match=r"was taken over by elsewhere, job 17 \(pid \d+\)"):
            write()
    folder.close()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_finished_run_is_opened_where_nothing_can_be_written(tmp_path):
    finished_run(tmp_path)
    before = tmp_path.stat().st_mtime_ns
    assert RunFolder(tmp_path, resume=True).finished
    assert tmp_path.stat().st_mtime_ns == before


# ---- checkpoints ---------------------------------------------------------------------------------------------------


def training_state():
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 70, 0.1)
    table = scored([0.5, 0.5, 0.5], [1.0, 2.0, 3.0])
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "table": table}
    return {"epoch": 3, "val": {"accuracy": {"all": 0.5}}, **{k: v.state_dict() for k, v in parts.items()}}


def test_a_process_that_a_run_has_forked_does_not_keep_its_lock(tmp_path):
    folder = RunFolder(tmp_path)
    (wait, go), (heard, ready) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # like a loader's process that outlives a killed run
        os.close(go)
        os.write(ready, b"x")
        os.read(wait, 1)
        os._exit(0)
    assert os.read(heard, 1) == b"x"  # the child runs, so it has closed its copy
    folder.close()
    RunFolder(tmp_path).close()
    os.write(go, b"x")
    assert os.waitpid(child, 0)[1] == 0
    for descriptor in (wait, go, heard, ready):
        os.close(descriptor)


def test_a_checkpoint_of_everything_in_training_loads_with_weights_only(tmp_path):
    state = training_state()
    RunFolder(tmp_path).save_checkpoint("last.pt", state)
    loaded = torch.load(tmp_path / "last.pt", weights_only=True)
    assert loaded["epoch"] == 3 and loaded["val"] == {"accuracy": {"all": 0.5}}
    assert torch.equal(loaded["model"]["weight"], state["model"]["weight"])
    assert torch.equal(
        loaded["optimizer"]["state"][0]["momentum_buffer"], state["optimizer"]["state"][0]["momentum_buffer"]
    )
    assert loaded["table"]["loss"].tolist() == [1.0, 2.0, 3.0]


def test_load_checkpoint_gives_what_was_saved_last(tmp_path):
    folder = RunFolder(tmp_path)
    folder.save_checkpoint("last.pt", {"epoch": 0, "weight": torch.tensor([1.0])})
    folder.save_checkpoint("last.pt", {"epoch": 1, "weight": torch.tensor([2.0])})
    loaded = read_checkpoint(tmp_path / "last.pt")
    assert loaded["epoch"] == 1 and loaded["weight"].tolist() == [2.0]


def half_a_file(state, file, **options):
    file.write(b"PK\x03\x04 half of a checkpoint")
    raise OSError(28, "No space left on device")


def no_rename(source, target):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("where", "crash", "error"),
    [
        ("torch.save", half_a_file, RunFolderError),
        ("bss.training.run_folder.os.replace", no_rename, KeyboardInterrupt),
    ],
    ids=["while writing", "before the rename"],
)
def test_a_crash_while_a_checkpoint_is_written_leaves_the_one_before_whole(tmp_path, monkeypatch, where, crash, error):
    folder = RunFolder(tmp_path)
    folder.save_checkpoint("last.pt", {"epoch": 0})
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(where, crash)
        folder.save_checkpoint("last.pt", {"epoch": 1})
    assert read_checkpoint(tmp_path / "last.pt") == {**HEAD, "epoch": 0}
    assert contents(tmp_path).keys() == {"last.pt"}  # a full disk gets its room back
    folder.save_checkpoint("last.pt", {"epoch": 2})
    assert read_checkpoint(tmp_path / "last.pt") == {**HEAD, "epoch": 2}


def test_a_crash_while_scores_are_packed_keeps_the_scores(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.append_scores(0, scored([0.0, 0.5, 1.0], [3.0, 2.0, 1.0]), torch.zeros(3))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("bss.training.run_folder.os.replace", no_rename)
        folder.pack_scores(NAMES, LABELS)
    assert (tmp_path / "scores.raw").exists() and not (tmp_path / "scores.npz").exists()
    folder.pack_scores(NAMES, LABELS)
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["loss"].tolist() == [[3.0, 2.0, 1.0]]


def test_a_crash_while_the_config_is_written_leaves_no_half_config(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("bss.training.run_folder.os.replace", no_rename)
        folder.write_config({"recipe": {"lr": math.pi}})
    assert not (tmp_path / "config.json").exists()


def test_a_file_of_the_run_that_another_program_has_open_is_named(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.save_checkpoint("last.pt", {"epoch": 0})
    fake_windows.Held(monkeypatch, "last.pt", looks=2)
    folder.save_checkpoint("last.pt", {"epoch": 1})  # it was closed in time
    assert read_checkpoint(tmp_path / "previous.pt")["epoch"] == 0
    fake_windows.Held(monkeypatch, "last.pt")
    with pytest.raises(FileHeldError, match=r"last\.pt is open in another program .*: close it there, and repeat"):
        folder.save_checkpoint("last.pt", {"epoch": 2})
    assert read_checkpoint(tmp_path / "last.pt")["epoch"] == 1


def killed_while_saving(path):
    """A process is killed when the checkpoint is written and has not got its name."""
    child = os.fork()
    if child == 0:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        RunFolder(path).save_checkpoint("best.pt", {"epoch": 2})
    os.waitpid(child, 0)
    assert len(list(path.glob(".best.*.tmp.pt"))) == 1


def test_what_a_killed_run_was_writing_is_gone_when_it_goes_on(tmp_path):
    RunFolder(tmp_path).save_checkpoint("last.pt", {"epoch": 0})
    killed_while_saving(tmp_path)
    assert RunFolder(tmp_path).checkpoint()["epoch"] == 0
    assert contents(tmp_path).keys() == {"last.pt"}


def test_overwrite_after_a_crash_leaves_no_half_written_file_behind(tmp_path):
    unfinished_run(tmp_path).close()
    killed_while_saving(tmp_path)
    (tmp_path / "last.pt.tmp").write_bytes(b"half, as it was called in format 1")
    RunFolder(tmp_path, overwrite=True)
    assert contents(tmp_path) == {}


# ---- format 2 ------------------------------------------------------------------------------------------------------


def test_the_checksum_of_a_row_leaves_its_times_out_and_nothing_else():
    row = {"epoch": 3, "train_loss": 0.5, "seconds": 1.0, "train_seconds": 0.5}
    assert (
        checksum(row)
        == checksum({**row, "seconds": 9.0, "train_seconds": 8.0})
        == checksum(dict(reversed(row.items())))
    )
    assert checksum({**row, "checksum": "0"}) == checksum(row) != checksum({**row, "train_loss": 0.25})
    # By another path: the SHA-256 of the fields that are left, in alphabetical order.
    assert checksum(row) == hashlib.sha256(b'{"epoch": 3, "train_loss": 0.5}').hexdigest()[:16]


def test_the_checksum_of_a_file_is_of_everything_else_in_it_whatever_its_layout(tmp_path):
    """Keys that are no texts become texts in JSON, and sort as texts."""
    content = sealed({"seconds": 1.5, "by_epoch": {10: math.nan, 9: [(1, "\u00e9")]}, "checksum": "old"})
    plain = '{"by_epoch": {"10": NaN, "9": [[1, "\\u00e9"]]}, "seconds": 1.5}'
    assert content["checksum"] == hashlib.sha256(plain.encode()).hexdigest()[:16] and list(content)[-1] == "checksum"
    (tmp_path / "a.json").write_text(json.dumps(dict(reversed(content.items()))))
    assert repr(read_json(tmp_path, "a.json")) == repr(
        {"by_epoch": {"10": math.nan, "9": [[1, "\u00e9"]]}, "seconds": 1.5}
    )


def changed(name, old, new):
    """A change of a file by hand that leaves it readable."""

    def change(path):
        text = (path / name).read_text()
        assert old in text
        (path / name).write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_a_file_that_was_changed_by_hand_is_refused(tmp_path, name):
    finished_run(tmp_path)
    with pytest.raises(RunFolderError, match=f"^{name} is damaged or was changed by hand: its content does not fit"):
        changed(name, "{", '{"more": 1,')(tmp_path)
        read_json(tmp_path, name)


def test_a_file_of_an_older_version_has_no_checksum_and_is_read(tmp_path):
    for text in ('{"a": 1}', '{"a": 1, "checksum": null}'):
        (tmp_path / "config.json").write_text(text)
        assert read_json(tmp_path, "config.json") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "is damaged"),
        ("9" * 5000, "is damaged"),
        ("[1]", "is damaged: it holds a list"),
        ("\u00e9", "is damaged"),
    ],
    ids=["deep", "long number", "list", "not ascii"],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path, text, said):
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunFolderError, match=f"^config.json {said}"):
        read_json(tmp_path, "config.json")


def write_rows(path, *rows):
    path.write_text("".join(json.dumps({**row, "checksum": checksum(row)}) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ([0, 1, 1], "line 3, is epoch 1 where 2 is due"),
        ([0, 2], "line 2, is epoch 2 where 1 is due"),
        ([1], "line 1, is epoch 1 where 0 is due"),
        ([1, 0], "line 1, is epoch 1 where 0 is due"),
        ([0, True], "line 2, is epoch True where 1 is due"),
        ([0, 1.0], "line 2, is epoch 1.0 where 1 is due"),
        ([0, None], "line 2, is epoch None where 1 is due"),
    ],
    ids=str,
)
def test_epochs_that_are_not_each_there_once_and_in_order_are_refused(tmp_path, epochs, said):
    write_rows(tmp_path / "metrics.jsonl", *({"epoch": epoch} for epoch in epochs))
    with pytest.raises(RunFolderError, match=f"^metrics.jsonl, {said}: epochs are repeated, missing or out of order"):
        read_rows(tmp_path)


def test_a_row_that_was_changed_by_hand_is_refused_with_its_line_also_when_the_run_goes_on(tmp_path):
    folder = unfinished_run(tmp_path)
    folder.write_config({"samples": {"train": 3}})
    changed("metrics.jsonl", '{"epoch": 1', '{"val": 1.0, "epoch": 1')(tmp_path)
    said = "metrics.jsonl, line 2, is damaged or was changed by hand: its content does not fit its checksum"
    with pytest.raises(RunFolderError, match=f"^{said}"):
        read_rows(tmp_path)
    with pytest.raises(RunFolderError, match=f"^{tmp_path}: {said}: pass another --out"):
        folder.rewind(epochs=2, scored=1)
    assert len(folder.rewind(epochs=1, scored=1)) == 1  # what comes after the checkpoint is written again


def test_a_config_that_was_changed_by_hand_ends_the_run_before_it_goes_on(tmp_path):
    folder = unfinished_run(tmp_path)
    changed("config.json", "0.1", "0.2")(tmp_path)
    for go_on in (lambda: folder.note_continuation({}), lambda: folder.rewind(epochs=2, scored=1)):
        with pytest.raises(RunFolderError, match=f"^{tmp_path}: config.json .*checksum: pass another --out"):
            go_on()


def test_rows_of_format_1_have_no_checksum_and_are_read(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 0}\n{"epoch": 1}\n')
    assert read_rows(tmp_path) == [{"epoch": 0}, {"epoch": 1}]


def files_of(path):
    return json.loads((path / "summary.json").read_text())


def spoiled_scores(path):
    """Other scores, in a file that is whole."""
    with np.load(path / "scores.npz") as arrays:
        np.savez(path / "scores.npz", **{**arrays, "loss": arrays["loss"] + 1})


def times_changed(path):
    """A row's checksum leaves its times out, so that equal epochs have equal ones."""
    rows = [{**json.loads(line), "seconds": 9.0} for line in (path / "metrics.jsonl").read_text().splitlines()]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def resealed(path):
    (path / "config.json").write_text(json.dumps(sealed({**read_json(path, "config.json"), "seed": 7})))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (spoiled_scores, "scores.npz was changed after the run had ended, or is another run's"),
        (times_changed, "metrics.jsonl was changed after"),
        (resealed, "config.json was changed after"),
        (lambda path: (path / "scores.npz").unlink(), "scores.npz is missing"),
        (lambda path: (path / "metrics.jsonl").unlink(), "metrics.jsonl is missing"),
    ],
    ids=["scores", "times", "sealed anew", "no scores", "no rows"],
)
def test_the_summary_vouches_for_the_other_files(tmp_path, change, said):
    finished_run(tmp_path)
    check_files(tmp_path, files_of(tmp_path))
    change(tmp_path)
    with pytest.raises(RunFolderError, match=f"^{said}"):
        check_files(tmp_path, files_of(tmp_path))


def test_line_ends_and_layout_are_no_change(tmp_path):
    finished_run(tmp_path)
    for name in ("config.json", "metrics.jsonl", "summary.json"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"\n", b"\r\n"))
    check_files(tmp_path, files_of(tmp_path))


def test_an_older_summary_does_not_vouch(tmp_path):
    finished_run(tmp_path)
    resealed(tmp_path)
    check_files(tmp_path, {"test": {}})


def test_a_folder_that_does_not_write_stays_as_it_is(tmp_path):
    table = ScoreTable(2)
    folder = RunFolder(tmp_path / "none", writes=False)
    folder.clear()
    folder.write_config({"a": 1})
    folder.append_metrics({"epoch": 0})
    folder.append_scores(0, table, torch.zeros(2))
    folder.save_checkpoint("last.pt", {})
    assert (folder.checkpoint(), folder.rewind(epochs=3, scored=1), folder.finished) == (None, [], False)
    folder.pack_scores(["a", "b"], torch.zeros(2))
    folder.finish({"chosen_epoch": 0})
    folder.close()
    assert not (tmp_path / "none").exists()
