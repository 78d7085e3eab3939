"""Twitter15: the sentiment of a tweet, text and picture, towards one thing that it mentions.

Data card
    5,338 pairs of a tweet and an aspect term (Yu and Jiang, IJCAI 2019, TomBERT; tweets of 2014 and 2015 collected by
    Zhang et al., AAAI 2018). No licence is stated; tweets and pictures belong to their authors. A tweet with several
    terms has a row for each, with the same picture and with ``$T$`` in the place of the term.

    ==========  ========  =======  ========  ====  ========
    split       negative  neutral  positive   all  pictures
    ==========  ========  =======  ========  ====  ========
    train            368     1883       928  3179      2101
    validation       149      670       303  1122       727
    test             113      607       317  1037       674
    ==========  ========  =======  ========  ====  ========

    No picture is in two lists. Always "neutral" is right for 58.5 % of the test rows. The appendix of the BSS paper
    prints 3,197 training rows; the list has 3,179.

    TomBERT has a second data set of the same form, Twitter17 (``variant=twitter2017``; tweets of 2016 and 2017, Lu et
    al., ACL 2018): 3,562 / 1,176 / 1,234 rows in ``absa_data/twitter/``. Two of its training rows are there twice, with
    the same labels, and are kept; one is in the test list too, and does not train. Its pictures are called otherwise
    (``17_06_4705.jpg``, ``16_05_01_521.jpg``, ``O_1234.jpg``), by which the two are told apart.

Layout, the first list that exists (``annotations/`` may be left out; validation is called ``dev`` or ``val``)::

    annotations/{train,dev,test}.tsv     TomBERT's columns, or a header with Label, ImageID, String and maybe Target;
                                         TomBERT's clone has absa_data/twitter2015/ for annotations/
    annotations/{train,dev,test}.raw.tsv the same before TomBERT's own cleaning
    annotations/{train,dev,test}.txt     and .raw.txt: four lines a row: text, term, label -1 / 0 / 1, picture
    twitter2015_images/860693.jpg        or images/

TomBERT's headers are wrong in more than one way: two columns are both called ``#3 String``, and the header of the test
list has four names (no label) over rows of five. So its columns are read by position: index, label, picture, text,
term. Label ids in a tsv are 0, 1, 2 = those of the txt plus one. Quotes are letters, not quotes.
"""

import os
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bss.data.datasets.data_set import places_of
from bss.data.datasets.imagetext import (
    Post,
    PostSet,
    checked_image,
    checked_label,
    checked_text,
    with_pictures,
    without_picture,
)
from bss.data.datasets.listing import cells_of, check_once, lines_of
from bss.utils.errors import DataError, shown

CLASSES = ("negative", "neutral", "positive")
"""Class names; a label is a position in this tuple."""


_PICTURES = {
    "twitter2015": re.compile(r"\d+\.jpg"),
    "twitter2017": re.compile(r"(O|1\d_\d\d(_\d\d)?)_\d+\.jpg"),
}
"""Variant -> what its pictures are called."""


# ----------------------------------------------------------------------------------------------------- lists


def read_list(path: str | os.PathLike, variant: str = "twitter2015") -> list[Post]:
    """Read a list of any of the kinds above; ``.txt`` has four lines a row, everything else is tab-separated.

    Args:
        path: the list, UTF-8.
        variant: which data set it is of. In those of Twitter17 a row may be there twice, as published.

    Returns:
        The posts in the order of the file, without pictures. A name is that of the picture and a running number among
        the rows that share it: ``860693-1``, ``860693-2``.

    Raises:
        DataError: with file and line, for whatever is not as it should be; for a list without rows, and for one of the
            other variant.
    """
    path = Path(path)
    posts: list[Post] = []
    shared: Counter[str] = Counter()
    for post in _txt_posts(path) if path.suffix.lower() == ".txt" else _tsv_posts(path):
        stem = os.path.splitext(post.image)[0]
        shared[stem] += 1
        posts.append(replace(post, name=f"{stem}-{shared[stem]}", group=stem))
    if not posts:
        raise DataError(f"{path}: the list has no rows")
    _check_variant(path, posts, variant)
    check_once(path, _once(posts, variant))
    return posts


def _once(posts: Sequence[Post], variant: str) -> Iterator[tuple[Hashable, str, str]]:
    """What must be there once, see :func:`bss.data.datasets.listing.check_once`."""
    labels: dict[tuple[str, str, str], set[int]] = {}
    for post in posts:
        row = (post.image, post.text, post.target)
        again = post.label in labels.setdefault(row, set())
        labels[row].add(post.label)
        # Without the terms, two terms of one text are two equal rows.
        if post.target and not (again and variant == "twitter2017"):
            yield row, f"the row of {post.image} and {shown(post.target)}", post.listed


def _check_variant(path: Path, posts: Sequence[Post], variant: str) -> None:
    for other, pattern in _PICTURES.items():
        if other != variant and all(pattern.fullmatch(post.image) for post in posts):
            raise DataError(
                f"{path}: a list of {VARIANTS[other].title}, by the names of its pictures ({posts[0].image}), not of "
                f"{VARIANTS[variant].title}: train with --set variant={other}; prepare and the doctor take --variant "
                f"{other}"
            )


def _tsv_posts(path: Path) -> Iterator[Post]:
    rows = cells_of(path, "\t")
    _, header = next(rows, (0, []))
    columns, width = _columns(path, header)
    for line, cells in rows:
        where = f"{path} line {line}"
        if len(cells) != width:
            raise DataError(f"{where}: {len(cells)} columns, expected {width}{_no_label(cells, width, path)}")
        target = cells[columns["target"]] if "target" in columns else ""
        if "target" in columns:
            checked_text(target, where, "aspect term")
        yield _post(cells[columns["imageid"]], cells[columns["string"]], cells[columns["label"]], target, where)


def _columns(path: Path, header: list[str]) -> tuple[dict[str, int], int]:
    """Name of a column -> its position, and the number of columns."""
    names = [name.lower() for name in header]
    if names[:1] == ["index"] and any(name.startswith("#") for name in names):
        return {"label": 1, "imageid": 2, "string": 3, "target": 4}, 5
    if twice := [name for name in ("label", "imageid") if names.count(name) > 1]:
        raise DataError(f"{path} line 1: the header has {shown(header[names.index(twice[0])])} twice")
    columns = {name: names.index(name) for name in ("label", "imageid", "string") if name in names}
    if len(columns) < 3:
        raise DataError(
            f"{path} line 1: the header is {shown(header, 200)[1:-1]}; it needs Label, ImageID and String (and may "
            "have Target), or must be TomBERT's own (index, #1 Label, ...)"
        )
    terms = [position for position, name in enumerate(names) if name in ("target", "aspect")]
    terms += [position for position, name in enumerate(names) if name == "string"][1:]  # TomBERT's header, renamed
    if terms:
        columns["target"] = terms[0]
    return columns, len(names)


def _no_label(cells: list[str], width: int, path: Path) -> str:
    """The end of an error about a row that may be a test row without its label."""
    if len(cells) != 4 or width != 5:
        return ""
    return f" (index, label, picture, text, term); where labels are only in the {path.stem}.txt, remove the tsv"


def _txt_posts(path: Path) -> Iterator[Post]:
    record: list[str] = []
    number = 0
    for index, (number, line) in enumerate(lines_of(path), start=1):
        if number != index:
            raise DataError(f"{path} line {index}: a blank line; a row is four lines: text, term, label, picture")
        record.append(line.strip())
        if len(record) == 4:
            text, target, label, image = record
            where = f"{path} line {number - 3}"
            yield _post(image, text, label, target, where, lowest=-1)
            record = []
    if record:
        raise DataError(
            f"{path} line {number}: the last row has {len(record)} lines of four: text, term, label, picture"
        )


def _post(image: str, text: str, label: str, target: str, where: str, *, lowest: int = 0) -> Post:
    return Post(
        name="",
        label=checked_label(label, CLASSES, where, lowest=lowest),
        text=checked_text(text, where),
        image=checked_image(image, where),
        listed=where,
        target=target,
    )


# ----------------------------------------------------------------------------------------------------- files


def _located(root: Path, split: str, path: Path, *, variant: str = "twitter2015") -> list[Post]:
    """The posts of a list, with the pictures that are under the data root."""
    return with_pictures(read_list(path, variant), [root / folder for folder in VARIANTS[variant].image_folders])


def _places(*folders: str) -> dict[str, tuple[str, ...]]:
    suffixes = (".tsv", ".raw.tsv", ".txt", ".raw.txt")
    return places_of(
        [f"{folder}{{split}}{suffix}" for suffix in suffixes for folder in folders],
        {"train": ("train",), "val": ("dev", "val"), "test": ("test",)},
    )


# After our own folders those of TomBERT's repository.
DATA_SET = PostSet(
    stem="twitter15",
    title="Twitter15",
    folder="Twitter15",
    classes=CLASSES,
    places=_places("annotations/", "", "twitter2015/", "absa_data/twitter2015/"),
    published={"train": (3179,), "val": (1122,), "test": (1037,)},
    locate=_located,
    group="image",
    image_folders=("twitter2015_images", "images"),
    blank={"image": without_picture},
    licence="none is stated; tweets and pictures belong to their authors.",
)


VARIANTS = {
    "twitter2015": DATA_SET,
    # Lists in a folder of their own: both may be in one data root.
    "twitter2017": replace(
        DATA_SET,
        title="Twitter17",
        variant="twitter2017",
        places=_places("twitter2017/", "absa_data/twitter2017/", "absa_data/twitter/", "annotations/", ""),
        published={"train": (3562,), "val": (1176,), "test": (1234,)},
        locate=partial(_located, variant="twitter2017"),
        image_folders=("twitter2017_images", "images"),
        tested_rows_in_train=True,
    ),
}
"""Data sets of this form: TomBERT's two."""
