"""Every kind of list of every data set, saved by a program of another system: the same samples on the same lines."""

import json

import pytest

from bss.data.datasets import cremad, ks, nvgesture, sarcasm, twitter15
from bss.data.datasets.listing import check_once
from bss.utils.errors import DataError

GESTURE = "path:./Video_data/class_0{0}/subject{0}_r0 depth:sk_depth:0:80 color:sk_color:1:81 label:{0}\n"
POSTS = [
    {"image": "images/101.jpg", "text": "monday \u2764", "label": 1},
    {"image": "2.jpg", "text": "tea", "label": 0},
]
LISTS = {
    "cremad csv": (cremad, "train.csv", "name,label\na_1,NEU\nb_2,ANG\n"),
    "cremad txt": (cremad, "my_train_cre.txt", "a_1.flv Neu\nb_2.flv Ang\n"),
    "ks csv": (ks, "train.csv", "youtube_id,label\n--4-0ihtnBU,playing guitar\nb2,bowling\n"),
    "ks txt": (ks, "my_train.txt", "--4-0ihtnBU_000058_000068,10,12\nb2,10,2\n"),
    "sarcasm json": (sarcasm, "train_data.json", json.dumps(POSTS, indent=1, ensure_ascii=False) + "\n"),
    "sarcasm txt": (sarcasm, "train.txt", "['101', 'monday \u2764', 1]\n['2', \"tea\", 1, 0]\n"),
    "twitter15 tsv": (
        twitter15,
        "train.tsv",
        'index\t#1 Label\t#2 ImageID\t#3 String\t#3 String\n1\t2\t7.jpg\t"$T$ \u2764\tB\n2\t0\t8.jpg\tin $T$\tYork\n',
    ),
    "twitter15 txt": (twitter15, "train.txt", "$T$ \u2764\nBass\n1\n7.jpg\nin $T$\nYork\n-1\n8.jpg\n"),
    "nvgesture lst": (nvgesture, "train.lst", GESTURE.format(1) + GESTURE.format(2)),
}
BOM = "\ufeff"
SAVED = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "BOM": lambda text: BOM + text,
    "BOM and CRLF": lambda text: BOM + text.replace("\n", "\r\n"),
    "CRLF, no end": lambda text: text.rstrip("\n").replace("\n", "\r\n"),
}


def read(module, path, text):
    path.write_bytes(text.encode())
    return module.read_list(path)


@pytest.mark.parametrize("way", SAVED)
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_with_other_line_ends_or_a_byte_order_mark_gives_the_same_samples(tmp_path, kind, way):
    module, name, text = LISTS[kind]
    plain = read(module, tmp_path / name, text)
    assert len(plain) == 2 and read(module, tmp_path / name, SAVED[way](text)) == plain


REPEATED = {
    "cremad": (cremad, "train.csv", "a_1,NEU\nb_2,ANG\na_1,NEU\nb_2,SAD\na_1,NEU\n", "line"),
    "ks": (ks, "train.csv", "a1,bowling\nb2,bowling\na1,bowling\nb2.mp4,singing\na1,3\n", "line"),
    "nvgesture": (nvgesture, "train.lst", "".join(GESTURE.format(i) for i in (1, 2, 1, 2, 1)), "line"),
    "sarcasm": (sarcasm, "train.json", json.dumps([POSTS[i] for i in (0, 1, 0, 1, 0)]), "item"),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_all_rows_that_repeat_another_are_in_one_message(kind, tmp_path):
    module, name, content, row = REPEATED[kind]
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        module.read_list(tmp_path / name)
    said = str(caught.value).replace(f"{row} ", "")
    assert " 3: " in said and " is listed twice, first in 1; so are 2 others: 4 as 2, 5 as 1" in said


def test_of_many_repeated_rows_the_rest_is_counted(tmp_path):
    rows = [("same", "same", f"list.csv line {number}") for number in range(1, 40)]
    with pytest.raises(DataError, match=r"so are 37 others: line 3 as line 1, .*line 11 as line 1, 28 more$"):
        check_once("list.csv", rows)
