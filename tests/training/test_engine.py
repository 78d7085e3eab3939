"""The loops: one training epoch, evaluation, the scoring pass, and whole runs on a tiny problem."""

import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import bss
from bss.data.indexed import IndexedDataset
from bss.methods import Method
from bss.models import precision as models_precision
from bss.models.compiling import compile_network
from bss.models.fusion import ConcatFusion
from bss.models.late_fusion import LateFusion
from bss.models.modes import frozen_parts, train_mode
from bss.models.weights import initialize
from bss.samplers import CurriculumSampler, UniformSampler
from bss.scoring.scoring_pass import score_dataset
from bss.training import epochs as run_in_motion
from bss.training import passes
from bss.training.build import as_trained, learning_rates, parts, plan
from bss.training.engine import fit
from bss.training.loaders import Loaders
from bss.training.loops import Step, train_epoch
from bss.training.run import Run
from bss.training.run_folder import digests, list_hash, sealed
from bss.utils.errors import DataError, RunFolderError, TrainingError
from tests import tiny

CPU = torch.device("cpu")
ONLINE = replace(tiny.SPL, schedule=replace(tiny.SPL.schedule, rescore="online"))


def scoring_loader(data, recipe, path):
    return parts(plan(data, recipe), tiny.model(), data, recipe, run_in(path)).passes.loader


def run_in(path, **options):
    return Run(out=path, data_root=path, device=CPU, **options)


def loader_of(dataset, batch_size=8, order=None, **options):
    return DataLoader(IndexedDataset(dataset), batch_size, sampler=order, **options)


def nearly_listed(size):
    """An order that is not the data set's own, which mode "batch" refuses, and leaves batches what they would be."""
    return [1, 0, *range(2, size)]


def scored(model, dataset, mode, **options):
    table = bss.ScoreTable(len(dataset))
    score_dataset(model, loader_of(dataset, **options), table, mode=mode)
    return table


def read_metrics(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


# ---- the training epoch --------------------------------------------------------------------------------------------


def test_the_training_loss_is_the_mean_over_samples_of_the_weighted_sum_of_cross_entropies():
    network = tiny.model()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)  # all logits 0, so every cross entropy is ln 3
    frozen = torch.optim.SGD(network.parameters(), lr=0.0)
    loader = loader_of(tiny.features(20))
    result = train_epoch(Step(network, frozen, fused_weight=0.1, unimodal_weight=0.9), loader)
    # 0.1 ln 3 + 0.9 (ln 3 + ln 3) = 1.9 ln 3; 20 samples in batches of 8, 8, 4
    assert result.loss == pytest.approx(1.9 * math.log(3))
    assert (result.samples, result.steps) == (20, 3)


@pytest.mark.parametrize("batch_size", [1, 7, 20])
@pytest.mark.parametrize("workers", [0, 2])
def test_online_scores_equal_a_scoring_pass_bit_for_bit_when_nothing_moves(batch_size, workers):
    network, data = tiny.model().double(), tiny.features(20)
    data.audio, data.visual = data.audio.double(), data.visual.double()
    frozen = torch.optim.SGD(network.parameters(), lr=0.0)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(batch_size)).tolist()
    online = bss.ScoreTable(20)
    train_epoch(Step(network, frozen, table=online), loader_of(data, batch_size, order, num_workers=workers))
    online.synchronize()
    by_pass = scored(network, data, "eval", batch_size=5)
    assert torch.equal(online.similarity, by_pass.similarity)
    assert torch.equal(online.loss, by_pass.loss)


def test_filling_the_table_online_does_not_change_the_training():
    weights = []
    for table in (None, bss.ScoreTable(24)):
        network = tiny.model(norm=True)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            train_epoch(Step(network, optimizer, table=table), loader_of(tiny.features(24)))
        weights.append(network.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_training_learns_the_tiny_problem():
    network, data = tiny.model(), tiny.features(60)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    losses = [train_epoch(Step(network, optimizer), loader_of(data)).loss for _ in range(10)]
    assert losses[-1] < losses[0] / 2


# ---- evaluation ----------------------------------------------------------------------------------------------------


def test_evaluation_counts_every_sample_once_and_leaves_the_flags_alone():
    network, data = tiny.model(norm=True), tiny.features(20)
    network.train()
    network.encoders["audio"].eval()
    flags = [module.training for module in network.modules()]
    metrics = tiny.evaluate(network, DataLoader(data, batch_size=7))
    assert [module.training for module in network.modules()] == flags
    for values in metrics["accuracy"].values():
        assert (20 * values) == pytest.approx(round(20 * values))  # multiples of 1/20
    assert list(metrics["accuracy"]) == ["all", "fused", "audio", "visual"]


def test_evaluation_does_not_depend_on_the_batch_size():
    network, data = tiny.model(norm=True), tiny.features(20)
    small, large = (tiny.evaluate(network, DataLoader(data, batch_size=size)) for size in (3, 20))
    assert small == large


# ---- the scoring pass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["calibrated", "batch", "eval"])
def test_a_scoring_pass_leaves_network_and_random_states_as_found(mode):
    network = tiny.model(norm=True, dropout=0.5)
    network.train()
    network.encoders["visual"].eval()  # frozen on purpose
    flags = [module.training for module in network.modules()]
    momenta = [module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    random_states = torch.get_rng_state(), np.random.get_state()[1].copy()
    scored(network, tiny.features(20), mode, order=nearly_listed(20))
    assert [module.training for module in network.modules()] == flags
    assert [module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm1d)] == momenta
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert (np.random.get_state()[1] == random_states[1]).all()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_train_mode_moves_the_running_statistics_as_the_released_code_does():
    network = tiny.model(norm=True)
    before = network.encoders["audio"][1].running_mean.clone()
    random_state = torch.get_rng_state()
    scored(network, tiny.features(20), "train")
    assert not torch.equal(network.encoders["audio"][1].running_mean, before)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_calibrated_score_does_not_depend_on_its_batch_mates_and_a_batch_score_does():
    network, data = tiny.model(norm=True), tiny.features(96)
    head = nearly_listed(64)
    reversed_tail = head + list(range(95, 63, -2)) + list(range(94, 63, -2))
    difference = {}
    for mode in ("calibrated", "batch"):
        a, b = (scored(network, data, mode, order=order) for order in (nearly_listed(96), reversed_tail))
        difference[mode] = (a.loss - b.loss).abs().max().item()
    assert difference["calibrated"] < 1e-6
    assert difference["batch"] > 1e-2


def test_calibrated_scores_ignore_stale_running_statistics_and_eval_scores_do_not():
    network, data = tiny.model(norm=True), tiny.features(40)
    clean = {mode: scored(network, data, mode).loss for mode in ("calibrated", "eval")}
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.fill_(100.0)
    assert torch.equal(scored(network, data, "calibrated").loss, clean["calibrated"])
    assert not torch.allclose(scored(network, data, "eval").loss, clean["eval"])


def test_calibration_pools_all_samples_of_its_batches():
    network, data = tiny.model(norm=True), tiny.features(24)
    network.eval()
    with torch.no_grad():
        inputs = network.encoders["audio"][0](data.audio)
    seen = []
    norm = network.encoders["audio"][1]

    def see(module, *_):
        seen.append((module.training, module.running_mean.clone(), module.running_var.clone()))

    norm.register_forward_hook(see)
    scored(network, data, "calibrated")
    training, running_mean, running_var = seen[-1]
    assert not training
    assert torch.allclose(running_mean, inputs.mean(0), atol=1e-6)
    assert torch.allclose(running_var, inputs.var(0), atol=1e-6)  # more than the mean of the batches' own


@pytest.mark.parametrize("mode", ["calibrated", "batch"])
def test_a_frozen_batchnorm_is_scored_with_its_own_statistics(mode):
    network, data = tiny.model(norm=True), tiny.features(40)
    network.train()
    for encoder in network.encoders.values():
        encoder[1].eval()  # frozen, as in a pretrained encoder
    assert torch.equal(scored(network, data, mode).loss, scored(network, data, "eval").loss)


def frozen_encoder(network, name="audio"):
    encoder = network.encoders[name].requires_grad_(False).eval()
    encoder[1].running_mean += 0.25  # as of another data set
    return {key: value.clone() for key, value in encoder.state_dict().items()}


@pytest.mark.parametrize("mode", ["calibrated", "train"])
def test_what_is_frozen_and_in_eval_mode_stays_so_in_training_and_in_scoring(tmp_path, mode, capsys):
    network = tiny.model(norm=True, dropout=0.5)
    before = frozen_encoder(network)
    moving = network.encoders["visual"][1].running_mean.clone()
    schedule = replace(tiny.SPL.schedule, mode=mode)
    fit(network, tiny.splits(), replace(tiny.SPL, epochs=2, schedule=schedule), run_in(tmp_path))
    after = network.encoders["audio"].state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(module.training for module in network.encoders["audio"].modules())
    assert not torch.equal(network.encoders["visual"][1].running_mean, moving)
    assert capsys.readouterr().out.count("frozen, so left in eval mode: encoders.audio\n") == 1


def test_what_is_frozen_is_the_outermost_part_that_is_all_in_eval_mode_and_has_nothing_to_train():
    network = tiny.model(norm=True, dropout=0.5)
    assert frozen_parts(network.eval()) == {}  # in eval mode as a whole, and trained
    network.heads["audio"].requires_grad_(False).train()  # not in eval mode
    frozen_encoder(network)
    assert list(frozen_parts(network)) == ["encoders.audio"]
    train_mode(network)
    modes = {name: part.training for name, part in network.named_modules() if name.count(".") == 2}
    assert modes and all(training == (not name.startswith("encoders.audio")) for name, training in modes.items())


def test_a_last_batch_of_one_sample_does_not_enter_the_calibration():
    network, data = tiny.model(norm=True), tiny.features(17)  # batches of 8, 8 and 1: BatchNorm1d refuses a single row
    table = scored(network, data, "calibrated")
    assert table.loss.isfinite().all()


def test_batch_mode_scores_a_last_single_row_with_the_statistics_of_the_batch_before_it():
    network, data = tiny.model(norm=True), tiny.features(17)
    table = scored(network, data, "batch", order=nearly_listed(17))
    norms = [encoder[1] for encoder in network.encoders.values()]
    with torch.no_grad():
        for norm, encoder, inputs in zip(norms, network.encoders.values(), (data.audio, data.visual), strict=True):
            before = encoder[0](inputs[8:16])
            norm.running_mean.copy_(before.mean(0))
            norm.running_var.copy_(before.var(0))
    by_hand = scored(network, data, "eval")
    assert table.loss[16] == pytest.approx(by_hand.loss[16].item(), abs=1e-5)


def test_more_calibration_batches_give_other_statistics():
    network, data = tiny.model(norm=True), tiny.features(40)
    tables = [bss.ScoreTable(40), bss.ScoreTable(40)]
    for table, batches in zip(tables, (1, 5), strict=True):
        score_dataset(network, loader_of(data), table, calibration_batches=batches)
    assert not torch.allclose(tables[0].loss, tables[1].loss)


def test_unimodal_logits_may_be_a_sequence():
    network, data = tiny.model(), tiny.features(12)

    def forward(model, batch):
        logits = model(batch)
        return bss.Logits(logits.fused, list(logits.unimodal.values())), batch["label"]

    table = bss.ScoreTable(12)
    score_dataset(network, loader_of(data), table, mode="eval", forward=forward)
    assert torch.equal(table.loss, scored(network, data, "eval").loss)


def test_the_same_fixed_order_gives_the_same_scores_in_every_pass():
    network, data = tiny.model(norm=True), tiny.features(96)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(3)).tolist()
    first, second = (scored(network, data, "calibrated", order=order) for _ in range(2))
    assert torch.equal(first.loss, second.loss)


def test_a_pass_scores_models_and_batches_of_any_shape_through_forward():
    inputs, target = torch.randn(12, 6), torch.arange(12) % 3
    network = nn.Linear(6, 9)

    def forward(model, batch):
        x, y = batch
        audio, visual, fused = model(x).chunk(3, dim=1)
        return bss.models.Logits(fused, {"audio": audio, "visual": visual}), y

    data = bss.IndexedDataset(torch.utils.data.TensorDataset(inputs, target))
    table = bss.ScoreTable(12)
    score_dataset(network, DataLoader(data, 5, shuffle=True), table, forward=forward)
    audio, visual, fused = network(inputs).detach().chunk(3, dim=1)
    assert torch.allclose(table.similarity, bss.prediction_similarity([audio, visual]))
    assert torch.allclose(table.loss, bss.sample_loss(fused, [audio, visual], target), atol=1e-6)


def test_train_mode_says_what_to_do_about_a_last_batch_of_one_sample():
    network, data = tiny.model(norm=True), tiny.features(17)
    with pytest.raises(TrainingError, match=r"last batch .* a single sample.*'train': change the batch size by one"):
        scored(network, data, "train")


@pytest.mark.parametrize("mode", ["eval", "batch", "train"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("wrapped", [lambda data: data, lambda data: list(zip(data.audio, data.label, strict=True))])
def test_a_loader_without_an_index_is_refused_with_the_wrapper_that_adds_it(wrapped, norm, mode):
    loader, table = DataLoader(wrapped(tiny.features(16)), 8), bss.ScoreTable(16)
    with pytest.raises(ValueError, match=r"carries no sample index: wrap .* as bss\.IndexedDataset\(dataset\)"):
        score_dataset(tiny.model(norm=norm), loader, table, mode=mode)
    assert table.is_empty and not table.is_open


def test_an_index_may_be_a_list_of_a_collate_function_of_ones_own():
    network, data = tiny.model(), tiny.features(16)
    batch = next(iter(DataLoader(data, 16)))
    table = bss.ScoreTable(16)
    score_dataset(network, [(list(range(16)), batch)], table, mode="eval")
    assert torch.equal(table.loss, scored(network, data, "eval", batch_size=16).loss)


def test_samples_that_a_pass_leaves_out_are_counted_with_the_way_out():
    network, data, table = tiny.model(), tiny.features(20), bss.ScoreTable(20)
    with pytest.warns(UserWarning) as told:
        score_dataset(network, loader_of(data, drop_last=True), table, mode="eval")
    (warning,) = told
    assert "left out 4 of 20 samples (indices 16, 17, 18, 19)" in str(warning.message)
    assert "drop_last=False" in str(warning.message) and warning.filename == __file__


def test_a_pass_over_everything_is_silent_and_one_without_finite_scores_is_told_once():
    network, data = tiny.model(), tiny.features(16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scored(network, data, "eval")
    data.audio[3] = torch.nan
    with pytest.warns(UserWarning) as told:
        scored(network, data, "eval")
    assert [str(warning.message).partition(" this")[0] for warning in told] == ["1 samples had no finite score"]


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'calibrated', 'batch', 'eval', 'train'"):
        scored(tiny.model(), tiny.features(8), "exact")


# ---- whole runs ----------------------------------------------------------------------------------------------------


def test_a_run_folder_is_complete_and_documented(tmp_path):
    summary = fit(tiny.model(), tiny.splits(), tiny.SPL, run_in(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.pt", "config.json", "done", "hits.npz", "last.pt", "metrics.jsonl", "scores.npz", "summary.json",
    ]  # fmt: skip
    rows = read_metrics(tmp_path)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert set(row) == {
            *("epoch", "samples", "steps", "train_loss", "lr", "train_seconds", "seconds", "checksum"),
            *("val", "order", "imbalance"),
        }
        assert set(row["val"]) == {"accuracy", "macro_f1", "map"}
        assert set(row["val"]["accuracy"]) == {"all", "fused", "audio", "visual"}
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"]["schedule"]["floor"] == 0.01
    assert config["sampler"] == "SelfPacedSampler"
    assert not config.keys() & {"fold", "tested_groups"}  # absent where there is nothing to say
    assert config["versions"]["torch"].startswith("2.")
    files = digests(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == sealed({**summary, "files": files})
    assert set(files) == {"config.json", "metrics.jsonl", "scores.npz", "hits.npz"}
    assert summary["updates"] == sum(row["steps"] for row in rows) == 21
    for name in ("seconds", "train_seconds"):
        assert summary[name] == pytest.approx(sum(row[name] for row in rows))
    assert 0 < summary["train_seconds"] < summary["seconds"]


def test_a_corrupted_run_says_so_and_every_part_of_it_sees_the_wrong_labels(tmp_path, capsys):
    data, recipe = tiny.splits(), replace(tiny.SPL, epochs=1, corrupt_pairs=0.25, corrupt_labels=0.5)
    fit(tiny.model(), data, recipe, run_in(tmp_path))
    assert (
        "corrupted by the seed: 15 mismatched pairs and 30 wrong labels in training, 6 mismatched pairs and 12 wrong "
        "labels in validation; none in test\n"
    ) in capsys.readouterr().out
    config = json.loads((tmp_path / "config.json").read_text())
    told, found = config["corrupted"], as_trained(data, recipe)
    assert {name: (part["pairs"], part["labels"]) for name, part in told.items()} == {"train": (15, 30), "val": (6, 12)}
    assert all(len(part["hash"]) == 64 for part in told.values())
    assert config["lists"]["train"]["hash"] == list_hash(found.names, found.labels_N.numpy())
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["label"].tolist() == found.labels_N.tolist() != data.labels_N.tolist()
    with np.load(tmp_path / "hits.npz") as hits:
        assert hits["count"] == 30
    fit(tiny.model(), data, replace(tiny.SPL, epochs=1), run_in(tmp_path / "clean"))
    assert json.loads((tmp_path / "clean" / "config.json").read_text())["corrupted"] == {}


def test_the_chosen_epoch_is_the_best_on_validation_and_the_test_set_is_measured_with_its_weights(tmp_path):
    data = tiny.splits()
    network = tiny.model()
    recipe = replace(tiny.SPL, epochs=6, lr=0.3)
    summary = fit(network, data, recipe, run_in(tmp_path))
    accuracies = [row["val"]["accuracy"]["all"] for row in read_metrics(tmp_path)]
    assert summary["chosen_epoch"] == int(np.argmax(accuracies))
    assert "oracle" not in summary
    best, last = (torch.load(tmp_path / name, weights_only=True) for name in ("best.pt", "last.pt"))
    assert (best["epoch"], last["finished_epochs"]) == (summary["chosen_epoch"], 6)
    assert best["chosen_on"] == "val"
    for name, state in (("chosen", best), ("last", last)):
        copy = tiny.model(seed=1)
        copy.load_state_dict(state["model"])
        assert tiny.evaluate(copy, DataLoader(data.test, batch_size=4)) == summary["test"][name]
    assert tiny.evaluate(network, DataLoader(data.test, batch_size=4)) == summary["test"]["chosen"]


@pytest.mark.parametrize("view", ["train", "test"])
def test_a_scoring_pass_never_sees_the_views_that_the_epoch_trains_on(tmp_path, view):
    data = tiny.splits(train=16, noise=1.0)  # a training sample is noisy, anew in every view
    recipe = replace(tiny.CL, schedule=replace(tiny.CL.schedule, view=view))
    sampler = UniformSampler(16, seed=0)
    seen = []
    for loader in (
        Loaders(run_in(tmp_path), recipe.batch_size, recipe.seed).training(
            data.train, sampler, Method(), drop_last=False
        ),
        scoring_loader(data, recipe, tmp_path),
    ):
        batches = list(loader)
        index = torch.cat([batch["bss_index"] for batch in batches])
        seen.append(torch.cat([batch["audio"] for batch in batches])[index.argsort()])
    trained, scored = seen
    assert not (trained == scored).any()
    assert torch.equal(scored, data.score.audio) == (view == "test")


@pytest.mark.parametrize(("mode", "shuffled"), [("eval", False), ("batch", True), ("calibrated", True)])
def test_a_scoring_pass_shuffles_where_the_batches_matter(tmp_path, mode, shuffled):
    recipe = replace(tiny.CL, schedule=replace(tiny.CL.schedule, mode=mode))
    passes = [scoring_loader(tiny.splits(), recipe, tmp_path) for _ in range(2)]
    first, second = ([index for batch in loader for index in batch["bss_index"].tolist()] for loader in passes)
    assert first == second and sorted(first) == list(range(60))
    assert (first != sorted(first)) == shuffled


def test_without_validation_the_best_test_epoch_is_called_an_oracle_and_the_last_is_the_result(tmp_path, capsys):
    recipe = replace(tiny.SPL, epochs=6, lr=0.3, val_fraction=0.0)
    summary = fit(tiny.model(), tiny.splits(val=0), recipe, run_in(tmp_path))
    rows = read_metrics(tmp_path)
    best = max(row["test"]["accuracy"]["all"] for row in rows)
    assert summary["oracle"]["accuracy"]["all"] == best
    assert summary["test"]["chosen"] == summary["test"]["last"] == rows[-1]["test"]
    assert "best on test (oracle)" in capsys.readouterr().out


def test_curriculum_sizes_follow_the_pacing_and_are_whole_batches(tmp_path):
    recipe = replace(tiny.CL, epochs=5)
    fit(tiny.model(), tiny.splits(train=100), recipe, run_in(tmp_path))
    # root pacing from 0.3 over T = 3: sqrt(0.91 t / 3 + 0.09) = 0.627, 0.835, 1 -> 62, 83, 100, 100, 100 samples
    assert [row["samples"] for row in read_metrics(tmp_path)] == [56, 80, 96, 96, 96]


# ---- equal updates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [tiny.CL, tiny.SPL])
@pytest.mark.parametrize("tail", ["draw", "last"])
def test_a_run_by_updates_ends_after_exactly_so_many_steps_whatever_epochs_says(tmp_path, capsys, recipe, tail):
    recipe = replace(recipe, updates=25, epochs=1, tail=tail)
    summary = fit(tiny.model(), tiny.splits(train=100), recipe, run_in(tmp_path))
    steps = [row["steps"] for row in read_metrics(tmp_path)]
    # Curriculum: 62, 83, 100 of 100 samples, so 7, 10, 12 batches of 8. Self-paced: 12 in every epoch.
    assert steps == ([7, 10, 8] if recipe.schedule.sampler == "curriculum" else [12, 12, 1])
    assert summary["updates"] == 25
    printed = capsys.readouterr().out
    assert "25 steps of 8 in all" in printed and "epoch 3/3" in printed


def test_the_steps_of_a_run_by_updates_are_those_of_a_run_by_epochs(tmp_path):
    one = fit(tiny.model(norm=True), tiny.splits(), tiny.SPL, run_in(tmp_path / "epochs"))
    updates = replace(tiny.SPL, updates=21)  # 3 epochs of 7
    other = fit(tiny.model(norm=True), tiny.splits(), updates, run_in(tmp_path / "updates"))
    assert tiny.untimed(one) == tiny.untimed(other)


def test_by_updates_the_learning_rate_falls_after_the_steps_of_whole_epochs(tmp_path):
    recipe = replace(tiny.CL, updates=60, lr=0.5, lr_step=2, lr_gamma=0.1)
    fit(tiny.model(), tiny.splits(train=100), recipe, run_in(tmp_path))
    rows = read_metrics(tmp_path)
    # Epochs begin after 0, 7, 17, 29, 41, 53 steps. Two whole epochs of 12 are 24 steps, four are 48.
    assert [row["steps"] for row in rows] == [7, 10, 12, 12, 12, 7]
    assert [row["lr"] for row in rows] == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05, 0.005])


def test_by_updates_an_epoch_has_the_steps_of_whole_batches():
    recipe = replace(tiny.CL, updates=60, lr=0.5, lr_step=2, lr_gamma=0.1)
    rates = [
        learning_rates(recipe.lr, recipe.lr_gamma, recipe.lr_step, steps=100 // 8)(0, updates) for updates in (23, 24)
    ]  # 100 samples are 12 batches of 8
    assert rates == pytest.approx([0.5, 0.05])


def test_by_epochs_the_learning_rate_falls_with_the_epochs(tmp_path):
    recipe = replace(tiny.CL, epochs=5, lr=0.5, lr_step=2, lr_gamma=0.1)
    fit(tiny.model(), tiny.splits(train=100), recipe, run_in(tmp_path))
    assert [row["lr"] for row in read_metrics(tmp_path)] == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005])


class Stopping(Method):
    """Joint training that ends the process's run at a step, counted over the run."""

    def __init__(self, at=None):
        self.at, self.count = at, 0

    def before_forward(self, batch):
        self.count += 1
        if self.count == self.at:
            raise KeyboardInterrupt
        return batch


@pytest.mark.parametrize("at", [5, 17, 25])  # in the first epoch, in the second, and at the last step
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_run_by_updates_that_was_stopped_in_the_middle_ends_as_if_it_had_not_been(tmp_path, at, precision):
    recipe = replace(ONLINE, updates=25, lr_step=1, precision=precision, checkpoint_minutes=0.0)
    arguments = (tiny.splits(train=100), recipe)
    whole = fit(tiny.model(norm=True), *arguments, run_in(tmp_path / "whole"), method=Stopping())
    with pytest.raises(KeyboardInterrupt):
        fit(tiny.model(norm=True), *arguments, run_in(tmp_path / "cut"), method=Stopping(at))
    continued = fit(tiny.model(norm=True), *arguments, run_in(tmp_path / "cut"), method=Stopping())
    assert tiny.untimed(continued) == tiny.untimed(whole)
    last = [torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "cut")]
    assert last[0]["scaler"] == last[1]["scaler"]
    assert all(torch.equal(value, last[1]["model"][name]) for name, value in last[0]["model"].items())


# ---- precision and memory format -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_mixed_precision_the_network_computes_in_half_and_everything_kept_is_float32(tmp_path, precision):
    seen = {"forward": set(), "loss": set()}

    class Spy(Method):
        def loss(self, losses, weights):
            seen["loss"] |= {loss.dtype for loss in losses.values()}
            return super().loss(losses, weights)

        def after_backward(self, model, logits, target):
            seen["forward"] |= {logits.fused.dtype}

    network = tiny.model(norm=True)
    recipe = replace(tiny.SPL, precision=precision, epochs=2)
    fit(network, tiny.splits(), recipe, run_in(tmp_path), method=Spy())
    half = torch.bfloat16 if precision == "bf16" else torch.float16
    assert seen == {"forward": {half}, "loss": {torch.float32}}
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    with np.load(tmp_path / "scores.npz") as scores:
        # 8 bits of precision give few distinct values; computed in float32 from such logits nearly all differ.
        assert len(np.unique(scores["loss"][0])) > 50


@pytest.mark.parametrize("scheduled", [tiny.SPL, ONLINE])
def test_mixed_precision_trains_nearly_as_float32_does(tmp_path, scheduled):
    losses = {}
    for precision in ("fp32", "bf16", "fp16"):
        recipe = replace(scheduled, precision=precision, epochs=1)
        fit(tiny.model(), tiny.splits(), recipe, run_in(tmp_path / precision))
        losses[precision] = read_metrics(tmp_path / precision)[0]["train_loss"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["fp16"] == pytest.approx(losses["fp32"], rel=0.2)  # its first steps may only lower the loss scale
    assert len(set(losses.values())) == 3


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_whose_scaled_gradients_overflow_leaves_the_weights_as_they_are_and_lowers_the_scale(fused):
    network = tiny.model()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=fused)
    loader = loader_of(tiny.features(8))
    result = train_epoch(Step(network, optimizer, precision="fp16", scaler=scaler), loader)
    assert math.isfinite(result.loss)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert scaler.get_scale() == 2.0**99


def test_the_gradients_that_a_method_changes_after_the_backward_pass_are_not_scaled():
    norms = []

    class Spy(Method):
        def after_backward(self, model, logits, target):
            norms.append(torch.nn.utils.get_total_norm([value.grad for value in model.parameters()]).item())

    for scale in (1.0, 1024.0):
        network = tiny.model()
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        train_epoch(Step(network, optimizer, scaler=scaler, method=Spy()), loader_of(tiny.features(8)))
    assert norms[0] == pytest.approx(norms[1])


def test_channels_last_changes_the_format_of_the_images_weights_and_nothing_else(tmp_path):
    class Images(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(2, 4, 3)
            self.network = tiny.model(norm=True)

        def forward(self, batch):
            image = batch["visual"].reshape(-1, 1, 1, 5).expand(-1, 2, 5, 5)
            return self.network({**batch, "visual": self.stem(image).flatten(1)[:, :5]})

    rows = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        network = initialize(Images(), 0)
        recipe = replace(tiny.SPL, epochs=2, channels_last=channels_last)
        fit(network, tiny.splits(), recipe, run_in(tmp_path / str(channels_last)))
        rows.append(read_metrics(tmp_path / str(channels_last)))
        weight = network.stem.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    for plain, other in zip(*rows, strict=True):
        assert plain["train_loss"] == pytest.approx(other["train_loss"], abs=1e-4)


@pytest.mark.parametrize(("channels", "kernel"), [(1, 7), (64, 1), (3, 3)])
def test_channels_last_says_so_in_the_strides_where_both_layouts_are_one(channels, kernel):
    convolution = nn.Conv2d(channels, 8, kernel, bias=False)
    models_precision.to_channels_last(convolution)
    size = channels * kernel * kernel
    assert convolution.weight.stride() == (size, 1, channels * kernel, channels)
    image = torch.zeros(2, channels, 9, 9)
    assert convolution(image).is_contiguous(memory_format=torch.channels_last)  # which the layers after it go by


def test_only_training_steps_are_compiled_and_the_network_is_left_as_it_was(tmp_path, monkeypatch):
    compiled, graphs = torch.compile, []

    def backend(graph, inputs):
        graphs.append([module.training for module in network.modules()])
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function: compiled(function, backend=backend))
    network = tiny.model(norm=True)
    names = list(network.state_dict())
    recipe = replace(tiny.SPL, epochs=2)
    plain = fit(tiny.model(norm=True), tiny.splits(), recipe, run_in(tmp_path / "plain"))
    other = replace(recipe, compile=True)
    summary = fit(network, tiny.splits(), other, run_in(tmp_path / "a"))
    assert tiny.untimed(summary) == tiny.untimed(plain)
    assert graphs and all(all(training) for training in graphs)
    assert list(network.state_dict()) == names
    assert list(torch.load(tmp_path / "a" / "last.pt", weights_only=True)["model"]) == names
    assert not any("forward" in vars(part) for part in network.modules())


@pytest.mark.parametrize("compiled", [True, False])
def test_a_forward_that_a_library_put_on_the_network_is_there_after_a_run(compiled, tmp_path, monkeypatch):
    network = tiny.model(norm=True)
    encoder = network.encoders["audio"]
    calls, original = [], encoder.forward
    encoder.forward = mine = lambda rows: calls.append(1) or original(rows)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    fit(network, tiny.splits(), replace(tiny.SPL, epochs=1, compile=compiled), run_in(tmp_path))
    assert encoder.forward is mine and calls


def test_what_makes_inputs_of_a_batch_is_not_compiled(monkeypatch):
    class Cut(nn.Module):
        def forward(self, rows):
            return rows[:, :2]

    compiled, graphs = torch.compile, []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function: compiled(function, backend=backend))
    encoders, dims = {name: nn.Sequential(Cut(), nn.Linear(2, 4), nn.ReLU()) for name in "ab"}, {"a": 4, "b": 4}
    network = LateFusion(encoders, ConcatFusion(dims, 3), 3, feature_dims=dims)
    batches = [{name: torch.randn(5, width) for name in "ab"} for width in range(2, 8)]
    plain = [network(batch).fused for batch in batches]
    restore = compile_network(network)
    assert all(network(batch).fused.equal(logits) for batch, logits in zip(batches, plain, strict=True))
    assert len(graphs) == 2  # one for each encoder, whatever the widths
    restore()
    assert not any("forward" in vars(encoder) for encoder in encoders.values())


# ---- which samples -------------------------------------------------------------------------------------------------


def visited_by(monkeypatch, tmp_path, recipe, **sizes):
    """Per epoch, the sample indices that the training loop was given, and the whole order."""
    epochs = []
    original = run_in_motion.train_epoch

    def spy(step, loader, **options):
        batches = list(loader)
        order = loader.sampler.sampler.global_order().tolist()
        epochs.append(([index for batch in batches for index in batch["bss_index"].tolist()], order))
        return original(step, batches, **options)

    monkeypatch.setattr(run_in_motion, "train_epoch", spy)
    fit(tiny.model(), tiny.splits(**sizes), recipe, run_in(tmp_path))
    return epochs


def test_the_released_tail_loses_the_end_of_the_order(tmp_path, monkeypatch):
    epochs = visited_by(monkeypatch, tmp_path, replace(tiny.SPL, tail="last"), train=60)
    assert all(indices == order[:56] for indices, order in epochs)  # 60 = 7 * 8 + 4


def test_the_drawn_tail_loses_as_many_samples_from_anywhere(tmp_path, monkeypatch):
    epochs = visited_by(monkeypatch, tmp_path, replace(tiny.SPL, tail="draw"), train=60)
    for indices, order in epochs:
        assert len(indices) == 56
        assert indices == [index for index in order if index in set(indices)]  # the order itself is kept
    assert any(indices != order[:56] for indices, order in epochs)


def test_spl_visits_every_sample_once_an_epoch_in_another_order(tmp_path, monkeypatch):
    epochs = visited_by(monkeypatch, tmp_path, tiny.SPL, train=64)
    assert all(sorted(indices) == list(range(64)) for indices, _ in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.filterwarnings("error")  # none of these ways leaves a table empty, or a sample out
@pytest.mark.parametrize(
    ("schedule", "scored_epochs"),
    [({"rescore": "pass"}, [0, 1, 2, 3]), ({"rescore": 2}, [0, 2]), ({"rescore": "once"}, [0]),
     ({"rescore": "once", "warmup_epochs": 2}, [2]), ({"rescore": "online"}, [1, 2, 3, 4]),
     ({"rescore": "online", "warmup_epochs": 2}, [1, 2, 3, 4])],
)  # fmt: skip
def test_scores_are_kept_for_every_epoch_that_was_scored(tmp_path, schedule, scored_epochs):
    recipe = replace(tiny.SPL, epochs=4, schedule=replace(tiny.SPL.schedule, **schedule))
    fit(tiny.model(), tiny.splits(), recipe, run_in(tmp_path))
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["epoch"].tolist() == scored_epochs
        assert (
            scores["similarity"].shape == scores["loss"].shape == scores["difficulty"].shape == (len(scored_epochs), 60)
        )
        assert scores["name"].tolist() == [f"clip{i}" for i in range(60)]
        assert ((scores["difficulty"] >= 0) & (scores["difficulty"] <= 2)).all()


@pytest.mark.parametrize(
    ("schedule", "ages"),
    [({"rescore": "pass"}, [0, 0, 0, 0]), ({"rescore": "once"}, [0, 1, 2, 3]), ({"rescore": 2}, [0, 1, 0, 1])],
)
def test_the_log_says_how_old_the_scores_are(tmp_path, schedule, ages):
    recipe = replace(tiny.SPL, epochs=4, schedule=replace(tiny.SPL.schedule, **schedule))
    fit(tiny.model(), tiny.splits(), recipe, run_in(tmp_path))
    orders = [row["order"] for row in read_metrics(tmp_path)]
    assert [order["age"] for order in orders] == ages
    assert [order["unscored"] for order in orders] == [0, 0, 0, 0]


def test_the_log_counts_samples_that_online_scoring_has_not_seen(tmp_path):
    schedule = replace(tiny.SPL.schedule, rescore="online", start=0.3, grow_epochs=10)
    fit(tiny.model(), tiny.splits(), replace(tiny.SPL, schedule=schedule), run_in(tmp_path))
    rows = read_metrics(tmp_path)
    assert rows[1]["order"]["unscored"] == 60 - rows[0]["samples"]


def test_online_scoring_makes_no_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "score_dataset", lambda *_, **__: pytest.fail("a scoring pass ran"))
    recipe = replace(tiny.SPL, schedule=replace(tiny.SPL.schedule, rescore="online"))
    fit(tiny.model(), tiny.splits(), recipe, run_in(tmp_path))
    order = [row["order"] for row in read_metrics(tmp_path)]
    assert order[0]["order_to_difficulty"] is None  # no scores before the first epoch
    assert order[2]["order_to_difficulty"] > 0  # balanced first
    assert order[2]["difficulty_to_last"] is not None


def test_a_run_is_the_same_for_any_number_of_workers_and_repeats_exactly(tmp_path):
    results = []
    for name, workers in (("a", 0), ("b", 0), ("c", 2)):
        network = tiny.model(norm=True, dropout=0.3)
        fit(network, tiny.splits(noise=0.5), tiny.CL, run_in(tmp_path / name, workers=workers))
        rows = [tiny.untimed(row) for row in read_metrics(tmp_path / name)]
        results.append((rows, network.state_dict()))
    for rows, state in results[1:]:
        assert rows == results[0][0]
        assert all(torch.equal(value, results[0][1][key]) for key, value in state.items())


def test_a_run_does_not_touch_the_global_random_states(tmp_path):
    network = tiny.model(dropout=0.3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    fit(network, tiny.splits(noise=0.5), tiny.SPL, run_in(tmp_path))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_random_pacing_runs_with_the_sizes_of_cl_and_without_scoring(tmp_path, monkeypatch):
    fit(tiny.model(), tiny.splits(), tiny.CL, run_in(tmp_path / "cl"))
    monkeypatch.setattr(passes, "score_dataset", lambda *_, **__: pytest.fail("a scoring pass ran"))
    random = replace(tiny.CL, schedule=replace(tiny.CL.schedule, sampler="random_pacing"))
    fit(tiny.model(), tiny.splits(), random, run_in(tmp_path / "random"))
    sizes = [[row["samples"] for row in read_metrics(tmp_path / name)] for name in ("cl", "random")]
    assert sizes[0] == sizes[1]


def test_class_balanced_subsets_keep_the_class_mix(tmp_path):
    sizes = {}

    class Spy(CurriculumSampler):
        def set_epoch(self, epoch):
            super().set_epoch(epoch)
            sizes[epoch] = torch.bincount(self.labels[self.global_order()]).tolist()

    recipe = replace(tiny.CL, schedule=replace(tiny.CL.schedule, class_balanced=True))
    fit(tiny.model(), tiny.splits(train=90), recipe, run_in(tmp_path), sampler=Spy)
    assert all(max(counts) - min(counts) <= 1 for counts in sizes.values())


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_what_came_before(tmp_path, monkeypatch):
    original = run_in_motion.train_epoch
    calls = []

    def spy(*args, **options):
        calls.append(1)
        result = original(*args, **options)
        return result._replace(loss=math.nan) if len(calls) == 2 else result

    monkeypatch.setattr(run_in_motion, "train_epoch", spy)
    with pytest.raises(TrainingError, match=r"epoch 2 is nan after step 7: lower the learning rate"):
        fit(tiny.model(), tiny.splits(), tiny.SPL, run_in(tmp_path))
    assert len(read_metrics(tmp_path)) == 1
    assert (tmp_path / "last.pt").exists() and not (tmp_path / "done").exists()


def test_before_the_first_step_it_is_not_the_learning_rate_that_is_blamed(tmp_path):
    network = tiny.model()
    network.heads["audio"].weight.data.fill_(math.nan)
    with pytest.warns(UserWarning, match="60 samples had no finite score"):
        with pytest.raises(
            TrainingError, match="finite score before epoch 1: look for numbers in the samples or in the"
        ):
            fit(network, tiny.splits(), tiny.CL, run_in(tmp_path))


def test_a_network_that_diverged_before_a_later_scoring_is_told_a_lower_learning_rate(tmp_path):
    warm = replace(tiny.CL, lr=1e6, weight_decay=1e3, schedule=replace(tiny.CL.schedule, warmup_epochs=1))
    with pytest.raises(TrainingError, match=r"lower the learning rate"):
        fit(tiny.model(), tiny.splits(), warm, run_in(tmp_path))


def test_an_interrupted_run_keeps_its_epochs_and_scores(tmp_path, monkeypatch):
    original = run_in_motion.train_epoch
    calls = []

    def spy(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(run_in_motion, "train_epoch", spy)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny.model(), tiny.splits(), tiny.SPL, run_in(tmp_path))
    assert len(read_metrics(tmp_path)) == 2
    with np.load(tmp_path / "scores.npz") as scores:
        assert scores["epoch"].tolist() == [0, 1, 2]


def test_a_second_run_in_the_same_folder_is_refused_unless_asked_for(tmp_path):
    fit(tiny.model(), tiny.splits(), tiny.SPL, run_in(tmp_path))
    with pytest.raises(RunFolderError, match=r"finished run \(3 epochs\): pass another --out, or --set overwrite=true"):
        fit(tiny.model(), tiny.splits(), tiny.SPL, run_in(tmp_path))
    recipe = replace(tiny.SPL, epochs=1, overwrite=True)
    fit(tiny.model(), tiny.splits(), recipe, run_in(tmp_path))
    assert len(read_metrics(tmp_path)) == 1


def test_fewer_samples_than_a_batch_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(DataError, match="6 training samples do not fill one batch of 8: pass --batch-size 6 or less"):
        fit(tiny.model(), tiny.splits(train=6), tiny.SPL, run_in(tmp_path))
    assert not list(tmp_path.iterdir())


def test_one_class_is_refused(tmp_path):
    data = replace(tiny.splits(), labels_N=torch.ones(60, dtype=torch.int64))
    with pytest.raises(DataError, match="all have the class middle"):
        fit(tiny.model(), data, tiny.SPL, run_in(tmp_path))


@pytest.mark.parametrize(("part", "val"), [("test", 24), ("val", 24), ("test", 0)])
def test_a_broken_file_of_test_or_validation_is_found_before_training(tmp_path, part, val):
    class Broken(tiny.Features):
        def __getitem__(self, index):
            raise DataError("clip7.wav: truncated")

    data = tiny.splits(val=val)
    data = replace(data, **{part: Broken(**vars(getattr(data, part)))})
    with pytest.raises(DataError, match=r"clip7\.wav"):
        fit(tiny.model(), data, tiny.SPL, run_in(tmp_path))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_whole_run_raises_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(tiny.model(norm=True), tiny.splits(), tiny.SPL, run_in(tmp_path))
        fit(tiny.model(norm=True), tiny.splits(), tiny.CL, run_in(tmp_path / "cl"))
    assert (tmp_path / "cl" / "done").exists()
