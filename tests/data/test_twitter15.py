"""Twitter15: TomBERT's files as they are, other headers, parts, texts, network."""

import collections
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from bss.data import rows
from bss.data.batches import collate
from bss.data.datasets import imagetext, twitter15
from bss.data.datasets.data_set import find, read
from bss.data.datasets.twitter15 import DATA_SET, read_list
from bss.data.synthetic import twitter15 as synthetic_twitter15
from bss.data.synthetic.signals import PerClass, PostSizes, write_text_model
from bss.tasks import twitter15 as task
from bss.utils.errors import DataError, DataNotFoundError
from tests.released import KEYS, renamed

SHARED = Path(__file__).parents[3] / "shared" / "data" / "twitter15"
JPEG = torchvision.io.encode_jpeg(torch.zeros(3, 8, 8, dtype=torch.uint8)).numpy().tobytes()
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"

HEADER = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String"
TEST_HEADER = "index\t#1 ImageID\t#2 String\t#2 String"
ROWS = (
    "1\t2\t77.jpg\tRT : $T$ is everything # MCM\tChuck Bass\n2\t1\t77.jpg\tRT : Chuck Bass is everything $T$\t# MCM\n"
)
ROWS += '3\t0\t78.jpg\t"Shut down $T$\tNew York City\n'
TXT = "RT : $T$ is everything # MCM\nChuck Bass\n1\n77.jpg\nRT : Chuck Bass is everything $T$ \n# MCM\n0\n77.jpg\n"
TXT += '"Shut down $T$\nNew York City\n-1\n78.jpg\n'
NAMED = "index\tLabel\tImageID\tString\tTarget"


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def root(tmp_path):
    """A whole tree of two pictures in TomBERT's layout; every list has its own tweets."""
    root = tmp_path / "data"
    for number, split in enumerate(("train", "dev", "test")):
        header = TEST_HEADER if split == "test" else HEADER
        put(
            root / "annotations" / f"{split}.tsv",
            f"{header}\n{ROWS}".replace("RT", f"RT{number}").replace("Shut", split),
        )
    for name in ("77", "78"):
        put(root / "twitter2015_images" / f"{name}.jpg", JPEG)
    write_text_model(root / "text-model", ["rt is everything chuck bass shut down new york city mcm t"])
    return root


# --------------------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    "name, content",
    [
        ("train.tsv", f"{HEADER}\n{ROWS}"),
        ("test.raw.tsv", f"{TEST_HEADER}\n{ROWS}"),
        ("train.tsv", f"\ufeff{HEADER}\n{ROWS}".replace("\n", "\r\n") + "\r\n\r\n"),
        ("train.tsv", f"{NAMED}\n{ROWS}"),
        ("train.tsv", f"{NAMED}\n{ROWS}".replace("Target", "String")),
        ("train.tsv", f"{NAMED}\n{ROWS}".replace("Target", "aspect").replace("Label", "LABEL")),
        ("train.txt", TXT),
        ("train.raw.txt", f"{TXT}\n\n"),
    ],
)
def test_a_list_of_every_kind_gives_the_same_tweets(tmp_path, name, content):
    posts = read_list(put(tmp_path / name, content))
    assert [(post.name, post.label, post.image, post.text, post.target, post.group) for post in posts] == [
        ("77-1", 2, "77.jpg", "RT : $T$ is everything # MCM", "Chuck Bass", "77"),
        ("77-2", 1, "77.jpg", "RT : Chuck Bass is everything $T$", "# MCM", "77"),
        ("78-1", 0, "78.jpg", '"Shut down $T$', "New York City", "78"),
    ]
    lines = (1, 5, 9) if name.endswith(".txt") else (2, 3, 4)
    assert [post.listed for post in posts] == [f"{tmp_path / name} line {line}" for line in lines]


def test_columns_are_found_by_name_in_any_order_and_others_are_ignored(tmp_path):
    path = put(
        tmp_path / "train.tsv", "String\tImageID\tSource\tLabel\nso good\t5.jpg\tweb\t2\nso good\t5.jpg\tapp\t1\n"
    )
    assert [(p.name, p.text, p.label, p.target) for p in read_list(path)] == [
        ("5-1", "so good", 2, ""),
        ("5-2", "so good", 1, ""),  # two terms of one text, without the terms
    ]


def test_the_term_takes_the_place_of_its_mark():
    post = twitter15.Post(name="1", label=0, text="$T$ and $T$", image="1.jpg", target="Bass")
    assert post.filled() == "Bass and Bass"
    assert replace(post, target="").filled() == "$T$ and $T$"


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", ": an empty file"),
        (LFS, ": a Git-LFS pointer"),
        (f"{HEADER}\n".encode(), ": the list has no rows"),
        (ROWS, " line 1: the header is '1', .*it needs Label, ImageID and String"),
        ("Label\tImageID\n1\t7.jpg\n", " line 1: the header is 'Label', 'ImageID'; it needs"),
        ("Label\tImageID\tString\tlabel\n1\t7.jpg\ta\t2\n", " line 1: the header has 'Label' twice"),
        (f"{HEADER}\n1\t2\t77.jpg\ta\n", r" line 2: 4 columns, expected 5 \(index, label.*only in the train\.txt"),
        (f"{HEADER}\n{ROWS}4\t1\t7.jpg\ta\tb\tc\n", " line 5: 6 columns, expected 5"),
        (f"{HEADER}\n1\t3\t7.jpg\ta\tb\n", r" line 2: the label is '3', allowed are 0 \(negative\), 1 \(neutral\), 2"),
        (f"{HEADER}\n1\t-1\t7.jpg\ta\tb\n", " line 2: the label is '-1'"),
        (f"{HEADER}\n1\tpos\t7.jpg\ta\tb\n", " line 2: the label is 'pos'"),
        (f"{HEADER}\n1\t1\t../7.jpg\ta\tb\n", " line 2: the image .* leaves the data root"),
        (f"{HEADER}\n1\t1\t\ta\tb\n", " line 2: the name is empty"),
        (f"{HEADER}\n1\t1\t7.jpg\t \tb\n", " line 2: the text is empty"),
        (f"{HEADER}\n1\t1\t7.jpg\ta\t\n", " line 2: the aspect term is empty"),
        (f"{HEADER}\n{ROWS}{ROWS}", " line 5: the row of 77.jpg .* first in line 2; so are 2 others"),
    ],
)
def test_a_bad_tsv_is_a_data_error_with_its_line(tmp_path, content, words):
    with pytest.raises(DataError, match=rf"train\.tsv{words}"):
        read_list(put(tmp_path / "train.tsv", content))


@pytest.mark.parametrize(
    "content, words",
    [
        (
            "a $T$\nb\n2\n7.jpg\n",
            r" line 1: the label is '2', allowed are -1 \(negative\), 0 \(neutral\), 1 \(positive\)",
        ),
        ("a $T$\nb\n1\n", " line 3: the last row has 3 lines of four"),
        ("a $T$\n\n1\n7.jpg\nc\nd\n0\n7.jpg\n", " line 2: a blank line; a row is four lines"),
        ("a $T$\nb\nx\n7.jpg\n", " line 1: the label is 'x'"),
        ("\n\n", ": the list has no rows"),
    ],
)
def test_a_bad_txt_is_a_data_error_with_its_line(tmp_path, content, words):
    with pytest.raises(DataError, match=rf"test\.txt{words}"):
        read_list(put(tmp_path / "test.txt", content))


plain = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)


@given(rows=st.lists(st.tuples(st.sampled_from([0, 1, 2]), plain, plain), min_size=1, unique_by=lambda row: row[1:]))
def test_the_tsv_and_the_txt_of_the_same_rows_are_the_same_tweets(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    tsv = "".join(f"{n}\t{label}\t7.jpg\t{text}\t{term}\n" for n, (label, text, term) in enumerate(rows))
    txt = "".join(f"{text}\n{term}\n{label - 1}\n7.jpg\n" for label, text, term in rows)
    lists = read_list(put(folder / "a.tsv", f"{HEADER}\n{tsv}")), read_list(put(folder / "a.txt", txt))
    for posts in lists:
        assert [(post.label, post.text, post.target) for post in posts] == rows
        assert [post.name for post in posts] == [f"7-{n}" for n in range(1, len(rows) + 1)]


# --------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "place", ["annotations/val.tsv", "dev.tsv", "annotations/dev.raw.tsv", "dev.raw.tsv", "dev.txt", "dev.raw.txt"]
)
def test_the_validation_list_is_found_under_every_name_in_use(root, place):
    (root / "annotations" / "dev.tsv").unlink()
    put(root / place, TXT if place.endswith(".txt") else f"{HEADER}\n{ROWS}")
    posts, dropped = find(DATA_SET, root, "val")
    assert [post.path.name for post in posts] == ["77.jpg", "77.jpg", "78.jpg"] and dropped == []


def test_pictures_are_found_in_both_folders(root):
    put(root / "images" / "78.jpg", JPEG)
    (root / "twitter2015_images" / "78.jpg").unlink()
    assert [post.path.parent.name for post in read(DATA_SET, root, "train")] == ["twitter2015_images"] * 2 + ["images"]


def test_a_missing_picture_takes_all_of_its_rows_along(root):
    (root / "twitter2015_images" / "77.jpg").unlink()
    with pytest.raises(DataNotFoundError, match=r"of 3 samples 2 have no image .*first 77-1 .*train\.tsv line 2"):
        find(DATA_SET, root, "train")
    posts, dropped = find(DATA_SET, root, "train", missing="drop")
    assert [post.name for post in posts] == ["78-1"] and dropped == ["77-1", "77-2"]


def test_no_root_and_no_list_say_where_was_looked(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"(?s)nowhere does not exist.*Twitter15/README\.md.*--sample"):
        find(DATA_SET, tmp_path / "nowhere", "train")
    with pytest.raises(
        DataNotFoundError,
        match=r"(?s)no list of the val split .*dev\.tsv.* in annotations, the folder itself.*--sample",
    ):
        find(DATA_SET, tmp_path, "val")
    with pytest.raises(ValueError, match="split must be one of"):
        read(DATA_SET, tmp_path, "dev")


# --------------------------------------------------------------------------------------------------------- parts

SMALL = PostSizes(PerClass(train=12, val=4, test=3), image_size=16)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    return synthetic_twitter15.write_sample(tmp_path_factory.mktemp("sample") / "twitter15", SMALL)


def test_pictures_out_of_the_cache_are_those_of_the_files_and_no_file_is_opened(generated, tmp_path, monkeypatch):
    recipe = task.sample_recipe(task.CL)
    plain = task.build_data(replace(recipe, cache=None), generated)
    kept = task.build_data(replace(recipe, cache=str(tmp_path)), generated)
    assert plain.cache is None and not kept.cache.open()
    decoded = {part: [getattr(plain, part)[at]["image"] for at in (0, 1)] for part in ("score", "val", "test")}
    assert torch.equal(kept.test[0]["image"], decoded["test"][0])  # before it is built
    kept.cache.build()
    seen = []
    for data in (plain, kept):
        torch.manual_seed(3)
        seen.append(data.train[0]["image"])  # a random view, of the file
    assert torch.equal(*seen)
    monkeypatch.setattr(imagetext.picture, "read_frame", pytest.fail)
    for part, images in decoded.items():
        assert all(map(torch.equal, [getattr(kept, part)[at]["image"] for at in (0, 1)], images))
        assert getattr(kept, part).pixel_scales == getattr(plain, part).pixel_scales
    (kind,) = kept.cache.parts
    assert kind.name == "pictures-64px-bilinear"
    assert recipe.without_cache().cache is None


def test_the_sample_is_tomberts_layout_and_a_function_of_its_arguments(generated, tmp_path, untouched_rngs):
    again = synthetic_twitter15.write_sample(tmp_path / "again", SMALL)
    files = sorted(path.relative_to(generated) for path in generated.rglob("*") if path.is_file())
    assert all((generated / path).read_bytes() == (again / path).read_bytes() for path in files)
    assert (generated / "annotations" / "test.tsv").read_text().startswith(f"{TEST_HEADER}\n1\t")
    assert (generated / "annotations" / "dev.tsv").read_text().startswith(f"{HEADER}\n1\t")
    groups = {}
    for split, pictures in (("train", 36), ("val", 12), ("test", 9)):
        posts, _ = find(DATA_SET, generated, split)
        groups[split] = {post.group for post in posts}
        assert len(groups[split]) == pictures < len(posts)
        assert all(post.text.count("$T$") == 1 and post.target for post in posts)
    assert not groups["train"] & groups["test"] and not groups["train"] & groups["val"]


def test_the_sample_is_there_under_the_names_of_the_variant_too(generated):
    recipe = task.sample_recipe(task.CL)
    other = replace(recipe, variant="twitter2017")
    assert (task.title_of(recipe), task.title_of(other)) == ("Twitter15", "Twitter17")
    first, second = (task.build_data(each, generated) for each in (recipe, other))
    assert second.names == [f"17_06_{name}" for name in first.names]
    assert torch.equal(second.labels_N, first.labels_N) and len(second.test) == len(first.test)
    assert torch.equal(second.score[0]["image"], first.score[0]["image"])


def texts(part, root):
    from bss.data.transforms.text import load_tokenizer

    tokenizer = load_tokenizer("text-model", root)
    return [tokenizer.decode(ids[0][ids[1].bool()]) for ids in part.tokens_N3L]


def test_the_term_is_in_the_text_by_default_and_a_mark_in_the_released_way(root):
    recipe = task.sample_recipe(task.CL)
    default = texts(task.build_data(recipe, root).train, root)
    assert default[1] == "[CLS] rt0 [UNK] chuck bass is everything [UNK] mcm [SEP] [UNK] mcm [SEP]"
    shown = task.build_data(recipe, root).train[1]["text"].text
    assert "chuck bass is everything" in shown.lower() and "$T$" not in shown
    alone = texts(task.build_data(replace(recipe, use_target=False), root).train, root)
    # Two terms of one tweet, with two labels: without the terms beside it nothing tells them apart.
    assert alone[0] == alone[1] == "[CLS] rt0 [UNK] chuck bass is everything [UNK] mcm [SEP]"
    official = texts(task.build_data(task.sample_recipe(task.CL_OFFICIAL), root).train, root)
    assert official[1] == "[CLS] chuck bass is everything t [SEP]"  # "RT0" has a digit


def test_a_run_counts_the_rows_that_the_network_cannot_tell_apart(root):
    recipe = task.sample_recipe(task.CL)
    assert not any("equal for the network" in line for line in rows.notes(task.build_data(recipe, root)))
    (line,) = (
        line
        for line in rows.notes(task.build_data(replace(recipe, use_target=False), root))
        if "equal for the network" in line
    )
    parts = ("training", "validation", "test")
    counts = [f"2 of 3 {part} samples (2 with different labels: 66.6 % right at best)" for part in parts]
    assert line == f"equal for the network: {'; '.join(counts)}"


def test_pairs_need_terms(root):
    for split in ("train", "test", "dev"):
        put(root / "annotations" / f"{split}.tsv", f"Label\tImageID\tString\n1\t77.jpg\tfine {split}\n")
    with pytest.raises(DataError, match=r"train\.tsv line 2: the list has no Target column: --set use_target=false"):
        task.build_data(task.sample_recipe(task.CL), root)
    assert len(task.build_data(replace(task.sample_recipe(task.CL), use_target=False), root).train) == 1


def test_a_validation_share_keeps_pictures_apart(generated):
    recipe = replace(task.sample_recipe(task.CL), published_val=False, val_fraction=0.25)
    data = task.build_data(recipe, generated)
    train, val = ({post.group for post in part.posts} for part in (data.train, data.val))
    assert not train & val and (len(train), len(val)) == (27, 9)
    official = task.build_data(task.sample_recipe(task.SPL_OFFICIAL), generated)
    assert official.val is None and len({post.group for post in official.train.posts}) == 36


def test_pictures_are_normalised_by_default_and_not_in_the_released_way(generated):
    default = task.build_data(task.sample_recipe(task.CL), generated).train
    official = task.build_data(task.sample_recipe(task.CL_OFFICIAL), generated).train
    assert default[0]["image"].min() < 0 <= official[0]["image"].min() and official[0]["image"].max() <= 1
    assert torch.equal(default[0]["image"], default[0]["image"])  # nothing random


def test_the_recipes_have_the_released_numbers():
    for recipe in (task.CL, task.CL_OFFICIAL):
        assert (recipe.epochs, recipe.seed, recipe.schedule.start, recipe.schedule.grow_epochs) == (113, 42, 0.1, 40)
        assert recipe.schedule.order == "balanced_first"
    for recipe in (task.SPL, task.SPL_OFFICIAL):
        assert (recipe.epochs, recipe.seed, recipe.schedule.floor) == (100, 0, 0.01)
    for recipe in (task.CL, task.CL_OFFICIAL, task.SPL, task.SPL_OFFICIAL):
        assert (recipe.batch_size, recipe.lr, recipe.weight_decay, recipe.optimizer) == (32, 0.001, 1e-4, "sgd")
        assert (recipe.momentum, recipe.lr_step, recipe.lr_gamma) == (0.9, 70, 0.1)
        assert (recipe.fused_weight, recipe.unimodal_weight, recipe.prediction) == (1, 1, "all")
        assert (recipe.image_size, recipe.augment, recipe.interpolation) == (384, False, "bilinear")
    assert (task.CL_OFFICIAL.schedule.mode, task.CL_OFFICIAL.schedule.view) == ("train", "train")
    official = task.SPL_OFFICIAL.schedule
    assert (official.mode, official.view, official.order) == ("eval", "test", "imbalanced_first")
    assert task.SPL.schedule.order == "balanced_first" and task.SPL.normalization == "imagenet"
    for recipe in (task.CL_OFFICIAL, task.SPL_OFFICIAL):
        assert (recipe.cleaning, recipe.max_words, recipe.max_tokens) == ("letters", 20, None)
        assert (recipe.normalization, recipe.tail) == ("none", "last")
        assert not recipe.fill_target and not recipe.use_target
        assert (recipe.published_val, recipe.val_fraction) == (False, 0)


# ------------------------------------------------------------------------------------------------------- network


def test_the_network_is_the_released_one_key_by_key(tmp_path):
    from transformers import BertConfig, BertModel

    BertConfig().save_pretrained(tmp_path / "bert")  # bert-base-uncased's published configuration
    recipe = replace(task.CL, image_weights=None, text_model="bert", text_pretrained=False)
    with torch.device("meta"):
        model = task.build_model(recipe, tmp_path)
        resnet = torchvision.models.resnet50().state_dict()
        bert = BertModel(BertConfig()).state_dict()
    state = renamed(model.state_dict(), KEYS["twitter15"])
    assert sum(p.numel() for p in model.parameters()) == 134_589_769 and len(state) == 525
    expected = {f"visual_net.{key}": value for key, value in resnet.items() if not key.startswith("fc.")}
    expected |= {f"text_net.bert.{key}": value for key, value in bert.items()}
    shapes = {key: tuple(value.shape) for key, value in expected.items()} | {
        "fc.weight": (2048, 768), "fc.bias": (2048,), "linear_img.weight": (3, 2048), "linear_img.bias": (3,),
        "linear_txt.weight": (3, 2048), "linear_txt.bias": (3,),
        "linear_last.weight": (3, 4096), "linear_last.bias": (3,),
    }  # fmt: skip
    assert {key: tuple(value.shape) for key, value in state.items()} == shapes


def test_the_network_gives_logits_of_every_head(generated, untouched_rngs):
    recipe = task.sample_recipe(task.SPL)
    data = task.build_data(recipe, generated)
    logits = task.build_model(recipe, generated).eval()(collate([data.score[i] for i in range(4)]))
    assert logits.fused.shape == (4, 3)
    assert {name: tuple(z.shape) for name, z in logits.unimodal.items()} == {"image": (4, 3), "text": (4, 3)}


# ----------------------------------------------------------------------------------------------------- real data

real = pytest.mark.skipif(not SHARED.is_dir(), reason="the published lists are not here")


@real
@pytest.mark.parametrize(
    "filled, paired, torn, best",
    [(True, True, (17, 2), 0.999), (True, False, (693, 253), 0.896), (False, True, (0, 0), 1)],
)
def test_the_rows_of_the_published_lists_that_differ_in_the_label_alone(filled, paired, torn, best):
    found = []
    for name in ("train", "test"):
        posts = read_list(SHARED / f"{name}.raw.tsv")
        inputs = [(post.image, post.filled() if filled else post.text, post.target if paired else "") for post in posts]
        found.append(rows.alike(inputs, [post.label for post in posts]))
    assert tuple(part.torn for part in found) == torn and found[1].best == pytest.approx(best, abs=5e-4)


@real
def test_the_published_lists_have_the_published_counts():
    counts, pictures = {}, {}
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test")):
        posts = read_list(SHARED / f"{name}.raw.tsv")
        assert (len(posts),) == DATA_SET.published[split] and len({post.name for post in posts}) == len(posts)
        by_class = collections.Counter(post.label for post in posts)
        counts[split] = [by_class[label] for label in range(3)]
        pictures[split] = {post.group for post in posts}
    assert counts == {"train": [368, 1883, 928], "val": [149, 670, 303], "test": [113, 607, 317]}
    assert [len(names) for names in pictures.values()] == [2101, 727, 674]
    assert len(set.union(*pictures.values())) == 2101 + 727 + 674  # none is in two lists


@real
@pytest.mark.parametrize("name", ["train", "dev", "test"])
def test_the_published_tsv_and_txt_are_the_same_tweets(name):
    tsv, txt = read_list(SHARED / f"{name}.raw.tsv"), read_list(SHARED / f"{name}.raw.txt")
    for ours, theirs in zip(tsv, txt, strict=True):
        assert replace(ours, listed="") == replace(theirs, listed="")


@real
def test_every_published_picture_has_a_published_caption():
    captions = json.loads((SHARED / "captions.json").read_text())
    assert {post.image for post in read_list(SHARED / "train.raw.tsv")} <= set(captions)
