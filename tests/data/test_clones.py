"""Lists where the repositories that publish them have them: a clone's root is enough."""

import importlib
import json

import pytest
from PIL import Image

from bss.cli.commands import main
from bss.data.datasets.data_set import find, read
from bss.utils.errors import DataNotFoundError

TOMBERT = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String\n1\t2\t{0}.jpg\t$T$ won today\tTeam A\n"
TOMBERT_TEST = "index\t#1 ImageID\t#2 String\t#2 String\n1\t2\t{0}.jpg\t$T$ won today\tTeam A\n"

# Clone -> (data set, {file: content}, numbers of rows); checked against clones of the repositories themselves.
CLONES = {
    "sarcasm": (
        "sarcasm",
        {
            "text/train.txt": "['1', 'so great . ', 1]\n['2', 'nice day', 0]\n",
            "text/valid2.txt": "['3', 'so great . ', 1, 1]\n",
            "text/test2.txt": "['4', 'nice day', 0, 0]\n",
        },
        {"train": 2, "val": 1, "test": 1},
    ),
    "mmsd2": (
        "sarcasm",
        {
            f"data/text_json_final/{name}.json": json.dumps([{"image_id": number, "text": "nice day", "label": 0}])
            for number, name in enumerate(("train", "valid", "test"))
        },
        {"train": 1, "val": 1, "test": 1},
    ),
    "tombert": (
        "twitter15",
        {
            "absa_data/twitter2015/train.tsv": TOMBERT.format(1),
            "absa_data/twitter2015/dev.tsv": TOMBERT.format(2),
            "absa_data/twitter2015/test.tsv": TOMBERT_TEST.format(3),
        },
        {"train": 1, "val": 1, "test": 1},
    ),
    "ogm-ge-cremad": (
        "cremad",
        {"data/CREMAD/train.csv": "1_IOM_NEU_XX,NEU\n", "data/CREMAD/test.csv": "2_IOM_SAD_XX,SAD\n"},
        {"train": 1, "test": 1},
    ),
    "mla": (
        "cremad",
        {"data/my_train_cre.txt": "1_IWL_SAD_XX.flv Sad\n", "data/my_test_cre.txt": "2_TSI_HAP_XX.flv Happy\n"},
        {"train": 1, "test": 1},
    ),
    "relearning": (
        "cremad",
        {
            "code/dataset/cremad/train.csv": "name,label\n1_IOM_NEU_XX,NEU\n2_DFA_ANG_XX,ANG\n",
            "code/dataset/cremad/val.csv": "2_DFA_ANG_XX,ANG\n",
            "code/dataset/cremad/test.csv": "name,label\n3_TIE_NEU_XX,NEU\n",
        },
        {"train": 2, "val": 1, "test": 1},
    ),
    "ogm-ge-ks": (
        "ks",
        {
            "data/KineticSound/my_train.txt": "--4-0ihtnBU_000058_000068,10,4\n",
            "data/KineticSound/my_test.txt": "1p1nA2Nf54o_37,10,4\n",
        },
        {"train": 1, "test": 1},
    ),
    "bml": (
        "ks",
        {
            "code/dataset/KS_train_val.json": json.dumps(
                {
                    "labels": ["bowling"],
                    "database": {
                        f"{subset[:2]}cdefghijk_{number:06d}_{number + 10:06d}": {
                            "subset": subset,
                            "label": "tap_dancing",
                        }
                        for subset, count in (("training", 3), ("validation", 1), ("testing", 2))
                        for number in range(count)
                    },
                }
            )
        },
        {"train": 3, "val": 1, "test": 2},
    ),
}


def data_set_of(stem):
    return importlib.import_module(f"bss.data.datasets.{stem}").DATA_SET


def written(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return root


@pytest.mark.parametrize("name", CLONES)
def test_a_clone_is_read_from_its_root_by_everything_that_reads_lists(name, tmp_path, capsys):
    stem, files, rows = CLONES[name]
    root = written(tmp_path / "a clone", files)
    assert {split: len(read(data_set_of(stem), root, split)) for split in rows} == rows
    command = f"python -m bss prepare {stem} --source '{root}' --out '{root}'"
    with pytest.raises(DataNotFoundError) as caught:
        find(data_set_of(stem), root, "train")
    assert command in str(caught.value)  # it holds lists, and nothing else
    assert main(["doctor", stem, str(root), "--workers", "0"]) == 1
    printed = capsys.readouterr().out
    assert command in " ".join(printed.split())


@pytest.mark.parametrize("name", ["sarcasm", "mmsd2", "tombert"])
def test_prepare_takes_a_clone_s_root(name, tmp_path, capsys):
    stem, files, rows = CLONES[name]
    root, out, data_set = written(tmp_path / "clone", files), tmp_path / "out", data_set_of(stem)
    folder = "data/dataset_image" if name == "mmsd2" else data_set.image_folders[0]
    for split in rows:
        for post in read(data_set, root, split):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32)).save(root / folder / post.image)
    assert main(["prepare", stem, "--source", str(root), "--out", str(out), "--workers", "0"]) == 0
    assert {split: len(find(data_set, out, split)[0]) for split in rows} == rows


@pytest.mark.parametrize("stem", ["cremad", "ks", "nvgesture", "sarcasm", "twitter15"])
def test_a_list_that_is_nowhere_is_an_error_with_all_folders_that_were_looked_in(stem, tmp_path):
    data_set = data_set_of(stem)
    with pytest.raises(DataNotFoundError) as caught:
        read(data_set, tmp_path, "train")
    first, second = str(caught.value).split("\n")
    for place in data_set.places["train"]:
        folder, _, file = place.rpartition("/")
        assert file in first and (folder or "the folder itself") in first
    assert f"python -m bss prepare {stem} --source {tmp_path} --out {tmp_path}" in second
