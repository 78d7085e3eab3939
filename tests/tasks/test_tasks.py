"""What every task promises, whatever its data: found by itself, built, trained for an epoch, and equal to the released.

The numbers of the released networks are those of their own code at 495b94e, counted there.
"""

import importlib
import json
import re
from collections import Counter
from dataclasses import fields, replace

import pytest
import torch
from torch.utils.data import Dataset

from bss import tasks
from bss.compare.claims import CLAIMS
from bss.data.batches import collate
from bss.data.datasets.data_set import find
from bss.data.parts import part_of
from bss.models.late_fusion import Logits
from bss.recipes.fields import describe, explain, flatten, override
from bss.recipes.recipe import Recipe
from bss.training.build import as_trained
from bss.training.engine import fit
from bss.training.run import Run
from bss.utils.errors import DataNotFoundError
from tests.released import KEYS, renamed

STEMS = tasks.names()
RECIPES = ("CL", "SPL", "CL_OFFICIAL", "SPL_OFFICIAL", "CL_PAPER", "SPL_PAPER")

# Task -> (parameters, state-dict entries, some of the released names).
RELEASED = {
    "ks": (22_410_333, 246, {"audio_net.conv1.weight", "visual_net.layer4.1.bn2.bias", "linear_last.weight"}),
    "cremad": (22_359_058, 246, {"audio_net.bn1.running_mean", "linear_a.weight", "linear_v.bias"}),
    "sarcasm": (135_222_060, 523, {"visual_net.fc.weight", "fix.bias", "cls_shared.weight", "cls_mm.bias"}),
    "twitter15": (134_589_769, 525, {"fc.weight", "linear_img.bias", "linear_txt.weight", "linear_last.weight"}),
    "nvgesture": (
        36_949_636,
        1034,
        {
            "rgb_encoder.rgbmodel.Conv3d_1a_7x7.conv3d.weight",
            "of_encoder.ofmodel.Mixed_5c.b3b.bn.running_var",
            "depth_encoder.depthmodel.Conv3d_1a_7x7_1.conv3d.weight",
            "cls_m3.bias",
            "cls_mm.weight",
        },
    ),
}

every_task = pytest.mark.parametrize("stem", STEMS)


def task_of(stem):
    return importlib.import_module(f"bss.tasks.{stem}")


def data_of(stem):
    return importlib.import_module(f"bss.data.datasets.{stem}").DATA_SET


@pytest.fixture
def root(stem, samples):
    """The generated data set of the task."""
    folder = samples / "sample-data" / stem
    task_of(stem).write_sample(folder)
    return folder


def small(recipe, stem):
    return replace(task_of(stem).sample_recipe(recipe), epochs=1, image_size=24, width=4)


class Counting(Dataset):
    """The first samples of a data set, and how often each was asked for."""

    def __init__(self, dataset, members):
        self.dataset, self.members, self.seen = dataset, members, Counter()

    def __len__(self):
        return len(self.members)

    def __getitem__(self, index):
        self.seen[index] += 1
        return self.dataset[self.members[index]]


def spread(count, wanted):
    return [i * count // wanted for i in range(min(wanted, count))]


def shortened(data, train, test):
    """A few samples of every part, spread over the lists; the parts that the engine reads, counted."""
    members = spread(len(data.train), train)
    return replace(
        data,
        train=Counting(data.train, members),
        score=Counting(data.score, members),
        val=None,
        test=Counting(data.test, spread(len(data.test), test)),
        labels_N=data.labels_N[members],
        names=[data.names[i] for i in members],
    )


# ---- names and recipes ---------------------------------------------------------------------------------------------


def test_all_five_data_sets_are_there():
    assert STEMS == ["cremad", "ks", "nvgesture", "sarcasm", "twitter15"] and set(RELEASED) == set(STEMS)


@every_task
def test_the_record_of_a_data_set_has_what_doctor_and_tasks_rely_on(stem):
    data = data_of(stem)
    assert data.stem == stem and data.title and data.folder.lower() == stem
    assert len(set(data.classes)) == len(data.classes) >= 2
    assert {"train", "test"} <= set(data.splits) == set(data.published)
    assert all(len(set(places)) == len(places) >= 1 for places in data.places.values())
    assert all(isinstance(count, int) for counts in data.published.values() for count in counts)
    assert data.group is None or data.group.islower()
    assert callable(data.locate)


@every_task
@pytest.mark.parametrize("name", RECIPES)
def test_every_field_of_a_recipe_is_explained_and_can_be_set_to_itself(stem, name):
    recipe = getattr(task_of(stem), name)
    assert isinstance(recipe, Recipe)
    unexplained = [assignment for assignment, meaning in explain(recipe) if not meaning]
    assert not unexplained
    assignments = [assignment for line in describe(recipe).splitlines() for assignment in line.split("  ")]
    assert override(recipe, assignments) == recipe
    assert len(assignments) == len(flatten(recipe))


@every_task
def test_cl_and_spl_differ_in_the_schedule_and_in_the_released_epochs_and_seed_only(stem):
    task = task_of(stem)
    different = {f.name for f in fields(task.CL) if getattr(task.CL, f.name) != getattr(task.SPL, f.name)}
    assert "schedule" in different and different <= {"schedule", "epochs", "seed"}


@every_task
@pytest.mark.parametrize("method", ["CL", "SPL"])
def test_official_tests_after_every_epoch_and_keeps_the_released_numbers(stem, method):
    task = task_of(stem)
    default, official = getattr(task, method), getattr(task, f"{method}_OFFICIAL")
    assert official.val_fraction == 0 and official.tail == "last"
    for name in ("epochs", "batch_size", "lr", "seed", "optimizer", "momentum", "weight_decay", "lr_step", "lr_gamma"):
        assert getattr(official, name) == getattr(default, name)
    assert (official.fused_weight, official.unimodal_weight) == (default.fused_weight, default.unimodal_weight)


@every_task
def test_the_papers_preset_is_the_default_with_the_slides_sampler(stem):
    task = task_of(stem)
    of_slides = {"weighting": "softmax", "history": 0.4, "history_of": "balance", "rescore": 1}  # beta = 1 - 0.4
    loss = {"fused_weight": 0.2, "unimodal_weight": 0.8} if stem == "cremad" else {}
    assert replace(task.CL, **loss) == task.CL_PAPER
    assert replace(task.SPL, **loss, schedule=replace(task.SPL.schedule, **of_slides)) == task.SPL_PAPER


NUMBERS = {  # epochs CL / SPL, batch, lr, optimiser, seed CL / SPL; released scripts, lines 21-46
    "ks": (120, 100, 32, 0.1, "sgd", 42, 0),
    "cremad": (120, 120, 32, 0.01, "sgd", 42, 42),
    "sarcasm": (120, 100, 32, 1e-5, "adam", 42, 0),
    "twitter15": (113, 100, 32, 0.001, "sgd", 42, 0),
    "nvgesture": (120, 120, 2, 0.01, "sgd", 42, 42),
}


@every_task
def test_the_recipes_have_the_released_numbers(stem):
    cl, spl = task_of(stem).CL, task_of(stem).SPL
    found = (cl.epochs, spl.epochs, cl.batch_size, cl.lr, cl.optimizer, cl.seed, spl.seed)
    assert found == NUMBERS[stem]
    assert (cl.momentum, cl.weight_decay, cl.lr_step, cl.lr_gamma) == (0.9, 1e-4, 70, 0.1)
    assert (cl.schedule.start, cl.schedule.grow_epochs, spl.schedule.floor) == (0.1, 40, 0.01)
    weights = (cl.fused_weight, cl.unimodal_weight, cl.prediction)
    assert weights == ((0.1, 0.9, "unimodal") if stem == "cremad" else (1.0, 1.0, "all"))


def test_official_twitter_visits_imbalanced_samples_first_and_nvgesture_has_its_own_similarity_and_floor():
    twitter, nvgesture = task_of("twitter15"), task_of("nvgesture")
    schedule = twitter.SPL_OFFICIAL.schedule
    assert (schedule.order, schedule.mode) == ("imbalanced_first", "eval")
    assert twitter.SPL.schedule.order == twitter.CL_OFFICIAL.schedule.order == "balanced_first"
    assert nvgesture.CL_OFFICIAL.schedule.space == "logit" and nvgesture.CL.schedule.space == "probability"
    assert nvgesture.SPL_OFFICIAL.schedule.space == "probability"
    assert nvgesture.SPL_OFFICIAL.schedule.floor == 0 and nvgesture.SPL.schedule.floor == 0.01


# ---- networks ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert_base(tmp_path_factory):
    """A data root with the published shape of bert-base-uncased, and no weights."""
    folder = tmp_path_factory.mktemp("root") / "bert-base-uncased"
    folder.mkdir()
    shape = {"model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12}
    shape |= {"num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps({**shape, "type_vocab_size": 2}))
    return folder.parent


@every_task
def test_a_network_has_the_released_parameters_and_the_released_names(stem, bert_base):
    task = task_of(stem)
    without_files = {"image_weights", "rgb_weights", "flow_weights", "depth_weights"} & set(flatten(task.CL))
    recipe = replace(task.CL, **dict.fromkeys(without_files))
    if hasattr(recipe, "text_pretrained"):
        recipe = replace(recipe, text_pretrained=False)
    with torch.device("meta"):
        model = task.build_model(recipe, bert_base)
    parameters, entries, some_names = RELEASED[stem]
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    names = renamed(model.state_dict(), KEYS[stem])
    assert len(names) == entries
    assert some_names <= set(names)


@every_task
def test_a_batch_of_generated_samples_gives_one_set_of_logits_for_every_modality(stem, root):
    task = task_of(stem)
    recipe = small(task.CL, stem)
    data = task.build_data(recipe, root)
    batch = collate([data.score[0], data.score[1]])
    modalities = set(batch) - {"label"}
    logits = task.build_model(recipe, root).eval()(batch)
    assert isinstance(logits, Logits) and set(logits.unimodal) == modalities and len(modalities) >= 2
    assert set(CLAIMS[stem].alone.values()) == modalities  # each has a row by itself in the claimed table
    shapes = {tuple(values.shape) for values in (logits.fused, *logits.unimodal.values())}
    assert shapes == {(2, len(data.classes))}
    assert all(dtype == torch.float32 for dtype in (logits.fused.dtype, *(v.dtype for v in logits.unimodal.values())))


@every_task
def test_the_initial_weights_are_a_function_of_the_seed_alone(stem, root, untouched_rngs):
    task = task_of(stem)
    recipe = small(task.CL, stem)
    first, same = task.build_model(recipe, root).state_dict(), task.build_model(recipe, root).state_dict()
    other = task.build_model(replace(recipe, seed=recipe.seed + 1), root).state_dict()
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


# ---- data ----------------------------------------------------------------------------------------------------------


@every_task
def test_the_generated_splits_have_every_class_distinct_names_and_one_shape(stem, root):
    task = task_of(stem)
    data = task.build_data(small(task.CL, stem), root)
    assert set(data.labels_N.tolist()) == set(range(len(data.classes)))
    assert len(set(data.names)) == len(data.names) == len(data.train) == len(data.score)
    assert data.val is not None and len(data.val) > 0 and len(data.test) > 0 and not any(data.dropped.values())
    for part, (names, labels_N) in data.listed.items():
        samples = getattr(data, part)
        assert len(set(names)) == len(names) == len(samples) and labels_N.dtype == torch.int64
        assert int(labels_N[-1]) == int(samples[len(samples) - 1]["label"])
    assert set(data.listed) == {"val", "test"}
    for index in (0, len(data.score) - 1):
        assert int(data.score[index]["label"]) == int(data.train[index]["label"]) == int(data.labels_N[index])


def bytes_of(batch):
    """The content of a batch, nested or not, to compare."""
    if isinstance(batch, dict):
        return {name: bytes_of(value) for name, value in batch.items()}
    return batch.shape, batch.numpy().tobytes()


@every_task
def test_a_test_view_is_fixed_and_a_training_view_draws_from_torchs_generator_only(stem, root):
    from bss.utils.seeding import seeded

    task = task_of(stem)
    data = task.build_data(small(task.CL, stem), root)
    state = torch.get_rng_state()
    assert bytes_of(collate([data.score[3]])) == bytes_of(collate([data.score[3]]))
    assert torch.equal(torch.get_rng_state(), state)  # a fixed view draws nothing
    views = []
    for draw in (0, 0, 1):
        with seeded("view", draw):
            views.append(bytes_of(collate([data.train[3]])))
    moving = stem != "twitter15"  # whose released recipe shows training pictures as they are
    assert views[0] == views[1] and (views[0] != views[2]) == moving


@every_task
def test_a_corrupted_pair_has_a_modality_of_its_donor_and_a_wrong_label_is_told_everywhere(stem, root):
    task = task_of(stem)
    recipe = replace(small(task.CL, stem), corrupt_pairs=0.2, corrupt_labels=0.4)
    data = task.build_data(recipe, root)
    found = as_trained(data, recipe)
    assert found.test is data.test and as_trained(data, small(task.CL, stem)) is data
    for name in ("train", "val"):
        count, change = len(getattr(data, name)), found.corrupted[name]
        assert (len(change.pairs), len(change.labels)) == (round(0.2 * count), round(0.4 * count))
        assert [row.name for row in getattr(found, name).listed_rows()] == list(
            data.names if name == "train" else data.listed["val"].names
        )
    pairs = found.corrupted["train"].pairs
    sample = next(iter(pairs))
    collated = [collate([part[i]]) for part, i in ((found.score, sample), (data.score, sample))]
    donor = collate([data.score[pairs[sample].donor]])
    for modality in set(donor) - {"label"}:
        of_whom = donor if modality == pairs[sample].modality else collated[1]
        assert bytes_of(collated[0][modality]) == bytes_of(of_whom[modality])
    assert int(collated[0]["label"]) == int(found.train[sample]["label"]) == int(found.labels_N[sample])


@every_task
def test_a_list_of_one_s_own_is_seen_as_a_test_sees_it_wherever_its_files_lie(stem, root, tmp_path):
    task, data_set = task_of(stem), data_of(stem)
    recipe = small(task.CL, stem)
    data = task.build_data(recipe, root)
    tested = part_of(data, "test")
    for split in ("train", "test"):
        published = next(path for place in data_set.places[split] if (path := root / place).is_file())
        own = tmp_path / f"my_{published.name}"
        own.write_bytes(published.read_bytes())
        part = task.build_list(recipe, root, own)
        assert list(part.names) == [sample.name for sample in find(data_set, root, split)[0]] and not part.dropped
        assert part.title == "list" and len(part.labels_N) == len(part) and part.grouped_by == data_set.group
    assert (part.classes, part.groups, part.names) == (data_set.classes, tested.groups, tested.names)
    assert part.labels_N.tolist() == tested.labels_N.tolist()
    assert bytes_of(collate([part.samples[3]])) == bytes_of(collate([data.test[3]]))
    with pytest.raises(DataNotFoundError, match=r"the list .*gone\.csv is not a file"):
        task.build_list(recipe, root, tmp_path / "gone.csv")


@every_task
def test_samples_name_their_files_and_their_row(stem, root):
    samples, dropped = find(data_of(stem), root, "train")
    assert samples and not dropped
    for sample in samples[:5]:
        assert sample.files and all(sample.files.values())
        assert all(path.exists() for paths in sample.files.values() for path in paths)
        assert re.search(r" (line|item) [1-9]\d*$", sample.listed)
        assert 0 <= sample.label < len(data_of(stem).classes)
        assert bool(sample.group) == (data_of(stem).group is not None)


# ---- an epoch ------------------------------------------------------------------------------------------------------


@every_task
@pytest.mark.parametrize("method", ["CL", "SPL"])
def test_an_epoch_sees_the_pacings_share_with_cl_and_every_sample_once_with_spl(stem, method, root, tmp_path, capsys):
    task = task_of(stem)
    recipe = replace(small(getattr(task, method), stem), batch_size=4, tail="draw", imbalance_every=0)  # no probes
    data = shortened(task.build_data(recipe, root), train=24, test=4)
    summary = fit(task.build_model(recipe, root), data, recipe, Run(tmp_path / "run", root, torch.device("cpu")))
    share = recipe.schedule.pace(0)
    expected = int(24 * share) // 4 * 4
    assert set(data.train.seen.values()) == {1}  # nothing twice
    assert len(data.train.seen) == expected and (expected == 24) == (method == "SPL")
    assert set(data.score.seen.values()) == {1} and len(data.score.seen) == 24  # one scoring pass over all
    modalities = set(data.score[0]) - {"label"}
    for metric in ("accuracy", "macro_f1", "map"):
        assert set(summary["test"]["last"][metric]) == {"all", "fused", *modalities}
