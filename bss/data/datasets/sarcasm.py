"""Sarcasm: tweets of a text and a picture, sarcastic or not.

Data card
    24,635 English tweets, one picture each (Cai, Cai and Wan, ACL 2019, "Multi-Modal Sarcasm Detection in Twitter with
    Hierarchical Fusion Model"). No licence is stated; tweets and pictures belong to their authors. Training labels come
    from hashtags, those of validation and test were looked at by people: where a row has two labels, the last one
    counts (it differs from the hashtag's in 87 of the 2,410 and 144 of the 2,409 rows).

    ==========  =======  =========  =====
    split       literal  sarcastic    all
    ==========  =======  =========  =====
    train         11174       8642  19816
    validation     1451        959   2410
    test           1450        959   2409
    ==========  =======  =========  =====

    The original training list has 29,040 rows. Posts that give the answer away are left out, as in all published work:
    those with one of :data:`GIVEAWAYS` among their words, separated by white space. Validation and test have none.
    MMSD2.0 (Qin et al., Findings of ACL 2023) is the same posts without hashtags and emoji words, and with corrected
    labels; its numbers cannot be compared with those on the original.

Layout, the first list that exists (``annotations/`` may be left out)::

    annotations/{train,valid,test}_data.json   [{"image": "862902619928506372.jpg", "text": "...", "label": 1}, ...]
    text_data/{train,valid,test}.txt           ['862902619928506372', '...', 1]; also valid2.txt, test2.txt with
                                               ['862902619928506372', '...', 1, 1], which are preferred; or text/, as
                                               in a clone
    text_json_final/{train,valid,test}.json    MMSD2.0: [{"image_id": 862902619928506372, "text": "...", "label": 1}];
                                               or data/text_json_final/, as in a clone
    images/862902619928506372.jpg              or dataset_image/, data/dataset_image/
"""

import ast
import os
from pathlib import Path
from typing import Any

from bss.data.datasets.imagetext import (
    Post,
    PostSet,
    checked_image,
    checked_label,
    checked_text,
    with_pictures,
    without_picture,
)
from bss.data.datasets.listing import check_once, lines_of, read_json
from bss.utils.errors import DataError, shown

CLASSES = ("literal", "sarcastic")
"""Class names; a label is a position in this tuple."""


GIVEAWAYS = frozenset(
    ("exgag", "sarcasm", "sarcastic", "reposting", "<url>", "joke", "jokes", "humour", "humor", "irony", "ironic")
)
"""Words whose posts are left out of the original lists: 29,040 training rows become 19,816."""


# What the lists of a split are called: in json, and in the original text (with labels by people first).
_JSON_NAMES = {"train": ("train",), "val": ("valid", "val"), "test": ("test",)}


_TEXT_NAMES = {"train": ("train",), "val": ("valid2", "valid"), "test": ("test2", "test")}


_FOLDERS = ("annotations/", "")


# Where clones of the two repositories have their lists, and older copies of them.
_TEXT_FOLDERS = ("text_data/", *_FOLDERS, "text/")


_JSON_FOLDERS = ("text_json_final/", *_FOLDERS, "data/text_json_final/")


_IMAGE_FOLDERS = ("images", "dataset_image", "data/dataset_image")


_LONGEST_LINE = 20_000  # characters of a row; the parser's memory grows with the line


_LONGEST_ID = 30  # digits


# ----------------------------------------------------------------------------------------------------- lists


def has_giveaway(text: str) -> bool:
    """Whether a text gives the answer away: one of its words, separated by white space, is in :data:`GIVEAWAYS`."""
    return not GIVEAWAYS.isdisjoint(text.split())


def read_list(path: str | os.PathLike, *, word_filter: bool = True) -> list[Post]:
    """Read a list of any of the three kinds, see the layout above; ``.txt`` is the original, ``.json`` the others.

    Args:
        path: the list, UTF-8.
        word_filter: leave out rows of an original list for which :func:`has_giveaway` holds. The json lists are
            finished: nothing of them is left out.

    Returns:
        The posts in the order of the file, without pictures.

    Raises:
        DataError: with file and row, for whatever is not as it should be; for a list without rows.
    """
    path = Path(path)
    posts = _json_posts(path) if path.suffix.lower() == ".json" else _original_posts(path)
    check_once(path, ((post.name, post.name, post.listed) for post in posts))
    if not posts:
        raise DataError(f"{path}: the list has no rows")
    if word_filter and path.suffix.lower() != ".json":
        posts = [post for post in posts if not has_giveaway(post.text)]
        if not posts:
            raise DataError(f"{path}: the word filter leaves no row: --set word_filter=false")
    return posts


def edition(path: Path) -> str:
    """``"MMSD2.0"`` for a json list whose items have an ``image_id``, as that edition's alone have; else empty."""
    if path.suffix.lower() != ".json":
        return ""
    items = read_json(path)
    whole = isinstance(items, list) and bool(items) and all(isinstance(item, dict) for item in items)
    return "MMSD2.0" if whole and all("image_id" in item and "image" not in item for item in items) else ""


def _json_posts(path: Path) -> list[Post]:
    items = read_json(path)
    if not isinstance(items, list):
        raise DataError(f"{path}: a json {type(items).__name__}, expected a list of {{image, text, label}}")
    return [_json_post(item, f"{path} item {number}") for number, item in enumerate(items, start=1)]


def _json_post(item: Any, where: str) -> Post:
    if not isinstance(item, dict):
        raise DataError(f"{where}: a {type(item).__name__}, expected {{image, text, label}}")
    missing = [key for key in ("text", "label") if key not in item]
    if "image" not in item and "image_id" not in item:
        missing.insert(0, "image (or image_id)")
    if missing:
        keys = shown(list(item))[1:-1] or "no keys"
        raise DataError(f"{where}: no {' and no '.join(missing)}; it has {keys}")
    image = item["image"] if "image" in item else _file_of(item["image_id"], where)
    return _post(image, item["text"], item["label"], where)


def _original_posts(path: Path) -> list[Post]:
    return [_original_post(line, f"{path} line {number}") for number, line in lines_of(path)]


def _original_post(line: str, where: str) -> Post:
    row = None
    if len(line) <= _LONGEST_LINE:
        try:
            row = ast.literal_eval(line.strip())  # literals only: nothing in the file is run
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            row = None
    if not isinstance(row, list) or len(row) not in (3, 4):
        raise DataError(f"{where}: expected a line like ['862902619928506372', 'the text', 1], got {line[:60]!r}")
    for label in row[2:-1]:
        checked_label(label, CLASSES, where)
    return _post(_file_of(row[0], where), row[1], row[-1], where)


def _file_of(image_id: Any, where: str) -> str:
    if isinstance(image_id, bool) or not isinstance(image_id, int | str):
        raise DataError(f"{where}: the id of the image is {shown(image_id)}, expected a number or a text")
    if isinstance(image_id, int) and not 0 <= image_id < 10**_LONGEST_ID:
        raise DataError(f"{where}: the id of the image is no number of up to {_LONGEST_ID} digits: {shown(image_id)}")
    return f"{image_id}.jpg" if str(image_id) else ""


def _post(image: Any, text: Any, label: Any, where: str) -> Post:
    image = checked_image(image, where)
    return Post(
        name=os.path.splitext(image)[0],
        label=checked_label(label, CLASSES, where),
        text=checked_text(text, where),
        image=image,
        listed=where,
    )


# ----------------------------------------------------------------------------------------------------- files


def _located(root: Path, split: str, path: Path, *, word_filter: bool = True) -> list[Post]:
    """The posts of a list, with the pictures that are under the data root."""
    return with_pictures(read_list(path, word_filter=word_filter), [root / folder for folder in _IMAGE_FOLDERS])


def _places(split: str) -> tuple[str, ...]:
    return (
        *(f"{folder}{name}_data.json" for folder in _FOLDERS for name in _JSON_NAMES[split]),
        *(f"{folder}{name}.txt" for name in _TEXT_NAMES[split] for folder in _TEXT_FOLDERS),
        *(f"{folder}{name}.json" for folder in _JSON_FOLDERS for name in _JSON_NAMES[split]),
    )


DATA_SET = PostSet(
    stem="sarcasm",
    title="Sarcasm",
    folder="Sarcasm",
    classes=CLASSES,
    places={split: _places(split) for split in ("train", "val", "test")},
    published={"train": (19816, 29040), "val": (2410,), "test": (2409,)},
    locate=_located,
    image_folders=_IMAGE_FOLDERS,
    edition=edition,
    blank={"image": without_picture},
    licence="none is stated; tweets and pictures belong to their authors.",
)
"""Sarcasm. Option: ``word_filter`` (default true), see :func:`read_list`."""
