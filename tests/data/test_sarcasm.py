"""Sarcasm: lists of all three kinds, files, samples, parts, network."""

import collections
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from bss.data.batches import collate
from bss.data.datasets.data_set import find, read
from bss.data.datasets.imagetext import ImageText
from bss.data.datasets.sarcasm import DATA_SET, GIVEAWAYS, has_giveaway, read_list
from bss.data.synthetic import sarcasm as synthetic_sarcasm
from bss.data.synthetic.signals import PerClass, PostSizes, write_text_model
from bss.data.transforms.image import fixed_transform
from bss.recipes.fields import override
from bss.tasks import sarcasm as task
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from tests.released import KEYS, renamed

SHARED = Path(__file__).parents[3] / "shared" / "data" / "sarcasm"
JPEG = torchvision.io.encode_jpeg(torch.zeros(3, 8, 8, dtype=torch.uint8)).numpy().tobytes()
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"

RELEASED = [
    {"image": "images/101.jpg", "text": "oh great monday", "label": 1, "attributes": ["sky"]},
    {"image": "images/102.jpg", "text": "coffee", "label": 0},
    {"image": "103.jpg", "text": "!!! \u2764", "label": "1"},
]
ORIGINAL = "['101', 'oh great monday ', 1]\n['102', \"coffee\", 1, 0]\n['103', '!!! \u2764', 0, 1]\n"
MMSD2 = [{"image_id": 100 + n, "text": post["text"], "label": int(post["label"])} for n, post in enumerate(RELEASED, 1)]


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def root(tmp_path):
    """A whole tree of three posts in the released layout."""
    root = tmp_path / "data"
    for split in ("train", "valid", "test"):
        put(root / "annotations" / f"{split}_data.json", json.dumps(RELEASED))
    for name in ("101", "102", "103"):
        put(root / "images" / f"{name}.jpg", JPEG)
    return root


# --------------------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    "name, content",
    [
        ("train_data.json", json.dumps(RELEASED)),
        ("train_data.json", b"\xef\xbb\xbf" + json.dumps(RELEASED, indent=1).encode()),
        ("train.txt", ORIGINAL),
        ("train.txt", ORIGINAL.replace("\n", "\r\n\r\n")),
        ("train.json", json.dumps(MMSD2)),
    ],
)
def test_a_list_of_every_kind_gives_the_same_posts(tmp_path, name, content):
    posts = read_list(put(tmp_path / name, content))
    assert [(post.name, post.image, post.text.strip(), post.label) for post in posts] == [
        ("101", "101.jpg", "oh great monday", 1),
        ("102", "102.jpg", "coffee", 0),
        ("103", "103.jpg", "!!! \u2764", 1),
    ]
    assert {post.group for post in posts} == {""}


def test_rows_are_counted_by_line_or_item(tmp_path):
    assert read_list(put(tmp_path / "a.txt", "\n" + ORIGINAL))[1].listed == f"{tmp_path}/a.txt line 3"
    assert read_list(put(tmp_path / "a.json", json.dumps(RELEASED)))[1].listed == f"{tmp_path}/a.json item 2"


def test_a_key_that_is_twice_in_an_item_is_refused_where_json_would_take_the_last(tmp_path):
    path = put(tmp_path / "a.json", '[{"image": "1.jpg", "text": "a", "label": 0, "label": 1}]')
    with pytest.raises(DataError, match=r"a\.json: an item has 'label' twice"):
        read_list(path)


ITEM = {"image": "1.jpg", "text": "a", "label": 0}


@pytest.mark.parametrize(
    "content, words",
    [
        ({"image": "1.jpg"}, "a json dict, expected a list"),
        ([ITEM, 5], "item 2: a int, expected {image, text, label}"),
        ([ITEM, {"text": "a"}], r"item 2: no image \(or image_id\) and no label; it has 'text'"),
        ([{}], "item 1: no image .* it has no keys"),
        ([{**ITEM, "label": 2}], r"item 1: the label is 2, allowed are 0 \(literal\), 1 \(sarcastic\)"),
        ([{**ITEM, "label": -1}], "the label is -1"),
        ([{**ITEM, "label": True}], "the label is True"),
        ([{**ITEM, "label": 1.0}], r"the label is 1\.0"),
        ([{**ITEM, "label": "yes"}], "the label is 'yes'"),
        ([{**ITEM, "label": None}], "the label is None"),
        ([{**ITEM, "text": ""}], "item 1: the text is empty"),
        ([{**ITEM, "text": " \n"}], "the text is empty"),
        ([{**ITEM, "text": ["a"]}], r"the text is \['a'\], expected a text"),
        ([{**ITEM, "text": "a\ud83d"}], "the text has a broken character at position 1"),
        ([{**ITEM, "image": ""}], "the name is empty"),
        ([{**ITEM, "image": 7}], "the image is 7, expected a file name"),
        ([{**ITEM, "image": "../1.jpg"}], r"the image '\.\./1\.jpg' leaves the data root"),
        ([{**ITEM, "image": "/etc/1.jpg"}], "the image .* leaves the data root"),
        ([{**ITEM, "image": "a\\1.jpg"}], "the name .* leaves the data root"),
        ([ITEM, ITEM], "item 2: 1 is listed twice, first in item 1"),
        ([{"image_id": 1.5, "text": "a", "label": 0}], r"the id of the image is 1\.5"),
        ([], "the list has no rows"),
    ],
)
def test_a_bad_json_list_is_a_data_error_with_its_row(tmp_path, content, words):
    with pytest.raises(DataError, match=rf"train_data\.json:? (item 1: )?{words}"):
        read_list(put(tmp_path / "train_data.json", json.dumps(content)))


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "an empty file"),
        (LFS, "a Git-LFS pointer"),
        (b"\xff\xfe[", "not UTF-8"),
        (b'[\n{"image": }]', "line 2: not json: .*column 11"),
        (b"[" * 100_000, "not a list of samples: it is nested too deeply"),
    ],
)
def test_a_file_that_is_no_json_is_a_data_error(tmp_path, content, words):
    with pytest.raises(DataError, match=rf"train_data\.json:? {words}"):
        read_list(put(tmp_path / "train_data.json", content))


@pytest.mark.parametrize(
    "line, words",
    [
        ("['1', 'a']", "expected a line like"),
        ("['1', 'a', 1, 1, 1]", "expected a line like"),
        ("('1', 'a', 1)", "expected a line like"),
        ("['1', 'a', 1", "expected a line like"),
        ("1,a,1", "expected a line like"),
        ("__import__('os').system('false')", "expected a line like"),
        ("[" * 5000, "expected a line like"),
        ("['1', '" + "a" * 30_000 + "', 1]", "expected a line like"),
        ("['1', 'a', 7, 1]", "the label is 7"),
        ("['1', 'a', 1, 2]", "the label is 2"),
        ("['1', '', 1]", "the text is empty"),
        ("[None, 'a', 1]", "the id of the image is None"),
        ("['', 'a', 1]", "the name is empty"),
        ("['../1', 'a', 1]", "the image .* leaves the data root"),
        ("['7', 'a', 1]", "7 is listed twice, first in line 1"),
    ],
)
def test_a_bad_line_of_an_original_list_is_a_data_error_with_its_line(tmp_path, line, words):
    with pytest.raises(DataError, match=rf"train\.txt line 2: {words}"):
        read_list(put(tmp_path / "train.txt", f"['7', 'fine', 0]\n{line}\n"))


def test_the_word_filter_takes_words_and_leaves_parts_of_words(tmp_path):
    rows = ["so much irony here", "ironically fine", "#sarcasm", "# sarcasm", "see <url> now", "Joke", "jokes", "plain"]
    lines = "".join(f"{[str(n), text, 1]!r}\n" for n, text in enumerate(rows))
    path = put(tmp_path / "train.txt", lines)
    assert [post.text for post in read_list(path)] == ["ironically fine", "#sarcasm", "Joke", "plain"]
    assert len(read_list(path, word_filter=False)) == 8
    items = [{"image": f"{n}.jpg", "text": text, "label": 1} for n, text in enumerate(rows)]
    assert len(read_list(put(tmp_path / "train.json", json.dumps(items)))) == 8  # finished lists are not filtered
    with pytest.raises(DataError, match=r"the word filter leaves no row: --set word_filter=false"):
        read_list(put(tmp_path / "test.txt", "['1', 'what a joke', 1]\n"))


@given(words=st.lists(st.sampled_from([*sorted(GIVEAWAYS), "fun", "irony!", "jokester"]), max_size=6))
def test_a_giveaway_is_found_wherever_it_stands(words):
    assert has_giveaway(" ".join(words)) == any(word in GIVEAWAYS for word in words)


rows = st.lists(
    st.tuples(st.text(min_size=1).filter(lambda t: t.strip() and "\0" not in t), st.sampled_from([0, 1])), min_size=1
)


@given(rows=rows)
def test_what_is_written_is_read_from_both_kinds_of_list(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    items = [{"image": f"{n}.jpg", "text": text, "label": label} for n, (text, label) in enumerate(rows)]
    original = "".join(f"{[str(n), text, label]!r}\n" for n, (text, label) in enumerate(rows))
    paths = put(folder / "train_data.json", json.dumps(items)), put(folder / "train.txt", original)
    for path in paths:
        assert [(post.text, post.label) for post in read_list(path, word_filter=False)] == rows


# --------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "place, split, kind",
    [
        ("annotations/train_data.json", "train", RELEASED),
        ("train_data.json", "train", RELEASED),
        ("annotations/valid_data.json", "val", RELEASED),
        ("annotations/val_data.json", "val", RELEASED),
        ("text_data/train.txt", "train", ORIGINAL),
        ("annotations/valid2.txt", "val", ORIGINAL),
        ("valid.txt", "val", ORIGINAL),
        ("test2.txt", "test", ORIGINAL),
        ("text_json_final/valid.json", "val", MMSD2),
        ("test.json", "test", MMSD2),
    ],
)
def test_a_list_is_found_under_every_name_in_use(root, place, split, kind):
    for path in (root / "annotations").iterdir():
        path.unlink()
    put(root / place, kind if isinstance(kind, str) else json.dumps(kind))
    posts, dropped = find(DATA_SET, root, split)
    assert [post.path for post in posts] == [root / "images" / f"{name}.jpg" for name in (101, 102, 103)]
    assert dropped == []


def test_labels_by_people_go_before_labels_by_hashtag(root):
    (root / "annotations" / "test_data.json").unlink()
    put(root / "test.txt", "['101', 'a', 0]\n")
    put(root / "test2.txt", "['101', 'a', 0, 1]\n")
    assert read(DATA_SET, root, "test")[0].label == 1


def test_pictures_are_found_in_the_other_folder_and_under_another_suffix(root):
    (root / "images").rename(root / "dataset_image")
    os.rename(root / "dataset_image" / "102.jpg", root / "dataset_image" / "102.PNG")
    put(root / "dataset_image" / ".103.jpg", b"")
    assert [post.path.name for post in read(DATA_SET, root, "train")] == ["101.jpg", "102.PNG", "103.jpg"]


def test_missing_pictures_are_counted_or_dropped(root):
    (root / "images" / "102.jpg").unlink()
    put(root / "images" / "103.jpg", LFS)
    with pytest.raises(DataNotFoundError, match=r"of 3 samples 1 have no image .*first 102 without image .*item 2"):
        find(DATA_SET, root, "train")
    posts, dropped = find(DATA_SET, root, "train", missing="drop")
    assert [post.name for post in posts] == ["101"] and dropped == ["102", "103"]
    assert read(DATA_SET, root, "train")[1].files == {"image": ()}


def test_a_picture_that_is_none_is_an_error_or_dropped(root):
    put(root / "images" / "102.jpg", b"GIF89a")
    with pytest.raises(DataError, match=r"102\.jpg: a truncated or damaged image .*item 2"):
        find(DATA_SET, root, "train")
    assert find(DATA_SET, root, "train", missing="drop")[1] == ["102"]


def test_no_root_and_no_list_say_where_was_looked(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"(?s)nowhere does not exist.*Sarcasm/README\.md.*--sample"):
        find(DATA_SET, tmp_path / "nowhere", "train")
    with pytest.raises(DataNotFoundError, match=r"(?s)no list of the val split .*valid_data\.json.*--sample"):
        find(DATA_SET, tmp_path, "val")
    with pytest.raises(ValueError, match="split must be one of"):
        read(DATA_SET, tmp_path, "valid")


# ------------------------------------------------------------------------------------------------------- samples


def test_a_picture_that_breaks_names_its_file_and_row(root):
    posts, _ = find(DATA_SET, root, "train")
    samples = ImageText(posts, torch.ones(3, 3, 4, dtype=torch.int64), transform=fixed_transform(4))
    put(root / "images" / "102.jpg", JPEG[:40] + b"\xff\xd9")
    with pytest.raises(DataError, match=r"102\.jpg: a truncated or damaged image.*train_data\.json item 2"):
        samples[1]


def test_samples_need_posts_and_a_text_for_each(root):
    posts, _ = find(DATA_SET, root, "train")
    with pytest.raises(ValueError, match="at least one post"):
        ImageText([], torch.ones(0, 3, 4), transform=fixed_transform(4))
    with pytest.raises(ValueError, match=r"tokens must be \(3, 3, L\) for 3 posts"):
        ImageText(posts, torch.ones(2, 3, 4), transform=fixed_transform(4))


# --------------------------------------------------------------------------------------------------------- parts

SMALL = PostSizes(PerClass(train=12, val=4, test=3), image_size=16)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    return synthetic_sarcasm.write_sample(tmp_path_factory.mktemp("sample") / "sarcasm", SMALL)


def test_the_sample_is_the_released_layout_and_a_function_of_its_arguments(generated, tmp_path, untouched_rngs):
    again = synthetic_sarcasm.write_sample(tmp_path / "again", SMALL)
    files = sorted(path.relative_to(generated) for path in generated.rglob("*") if path.is_file())
    assert {str(path) for path in files if path.parts[0] != "images"} == {
        "annotations/train_data.json", "annotations/valid_data.json", "annotations/test_data.json",
        "text-model/config.json", "text-model/tokenizer_config.json", "text-model/vocab.txt", "sample.json",
    }  # fmt: skip
    assert all((generated / path).read_bytes() == (again / path).read_bytes() for path in files)
    for split, size in (("train", 24), ("val", 8), ("test", 6)):
        posts, _ = find(DATA_SET, generated, split)
        assert collections.Counter(post.label for post in posts) == {0: size // 2, 1: size // 2}
        assert not any(has_giveaway(post.text) for post in posts)


def test_the_default_recipe_uses_the_published_validation_list(generated):
    data = task.build_data(task.sample_recipe(task.CL), generated)
    assert (len(data.train), len(data.score), len(data.val), len(data.test)) == (24, 24, 8, 6)
    sample = data.train[0]
    assert sample["image"].shape == (3, 64, 64)
    assert torch.equal(sample["text"].tokens_3L, data.train.tokens_N3L[0])
    assert sample["text"].text == data.train.posts[0].text
    assert data.labels_N.tolist() == [post.label for post in data.train.posts]
    assert data.score.tokens_N3L is data.train.tokens_N3L and data.dropped == {"train": [], "test": [], "val": []}


def test_a_validation_share_of_the_training_list_and_none_at_all(generated):
    recipe = replace(task.sample_recipe(task.CL), published_val=False, val_fraction=0.25)
    data = task.build_data(recipe, generated)
    assert (len(data.train), len(data.val)) == (18, 6)
    assert not {post.name for post in data.train.posts} & {post.name for post in data.val.posts}
    official = task.build_data(task.sample_recipe(task.CL_OFFICIAL), generated)
    assert official.val is None and len(official.train) == 24
    with pytest.raises(RecipeError, match="set published_val=false as well"):
        replace(recipe, published_val=True, val_fraction=0.0)


def test_a_missing_validation_list_says_how_to_do_without(root):
    (root / "annotations" / "valid_data.json").unlink()
    write_text_model(root / "text-model", ["a"])
    put(root / "annotations" / "test_data.json", json.dumps([{**ITEM, "image": "101.jpg"}]))
    with pytest.raises(DataNotFoundError, match=r"--set published_val=false"):
        task.build_data(task.sample_recipe(task.CL), root)


def test_a_row_in_two_lists_is_refused(root):
    write_text_model(root / "text-model", ["a"])
    with pytest.raises(DataError, match=r"test_data\.json item 1: the same row as in .*train_data\.json item 1"):
        task.build_data(task.sample_recipe(task.CL), root)


def test_texts_are_cleaned_and_cut_as_the_recipe_says(root):
    write_text_model(root / "text-model", ["oh great monday coffee"])
    items = [{**ITEM, "image": "101.jpg", "text": "OH, great: monday! coffee"}, RELEASED[1]]
    put(root / "annotations" / "train_data.json", json.dumps(items))
    put(root / "annotations" / "test_data.json", json.dumps(RELEASED[2:]))
    recipe = replace(task.sample_recipe(task.CL_OFFICIAL), max_words=3)
    lengths = task.build_data(recipe, root).train.tokens_N3L[:, 1].sum(dim=1)
    assert lengths.tolist() == [5, 3]  # [CLS] oh great monday [SEP]
    longer = task.build_data(replace(recipe, cleaning="none", max_words=None), root)
    assert longer.train.tokens_N3L[0, 1].sum() == 9  # with , : and ! as tokens of their own
    assert task.build_data(replace(recipe, max_tokens=4), root).train.tokens_N3L.shape == (2, 3, 4)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"max_tokens": 3}, "max_tokens must be >= 4, or none"),
        ({"max_words": 0}, "max_words must be >= 1, or none"),
        ({"image_size": 0}, "image_size must be >= 1"),
        ({"width": 16}, "image_weights=imagenet needs width=64, got 16"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused(change, words):
    with pytest.raises(RecipeError, match=words):
        replace(task.CL, **change)


@pytest.mark.parametrize("text, value", [("none", None), ("imagenet", "imagenet"), ("w/none.pth", "w/none.pth")])
def test_image_weights_are_set_to_a_file_imagenet_or_none(text, value):
    assert override(task.CL, [f"image_weights={text}"]).image_weights == value


def test_the_recipes_have_the_released_numbers():
    for recipe in (task.CL, task.CL_OFFICIAL):
        assert (recipe.epochs, recipe.seed, recipe.schedule.start, recipe.schedule.grow_epochs) == (120, 42, 0.1, 40)
    for recipe in (task.SPL, task.SPL_OFFICIAL):
        assert (recipe.epochs, recipe.seed, recipe.schedule.floor) == (100, 0, 0.01)
    for recipe in (task.CL, task.CL_OFFICIAL, task.SPL, task.SPL_OFFICIAL):
        assert (recipe.batch_size, recipe.lr, recipe.weight_decay, recipe.optimizer) == (32, 1e-5, 1e-4, "adam")
        assert (recipe.lr_step, recipe.lr_gamma, recipe.fused_weight, recipe.unimodal_weight) == (70, 0.1, 1, 1)
        assert (recipe.prediction, recipe.image_size, recipe.max_words) == ("all", 224, 50)
        assert (recipe.normalization, recipe.interpolation, recipe.augment) == ("clip", "bicubic", True)
        assert recipe.schedule.order == "balanced_first"
    for recipe in (task.CL_OFFICIAL, task.SPL_OFFICIAL):
        assert (recipe.schedule.mode, recipe.schedule.view, recipe.tail) == ("train", "train", "last")
        assert (recipe.max_tokens, recipe.published_val, recipe.val_fraction) == (None, False, 0)


# ------------------------------------------------------------------------------------------------------- network


def bert_base(folder):
    """bert-base-uncased's published configuration, which is that of transformers' BertConfig."""
    from transformers import BertConfig

    BertConfig().save_pretrained(folder)


def test_the_network_is_the_released_one_key_by_key(tmp_path):
    from transformers import BertConfig, BertModel

    bert_base(tmp_path / "bert")
    recipe = replace(task.CL, image_weights=None, text_model="bert", text_pretrained=False)
    with torch.device("meta"):
        model = task.build_model(recipe, tmp_path)
        resnet = torchvision.models.resnet50().state_dict()
        bert = BertModel(BertConfig(), add_pooling_layer=False).state_dict()
    state = renamed(model.state_dict(), KEYS["sarcasm"])
    assert sum(p.numel() for p in model.parameters()) == 135_222_060 and len(state) == 523
    expected = {f"visual_net.{key}": value for key, value in resnet.items()}
    expected |= {f"text_net.{key}": value for key, value in bert.items()}
    shapes = {key: tuple(value.shape) for key, value in expected.items()} | {
        "fix.weight": (768, 1000), "fix.bias": (768,), "cls_shared.weight": (2, 768), "cls_shared.bias": (2,),
        "cls_mm.weight": (2, 1536), "cls_mm.bias": (2,),
    }  # fmt: skip
    assert {key: tuple(value.shape) for key, value in state.items()} == shapes


def test_the_network_gives_logits_of_every_head_and_is_a_function_of_the_seed(generated, untouched_rngs):
    recipe = task.sample_recipe(task.CL)
    data = task.build_data(recipe, generated)
    batch = collate([data.score[i] for i in range(4)])
    model = task.build_model(recipe, generated)
    logits = model.eval()(batch)
    assert logits.fused.shape == (4, 2) and {name: tuple(z.shape) for name, z in logits.unimodal.items()} == {
        "image": (4, 2), "text": (4, 2),
    }  # fmt: skip
    again = task.build_model(recipe, generated).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())


# ----------------------------------------------------------------------------------------------------- real data

real = pytest.mark.skipif(not SHARED.is_dir(), reason="the published lists are not here")


@real
def test_the_published_lists_have_the_published_counts():
    counts = {}
    for split, name in (("train", "train"), ("val", "val"), ("test", "test")):
        posts = read_list(SHARED / f"{name}_data.json")
        assert len(posts) in DATA_SET.published[split]
        counts[split] = [sum(post.label == label for post in posts) for label in (0, 1)]
    assert counts == {"train": [11174, 8642], "val": [1451, 959], "test": [1450, 959]}


@real
@pytest.mark.parametrize("name, split", [("valid2", "val"), ("test2", "test")])
def test_the_original_lists_and_the_released_json_are_the_same_posts(name, split):
    original, released = read_list(SHARED / f"{name}.txt"), read_list(SHARED / f"{split}_data.json")
    assert len(read_list(SHARED / f"{name}.txt", word_filter=False)) == len(original) == DATA_SET.published[split][0]
    for ours, theirs in zip(original, released, strict=True):
        assert (ours.name, ours.text.strip(), ours.label) == (theirs.name, theirs.text.strip(), theirs.label)
