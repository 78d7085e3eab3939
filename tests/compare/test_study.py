"""The study's tasks, on generated miniatures of their files; and the data sets in memory that they are made of."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import bss
from bss import tasks
from bss.data.indexed import INDEX_KEY, IndexedDataset, SeededViews
from bss.data.tensors import TensorSamples, read_arrays, standardized, tensor_splits, whole_numbers_named
from bss.models.encoders.norms import normalization
from bss.recipes.fields import explain, override
from bss.training.run import Run
from bss.utils.errors import DataError, DataNotFoundError, RecipeError

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
STUDY = ROOT / "benchmarks" / "study"


digits, mfeat, tweets = TASKS = [tasks.load(str(STUDY / f"{stem}.py")) for stem in ("digits", "mfeat", "tweets")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Miniatures of all files: the real names, types and layout, noise inside."""
    folder = tmp_path_factory.mktemp("study")
    draw = np.random.default_rng(0)
    label = np.arange(150) % 10
    speaker = np.array(["ada", "ben", "cleo", "dan", "eve", "fay"])[np.arange(150) // 25]
    length = draw.integers(900, 9000, 150)
    audio = draw.integers(-20_000, 20_000, length.sum()).astype(np.int16)
    images = draw.integers(0, 256, (2, 150, 28, 28)).astype(np.uint8)
    np.savez(
        folder / "avdigits.npz",
        audio=audio,
        offsets=np.r_[0, length.cumsum()],
        image=images[0],
        image_pca25=images[1],
        label=label.astype(np.uint8),
        name=np.array([f"{k}_{who}_{i}" for i, (k, who) in enumerate(zip(label, speaker, strict=True))]),
        speaker=speaker,
        split=np.where(np.arange(150) < 100, "train", "test"),
        indomain_test=np.arange(150) // 10 % 4 == 3,
        rate=np.int64(8000),
    )
    views = {view: draw.normal(size=(150, width)).astype(np.float32) for view, width in mfeat.FEATURES.items()}
    order = draw.permutation(150)
    np.savez(folder / "mfeat.npz", y=label, train=order[:100], test=order[100:], **views)
    (folder / "sarcasm").mkdir()
    for split, count in (("train", 60), ("val", 20), ("test", 20)):
        rows = [
            {
                "image": f"images/{split}{i}.jpg",
                "text": "oh great , another Monday" if i % 2 else "coffee and cake",
                "label": i % 2,
                "attributes": ["rain", "grey", "street", "cars", "wet"] if i % 4 < 2 else ["cup", "table"],
            }
            for i in range(count)
        ]
        (folder / "sarcasm" / f"{split}_data.json").write_text(json.dumps(rows))
    return folder


# ---- samples in memory ---------------------------------------------------------------------------------------------


def samples():
    return TensorSamples({"a": torch.arange(12.0).reshape(6, 2), "b": torch.arange(6)}, torch.arange(6) % 3)


def test_samples_fetched_together_are_those_fetched_one_by_one():
    together, one_by_one = samples().__getitems__([4, 0, 4]), [samples()[i] for i in (4, 0, 4)]
    for left, right in zip(together, one_by_one, strict=True):
        assert left.keys() == right.keys() == {"a", "b", "label"}
        assert left["a"].equal(right["a"]) and left["b"].equal(right["b"])
        assert left["label"] == right["label"] and type(left["label"]) is int


def test_a_batch_holds_the_rows_that_were_asked_for_with_their_index():
    views = SeededViews(IndexedDataset(samples()), seed=0)
    (batch,) = DataLoader(views, batch_sampler=[[(3, 5), (3, 1)]])
    assert batch["a"].tolist() == [[10.0, 11.0], [2.0, 3.0]]
    assert batch["label"].tolist() == [2, 1] and batch[INDEX_KEY].tolist() == [5, 1]


def test_what_is_not_random_is_fetched_in_one_go_and_without_any_seed(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr("bss.data.indexed.seeded", refuse)
    monkeypatch.setattr(TensorSamples, "__getitem__", refuse)
    assert len(SeededViews(IndexedDataset(samples()), seed=0).__getitems__([(0, 1), (0, 2)])) == 2


def test_a_modality_with_another_number_of_rows_is_refused():
    with pytest.raises(ValueError, match=r"6 labels, got \{'a': 5\}"):
        TensorSamples({"a": torch.zeros(5, 2)}, torch.zeros(6))


def test_the_parts_hold_the_rows_that_they_were_given():
    labels = torch.tensor([0, 1, 0, 1, 0])
    values = {"a": torch.arange(5.0).unsqueeze(1)}
    data = tensor_splits(values, labels, train=[4, 1], val=None, test=[2], names="vwxyz", classes=("p", "q"))
    assert data.train.modalities["a"].flatten().tolist() == [4, 1] and data.labels_N.tolist() == [0, 1]
    assert data.names == ["z", "w"] and data.val is None and data.score is data.train
    assert data.test.modalities["a"].item() == 2


def test_a_row_in_two_parts_is_refused_by_name():
    with pytest.raises(DataError, match="sample y is in the train part and in the test part"):
        tensor_splits({}, torch.zeros(4).long(), train=[0, 3], val=[1], test=[3], names="vwxy", classes=("p",))


VALUES = {"a": torch.arange(8.0).reshape(4, 2), "b": torch.arange(4)}
PARTS = {"train": [0, 1], "val": [2], "test": [3], "names": "vwxy", "classes": ("p", "q")}
NAN, INF = (torch.tensor([[0.0, 0], [0, 0], [0, bad], [0, 0]]) for bad in (float("nan"), float("inf")))


def parts_of(values=VALUES, labels=(0, 1, 0, 1), **changed):
    labels = torch.tensor(labels) if isinstance(labels, tuple) else labels
    return tensor_splits(values, labels, **PARTS | changed)


@pytest.mark.parametrize("given", ["float64", "float16", "bfloat16", "bool", "uint8", "int16"])
def test_numbers_of_a_network_become_float32_whatever_they_were(given):
    values = torch.arange(8).reshape(4, 2).to(getattr(torch, given))
    data = parts_of({"a": values, "b": torch.zeros(4, 1, requires_grad=True)})
    assert data.train.modalities["a"].dtype == data.train.modalities["b"].dtype == torch.float32
    assert torch.equal(data.train.modalities["a"], values[:2].float()) and not data.train.modalities["b"].requires_grad


@pytest.mark.parametrize("given", [torch.int64, torch.int32])
def test_long_integers_stay_ids(given):
    assert parts_of({"a": torch.zeros(4, 2, dtype=given), "b": torch.zeros(4)}).test.modalities["a"].dtype == given


def test_what_becomes_infinite_in_float32_is_refused_as_such():
    values = torch.full((4, 2), 1e300, dtype=torch.float64)
    with pytest.raises(DataError, match=r"sample v \(row 0\) has a non-finite a \(as float32\)"):
        parts_of({"a": values, "b": torch.zeros(4)})


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 must have the same dtype"), NotImplementedError("\"x\" not implemented for 'Long'")],
)
def test_an_error_of_torch_about_types_names_the_modalities_of_whole_numbers(error):
    ids = TensorSamples({"words": torch.zeros(4, 2).long(), "sound": torch.zeros(4)}, torch.zeros(4))
    with pytest.raises(DataError, match=r"floats: words \(torch.int64\)\. .* of features pass values.float\(\)$"):
        with whole_numbers_named(ids):
            raise error
    for part, other in ((ids, RuntimeError("shapes cannot be multiplied")), (object(), error)):
        with pytest.raises(type(other)) as caught, whole_numbers_named(part):
            raise other
        assert caught.value is other


def test_arrays_of_another_machines_byte_order_are_read_in_this_ones(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(4, dtype=">f8"), b=np.array(["x"], dtype=">U1"))
    arrays = read_arrays(tmp_path / "x.npz", ("a", "b"), title="X", advice="")
    assert torch.as_tensor(arrays["a"]).tolist() == [0, 1, 2, 3] and arrays["b"].tolist() == ["x"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"names": "vwx"}, r"for each of the 4 labels, got {'a': 4, 'b': 4, 'names': 3}"),
        ({"values": VALUES | {"a": torch.zeros(5, 2)}}, r"for each of the 4 labels, got {'a': 5, 'b': 4, 'names': 4}"),
        ({"values": {"a": np.zeros((4, 2))}}, r"a must be a tensor .* got ndarray: pass torch.as_tensor\(a.astype\("),
        ({"values": {"a": np.array([{}] * 4)}}, r"pass torch.as_tensor\(np.stack\(list\(a\)\).astype\("),
        (
            {"values": VALUES | {"a": torch.zeros(4, 2) * 1j}},
            r"a is torch.complex64, .* pass a.abs\(\), or",
        ),
        ({"values": VALUES | {"a": torch.eye(4).to_sparse()}}, r"a is a sparse tensor .*: pass a.to_dense\(\)"),
        ({"labels": (0.0, 1.0, 0.0, 1.0)}, r"integers in 0\.\.1, got \(4,\) torch.float32: pass labels.long\(\)"),
        ({"labels": ((0, 1),) * 4}, r"got \(4, 2\) torch.int64: .*labels.argmax\(dim=1\) of one-hot rows"),
        ({"labels": (True, False, True, True)}, r"got \(4,\) torch.bool: pass labels.long\(\)"),
        ({"labels": ["p", "q", "p", "q"]}, r"must be a tensor .* got list: pass torch.tensor\(\[classes.index\(name\)"),
        ({"labels": (0, 1, 2, 1)}, r"sample x \(row 2\) has the label 2; the 2 classes have the labels 0\.\.1"),
        ({"labels": (0, -1, 0, 1)}, r"sample w \(row 1\) has the label -1; the 2 classes have the labels 0\.\.1"),
        ({"train": [0, -3]}, r"the train part has the row -3, but the 4 samples have the rows 0\.\.3"),
        ({"test": [4]}, r"the test part has the row 4, but the 4 samples have the rows 0\.\.3"),
        ({"train": [0, 1, 1.5]}, r"the train part must be .* row numbers in 0\.\.3, got \(3,\) torch.float32"),
        ({"train": [True, True, False, False]}, r"got \(4,\) torch.bool: pass mask.nonzero\(\).flatten\(\) of a mask"),
        ({"train": [[0, 1]]}, r"the train part must be .* row numbers in 0\.\.3, got \(1, 2\) torch.int64"),
        ({"train": ["v", "w"]}, r"the train part must be .* row numbers in 0\.\.3, got \['v', 'w'\]"),
        ({"train": []}, "the train part has no samples$"),
        ({"val": []}, "the validation part has no samples: pass val=None for no validation$"),
        ({"test": torch.tensor([])}, "the test part has no samples$"),
        (
            {"values": {"a": NAN}},
            r"sample x \(row 2\) has a non-finite a \(as float32\): mend it or leave",
        ),
        ({"values": {"b": VALUES["b"], "a": INF}}, r"sample x \(row 2\) has a non-finite a"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_makes_no_parts_is_refused_with_what_is_allowed(changed, said):
    with pytest.raises(DataError, match=said):
        parts_of(**changed)


def test_a_row_that_is_in_no_part_may_hold_anything():
    data = parts_of({"a": NAN}, (0, 1, -1, 1), val=None)
    assert len(data.train) == 2 and data.test.modalities["a"].tolist() == [[0, 0]]


def test_labels_and_rows_of_any_integer_type_are_fine():
    labels = torch.tensor([0, 1, 0, 1], dtype=torch.uint8)
    rows = {"train": np.array([1, 0], dtype=np.int32), "val": range(2, 3), "test": torch.tensor([3])}
    data = parts_of(labels=labels, **rows)
    assert data.labels_N.tolist() == [1, 0] and data.labels_N.dtype == torch.int64
    assert data.names == ["w", "v"] and data.val.labels_N.tolist() == [0]


def test_standardised_by_hand():
    values = torch.tensor([[1, 7], [3, 7], [9, 7]])
    by_column = standardized(values, [0, 1], by_column=True)  # mean 2, deviation 1; the second column is constant
    assert by_column.tolist() == [[-1, 0], [1, 0], [7, 0]]
    flat = standardized(torch.tensor([[0, 4], [4, 0], [6, 2]]), [0, 1], by_column=False)  # mean 2, deviation 2
    assert flat.tolist() == [[-1, 1], [1, -1], [2, 0]]


def test_arrays_that_are_not_there_are_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"Views: there is no x\.npz under .*\nsee the page"):
        read_arrays(tmp_path / "x.npz", ["y"], title="Views", advice="see the page")
    np.savez(tmp_path / "x.npz", a=1, b=2)
    with pytest.raises(DataError, match=r"no array y; it has a, b"):
        read_arrays(tmp_path / "x.npz", ["a", "y"], title="Views", advice="see the page")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut short", b"\x80\x04]\x94."])
def test_a_file_that_holds_no_arrays_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz: not a \.npz file"):
        read_arrays(tmp_path / "x.npz", ["y"], title="Views", advice="see the page")


def test_objects_in_an_array_are_not_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", y=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"x\.npz: not a \.npz file of arrays: Object arrays"):
        read_arrays(tmp_path / "x.npz", ["y"], title="Views", advice="see the page")


# ---- normalisation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "spatial"), [((4, 16), False), ((4, 16, 3, 3), True)])
def test_only_batch_normalisation_looks_at_the_batch(shape, spatial):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    others = torch.cat([values[:1], 5 * values[1:]])
    for norm, depends in (("batch", True), ("group", False), ("none", False)):
        layer = normalization(norm, 16, spatial=spatial)
        assert torch.allclose(layer(values)[0], layer(others)[0], atol=1e-6) is not depends
        assert len(list(layer.buffers())) == (3 if depends else 0)


# ---- the tasks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_every_recipe_field_says_what_it_means(task):
    assert all(meaning for _, meaning in explain(task.CL))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_a_task_trains_with_both_samplers_and_any_normalisation(task, norm, root, tmp_path):
    for recipe in (task.CL, task.SPL):
        recipe = replace(recipe, epochs=1, batch_size=16, norm=norm)
        out = tmp_path / recipe.schedule.sampler
        run = Run(out, root, torch.device("cpu"))
        summary = bss.fit(task.build_model(recipe, root), task.build_data(recipe, root), recipe, run)
        assert 0 <= summary["test"]["last"]["accuracy"]["all"] <= 1


def test_the_digits_train_with_resnets_too(root, tmp_path):
    recipe = override(replace(digits.CL, epochs=1), ["encoder=resnet18", "stretch=32", "updates=1"])
    model = digits.build_model(recipe, root)
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_360_990
    run = Run(tmp_path / "run", root, torch.device("cpu"))
    summary = bss.fit(model, digits.build_data(recipe, root), recipe, run)
    assert summary["updates"] == 1


@pytest.mark.parametrize("task", TASKS)
def test_the_weights_and_the_validation_part_are_a_function_of_the_seed(task, root):
    for seed, same in ((0, True), (1, False)):
        recipes = task.CL, replace(task.CL, seed=seed)
        one, other = (task.build_model(recipe, root).heads for recipe in recipes)
        assert all(a.equal(b) for a, b in zip(one.parameters(), other.parameters(), strict=True)) is same
        names = [task.build_data(recipe, root).names for recipe in recipes]
        assert (names[0] == names[1]) is (same or task is tweets)  # whose validation list is published


@pytest.mark.parametrize("task", TASKS)
def test_without_its_files_a_task_says_where_it_looked(task, tmp_path):
    with pytest.raises(DataNotFoundError, match=f"{task.TITLE}: there is no .* under {tmp_path}"):
        task.build_data(task.CL, tmp_path)


@pytest.mark.parametrize("task", TASKS)
def test_without_a_validation_part_all_training_samples_train(task, root):
    whole = task.build_data(replace(task.CL, val_fraction=0.0), root)
    part = task.build_data(task.CL, root)
    assert whole.val is None and part.val is not None
    held_out = 0 if task is tweets else len(part.val)
    assert len(whole.train) == len(part.train) + held_out


@pytest.mark.parametrize(
    ("task", "assignment"),
    [(task, "train_samples=0") for task in TASKS]
    + [(digits, "mels=0"), (digits, "seconds=-1"), (mfeat, "hidden=12"), (tweets, "hidden=0"), (tweets, "min_count=0")],
)
def test_numbers_that_cannot_be_are_refused(task, assignment):
    with pytest.raises(RecipeError, match=assignment.partition("=")[0]):
        override(task.CL, [assignment])


# ---- digits


def test_a_digit_has_a_spectrogram_and_a_picture(root):
    data = digits.build_data(digits.CL, root)
    assert {name: tuple(values.shape[1:]) for name, values in data.train.modalities.items()} == {
        "audio": (1, 32, 21),  # 32 bands; 8,000 samples by hops of 400, both ends included
        "image": (1, 28, 28),
    }
    assert len(data.train) + len(data.val) == 100 and len(data.test) == 50


def test_the_in_domain_split_tests_the_takes_that_are_marked(root):
    data = digits.build_data(replace(digits.CL, split="in-domain"), root)
    assert len(data.train) + len(data.val) == 120 and len(data.test) == 30


def test_pictures_are_standardised_by_the_training_part_alone(root):
    data = digits.build_data(digits.CL, root)
    for values in data.train.modalities.values():
        assert values.mean().abs() < 1e-4 and (values.std(correction=0) - 1).abs() < 1e-4
    assert (data.test.modalities["image"].mean()).abs() > 1e-5


def test_a_short_clip_is_repeated(tmp_path):
    period = np.int16([0, 16384] * 100)
    for name, clip in (("short", period), ("long", np.tile(period, 40))):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "avdigits.npz", audio=clip, offsets=[0, len(clip)], rate=8000)
    short, long = (digits.log_mel(tmp_path / name, 1.0, 512, 400, 32) for name in ("short", "long"))
    assert short.equal(long)


def test_spectrograms_are_made_once(root):
    first = digits.log_mel(root, 1.0, 512, 400, 32)
    assert digits.log_mel(root, 1.0, 512, 400, 32) is first


def test_the_digits_encoders_have_the_parameters_that_the_docstring_states(root):
    model = digits.build_model(digits.CL, root)
    sizes = [sum(p.numel() for p in module.parameters()) for module in (*model.encoders.values(), model)]
    assert sizes == [23_520, 23_520, 49_630]


# ---- numerals


@pytest.mark.parametrize("views", ["pix+mor", "fou+zer+mor"])
def test_a_numeral_has_the_views_that_are_asked_for(root, views):
    recipe = replace(mfeat.CL, views=views)
    data, model = mfeat.build_data(recipe, root), mfeat.build_model(recipe, root)
    assert "+".join(data.train.modalities) == "+".join(model.encoders) == views
    assert all(v.shape[1] == mfeat.FEATURES[name] for name, v in data.train.modalities.items())
    assert len(data.train) + len(data.val) == 100 and len(data.test) == 50


def test_features_are_standardised_one_by_one_on_the_training_part(root):
    values = mfeat.build_data(mfeat.CL, root).train.modalities["fou"]
    assert values.mean(dim=0).abs().max() < 1e-5
    assert (values.std(dim=0, correction=0) - 1).abs().max() < 1e-5


# ---- tweets


def tweet(text, image=()):
    return tweets.Tweet("t", 0, {"text": tuple(text.split()), "image": tuple(image)})


def test_a_vocabulary_counts_tweets_and_puts_frequent_words_first():
    listed = [tweet("b a a"), tweet("b c", ["x"]), tweet("b a d", ["x"])]
    assert tweets.vocabularies(listed, 2) == {"text": {"b": 1, "a": 2}, "image": {"x": 1}}


def test_word_ids_by_hand():
    ids = tweets.word_ids([["a", "?", "b", "a"], ["?"], ["b", "b", "b", "b"]], {"a": 1, "b": 2}, 3)
    assert ids.tolist() == [[1, 2, 1], [0, 0, 0], [2, 2, 2]]


def test_the_mean_word_leaves_padding_out():
    encoder = tweets.WordVectors(4, 8, "none")
    vectors = encoder.vectors.weight
    assert torch.allclose(encoder.vectors(torch.tensor([[1, 3, 0, 0]]))[0], (vectors[1] + vectors[3]) / 2)
    assert encoder.vectors(torch.tensor([[0, 0]])).eq(0).all()


def test_words_of_validation_and_test_are_not_learned(root):
    listed = tweets.training_tweets(root, None)
    assert set(tweets.vocabularies(listed, 1)["text"]) == set("oh great , another monday coffee and cake".split())


def test_a_share_of_the_training_list_is_stratified_and_the_same_for_every_seed(root):
    parts = [tweets.build_data(replace(tweets.CL, train_samples=20, seed=seed), root) for seed in (0, 1)]
    assert parts[0].names == parts[1].names and parts[0].labels_N.bincount().tolist() == [10, 10]
    assert len(parts[0].val) == 20 and len(parts[0].test) == 20
    with pytest.raises(DataError, match="train_samples=61, but the list has 60"):
        tweets.training_tweets(root, 61)


@pytest.mark.parametrize("seen", [None, "rain", [1], list("abcdef")])
def test_image_words_that_are_none_are_refused_with_their_row(tmp_path, seen):
    path = tmp_path / "train_data.json"
    path.write_text(json.dumps([{"image": "1.jpg", "text": "a", "label": 0, "attributes": seen}]))
    with pytest.raises(DataError, match=r"train_data\.json item 1: attributes are .* expected up to 5 words"):
        tweets.read_tweets(path)


# ---- the real files


@pytest.mark.skipif(not SHARED.is_dir(), reason="the study's data are not here")
@pytest.mark.parametrize(
    ("task", "assignments", "sizes"),
    [
        (digits, [], (1800, 200, 1000)),
        (digits, ["split=in-domain", "images=clean"], (2430, 270, 300)),
        (mfeat, [], (1350, 150, 500)),
        (mfeat, ["views=pix+mor"], (1350, 150, 500)),
        (tweets, [], (19816, 2410, 2409)),
    ],
)
def test_the_real_files_give_the_published_sizes(task, assignments, sizes):
    data = task.build_data(override(task.CL, assignments), SHARED)
    assert (len(data.train), len(data.val), len(data.test)) == sizes
    assert len(set(data.names)) == len(data.names)


# ---- other test parts


def names_in(task, root, **changed):
    """Names of the training, validation and test part."""
    data = task.build_data(replace(task.CL, **changed), root)
    return set(data.names), set(data.listed["val"].names), set(data.listed["test"].names)


@pytest.mark.parametrize("task", TASKS)
def test_over_the_folds_every_sample_is_tested_once_and_no_seed_changes_them(task, root):
    how = {"split": "in-domain"} if task is digits else {}
    parts = [names_in(task, root, fold=fold, folds=3, **how) for fold in range(3)]
    whole = set.union(*parts[0])
    assert [len(test) for _, _, test in parts] == [len(whole) // 3 + (fold < len(whole) % 3) for fold in range(3)]
    assert set().union(*(test for _, _, test in parts)) == whole
    assert all(train | val == whole - test and not train & val for train, val, test in parts)
    assert names_in(task, root, fold=1, folds=3, seed=7, **how)[2] == parts[1][2]


def test_two_of_the_six_speakers_are_tested_in_each_of_fifteen_folds(root):
    pairs = set()
    for fold in range(15):
        train, val, test = names_in(digits, root, fold=fold)
        tested, trained = ({name.split("_")[1] for name in part} for part in (test, train | val))
        assert len(tested) == 2 and len(trained) == 4 and not tested & trained
        pairs.add(frozenset(tested))
    assert len(pairs) == 15


@pytest.mark.parametrize("task", TASKS)
def test_a_test_part_of_every_seed_is_of_the_published_size_and_shared_by_its_runs(task, root):
    published = names_in(task, root)
    drawn = [names_in(task, root, test_part="seeded", seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] and drawn[0][2] != drawn[2][2] != published[2]
    assert len(drawn[0][2]) == len(published[2]) and not drawn[0][2] & (drawn[0][0] | drawn[0][1])
    fewer = names_in(task, root, test_part="seeded", train_samples=20)
    assert len(fewer[0]) == 20 and fewer[0] < drawn[0][0] and fewer[1:] == drawn[0][1:]


@pytest.mark.parametrize("task", [digits, mfeat])
def test_fewer_training_samples_leave_the_other_parts_as_they_are(task, root):
    whole, fewer = names_in(task, root), names_in(task, root, train_samples=20)
    assert len(fewer[0]) == 20 and fewer[0] < whole[0] and fewer[1:] == whole[1:]
    counts = [task.build_data(replace(task.CL, train_samples=n), root).labels_N.bincount() for n in (None, 20)]
    assert (counts[1] - counts[0] * 20 / 90).abs().max() < 1
    with pytest.raises(DataError, match="train_samples=91, but 90 samples are there to train"):
        names_in(task, root, train_samples=91)


def test_features_are_standardised_on_the_training_part_of_a_fold(root):
    values = mfeat.build_data(replace(mfeat.CL, fold=2, train_samples=60), root).train.modalities["fou"]
    assert values.mean(dim=0).abs().max() < 1e-5 and len(values) == 60


def test_the_run_folder_says_which_fold_and_which_groups_were_tested(root, tmp_path):
    recipe = override(mfeat.CL, ["fold=1", "updates=1", "epochs=1"])
    data = replace(mfeat.build_data(recipe, root), tested_groups={"actor": ("1003", "1007")})
    bss.fit(mfeat.build_model(recipe, root), data, recipe, Run(tmp_path / "run", root, torch.device("cpu")))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["fold"] == 1 and config["tested_groups"] == {"actor": ["1003", "1007"]}


def test_words_of_the_training_part_of_a_fold_alone_are_learned(root):
    recipe = replace(tweets.CL, fold=0, train_samples=2, min_count=1)
    listed = tweets.parts_of(recipe, root)["train"]
    model = tweets.build_model(recipe, root)
    known = tweets.vocabularies(listed, 1)["image"]
    assert len(listed) == 2 and model.encoders["image"].vectors.num_embeddings == 1 + len(known)


@pytest.mark.parametrize(
    ("task", "assignments", "said"),
    [
        (mfeat, ["folds=1"], "folds must be 2 or more"),
        (tweets, ["fold=5"], "fold=5 is none of the 5 folds, which are counted from 0 to 4"),
        (mfeat, ["fold=-1"], "fold=-1 is none"),
        (mfeat, ["fold=0", "test_part=seeded"], "fold=0 and test_part=seeded both say what is tested"),
        (digits, ["fold=0", "folds=5"], "six speakers make 15 folds, .*: folds=15, or split=in-domain"),
    ],
)
def test_folds_that_cannot_be_are_refused(task, assignments, said):
    with pytest.raises(RecipeError, match=said):
        override(task.CL, assignments)


def test_more_folds_than_a_class_has_samples_are_refused(root):
    with pytest.raises(DataError, match=r"class 0 has 15 samples, which cannot be dealt to 16 folds: fewer"):
        names_in(mfeat, root, fold=0, folds=16)
