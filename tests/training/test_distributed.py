"""One run on several processes (gloo, CPU) equals the run on one."""

import json
import socket

import numpy as np
import pytest
import torch

from bss.training.run_folder import read_checkpoint, read_failure, read_hits
from bss.utils import distributed
from bss.utils.errors import DataError, RecipeError
from tests import tiny
from tests.processes import start
from tests.training import ddp_worker


def launch(world, what, folder):
    """Start the processes with torchrun's variables, and wait for them: their statuses and what they said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    files = [folder / f"said-{what}-{rank}.txt" for rank in range(world)]
    processes = [
        start(
            ddp_worker.main,
            what,
            folder,
            environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            said=files[rank],
        )
        for rank in range(world)
    ]
    for process in processes:
        process.join(timeout=120)
    return [process.exitcode for process in processes], [file.read_text() for file in files]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The runs of all arms on one process, which is this one."""
    folder = tmp_path_factory.mktemp("alone")
    for arm in ddp_worker.ARMS:
        ddp_worker.train(arm, folder / arm)
    ddp_worker.predict_test(folder)
    return folder


@pytest.fixture(scope="module", params=[2, 3])
def together(request, tmp_path_factory):
    """The same runs on two and on three processes."""
    folder = tmp_path_factory.mktemp(f"world{request.param}")
    statuses, said = launch(request.param, "train", folder)
    assert statuses == [0] * request.param, said
    return folder


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # Sums in another order differ in their last digits, and so do their checksums.
    return [{name: value for name, value in tiny.untimed(row).items() if name != "checksum"} for row in rows]


def assert_close(one, other, *, tolerance):
    """Equal nested content, numbers within the tolerance."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_close(one[name], other[name], tolerance=tolerance)
    elif isinstance(one, str):
        assert one == other
    else:
        assert one == pytest.approx(other, rel=0, abs=tolerance)


def assert_equal_runs(one, other, *, tolerance):
    """Equal weights, scores, losses and metrics, within the rounding of sums in another order."""
    left, right = read_checkpoint(one / "last.pt")["model"], read_checkpoint(other / "last.pt")["model"]
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=0, atol=tolerance)
    with np.load(one / "scores.npz") as a, np.load(other / "scores.npz") as b:
        assert a.files == b.files
        for name in ("similarity", "loss", "difficulty"):
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=tolerance)
        assert a["epoch"].tolist() == b["epoch"].tolist()
    for row, same in zip(rows_of(one), rows_of(other), strict=True):
        assert row["train_loss"] == pytest.approx(same["train_loss"], abs=tolerance)
        assert (row["samples"], row["steps"], row["val"]) == (same["samples"], same["steps"], same["val"])
    summaries = [tiny.untimed(json.loads((folder / "summary.json").read_text())) for folder in (one, other)]
    assert_close(*summaries, tolerance=tolerance)


@pytest.mark.parametrize("arm", ddp_worker.ARMS)
def test_weights_scores_and_metrics_do_not_depend_on_the_number_of_processes(alone, together, arm):
    assert_equal_runs(alone / arm, together / arm, tolerance=2e-6)


def test_the_scores_of_the_first_pass_are_the_same_to_the_last_bit(alone, together):
    with np.load(alone / "spl" / "scores.npz") as one, np.load(together / "spl" / "scores.npz") as many:
        assert np.array_equal(one["similarity"][0], many["similarity"][0])
        assert np.array_equal(one["loss"][0], many["loss"][0])


def test_one_process_writes_and_its_folder_is_complete(together):
    names = {path.name for path in (together / "cl").iterdir()}
    files = {"config.json", "done", "metrics.jsonl", "scores.npz", "hits.npz", "summary.json"}
    assert {"best.pt", "last.pt", *files} == names


def test_a_trained_network_predicts_each_sample_once_whatever_the_number_of_processes(alone, together):
    (one,) = (torch.load(path) for path in alone.glob("predicted-*.pt"))
    many = [torch.load(path) for path in sorted(together.glob("predicted-*.pt"))]
    assert one["seen"] == sorted(index for each in many for index in each["seen"]) == list(range(31))
    for each in many:
        assert each["truth"].tolist() == [n % 3 for n in range(31)]
        for head in ("all", "fused", "audio", "visual"):
            assert torch.equal(each[head], many[0][head])  # all processes have the whole
            torch.testing.assert_close(each[head], one[head], rtol=0, atol=1e-4)


def test_hits_have_every_sample_once_and_in_the_order_of_the_list(together):
    hits = read_hits(together / "cl")
    assert hits.count == json.loads((together / "cl" / "config.json").read_text())["samples"]["test"]
    summary = json.loads((together / "cl" / "summary.json").read_text())
    for epoch in ("chosen", "last"):
        assert hits.accuracy(epoch) == summary["test"][epoch]["accuracy"]


@pytest.mark.parametrize(("first", "then"), [(2, 3), (3, 1), pytest.param(1, 2, marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_goes_on_on_another_number_of_processes(alone, tmp_path, first, then):
    statuses, said = launch(first, "stop", tmp_path)
    assert statuses == [0] * first, said
    saved = read_checkpoint(tmp_path / "online" / "last.pt")
    assert saved["step"] > 0 and len(saved["randomness"]) == first
    statuses, said = launch(then, "continue", tmp_path)
    assert statuses == [0] * then, said
    assert any("continuing after step" in text for text in said)
    for arm in ddp_worker.STOPPED:
        assert_equal_runs(alone / arm, tmp_path / arm, tolerance=2e-6)


def test_an_error_in_one_process_ends_all_and_is_shown(tmp_path):
    statuses, said = launch(2, "break", tmp_path)
    assert all(statuses)
    assert sum("clip59.wav: a truncated wav file" in text for text in said) == 1


@pytest.mark.slow
def test_processes_agree_that_a_run_is_not_finite_and_it_goes_on_with_a_lower_rate(tmp_path):
    """One process alone gets the bad samples; the one that runs out of memory is the only one that knows."""
    statuses, said = launch(2, "not-finite", tmp_path)
    assert statuses == [2, 2] and all("the training loss of epoch 2 is nan from step 2 on" in text for text in said)
    statuses, said = launch(2, "no-memory", tmp_path)
    assert all(statuses) and "memory ran out after step 1 of epoch 2" in said[1], said
    for name, how in (("not-finite", "not finite"), ("no-memory", "out of memory")):
        assert read_failure(tmp_path / name)["how"] == how
        assert read_checkpoint(tmp_path / name / "last.pt")["finished_epochs"] == 1
    statuses, said = launch(2, "lower", tmp_path)
    assert statuses == [0, 0], said


# ---- the parts, without other processes ----------------------------------------------------------------------------


def test_a_process_alone_is_the_world():
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    rows = torch.arange(6.0).view(3, 2)
    assert torch.equal(distributed.gathered(rows), rows) and distributed.gathered_objects("a") == ["a"]
    assert distributed.share([1, 2, 3]) == [1, 2, 3] and distributed.from_main(5) == 5
    assert distributed.Decisions().after_step("stop") == "stop"
    model = torch.nn.Linear(2, 2)
    assert distributed.wrapped(model, torch.device("cpu"), sync_batchnorm=True) is model


class Store(dict):
    """The process group's store, of two ranks in one process."""

    def get(self, key):
        return self[key].encode()

    set = dict.__setitem__


@pytest.mark.parametrize(
    ("seconds", "decided"),
    [
        ([0.01] * 40, [1, 17, 33]),
        ([0.5] * 12, [1, 5, 9]),
        ([10.0] * 4, [1, 2, 3, 4]),
        ([0.01] * 20 + [10.0] * 16, [1, 17, 33, 34, 35, 36]),  # they became slow: sixteen at most are not asked after
        ([60.0] + [0.01] * 20, [1, 2, 18]),  # a scoring pass came before
    ],
    ids=["fast", "half a second", "slow", "slow later", "a wait first"],
)
def test_ranks_agree_every_few_steps_or_seconds_and_always_at_the_same_step(monkeypatch, seconds, decided):
    store, now, rank = Store(), [0.0], [0]
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "is_main", lambda: rank[0] == 0)
    monkeypatch.setattr(distributed.dist.distributed_c10d, "_get_default_store", lambda: store)
    monkeypatch.setattr(distributed.time, "monotonic", lambda: now[0])
    ranks, agreed = [distributed.Decisions() for _ in range(2)], []
    for step, duration in enumerate(seconds, 1):
        now[0] += duration
        for rank[0], wish in ((0, "save"), (1, "stop")):
            action = ranks[rank[0]].after_step(wish)
            assert action in ("go", "save")
            agreed.append((step, action))
    assert agreed[::2] == agreed[1::2]
    assert [step for step, action in agreed[::2] if action == "save"] == decided


def test_a_batch_that_cannot_be_shared_evenly_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    assert distributed.share_of_batch(12) == 4
    with pytest.raises(RecipeError, match="batch_size=32 cannot be shared evenly by 3 processes"):
        distributed.share_of_batch(32)


def test_synchronised_batchnorm_needs_gpus(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(RecipeError, match="sync_batchnorm=true needs GPUs"):
        distributed.wrapped(torch.nn.Linear(1, 1), torch.device("cpu"), sync_batchnorm=True)


def test_fewer_test_samples_than_processes_are_refused(monkeypatch, tmp_path):
    from bss.training.engine import fit
    from bss.training.run import Run

    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    data = tiny.splits(test=1)
    with pytest.raises(DataError, match="the test list has 1 samples for 2 processes"):
        fit(tiny.model(), data, tiny.CL, Run(tmp_path, tmp_path, torch.device("cpu")))


@pytest.mark.parametrize(
    ("name", "words"), [("cuda:1", "every process has its own GPU"), ("cuda", "PyTorch sees 0 GPUs")]
)
def test_a_device_that_processes_cannot_share_is_refused(monkeypatch, name, words):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(RecipeError, match=words):
        distributed.local_device(name)
