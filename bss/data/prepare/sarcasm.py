"""Make a data root of Sarcasm: the original text files, filtered, as json, and the pictures of the posts left."""

import json
from collections.abc import Sequence
from pathlib import Path

from bss.data.datasets.imagetext import Post
from bss.data.datasets.listing import list_of
from bss.data.datasets.sarcasm import DATA_SET, edition, read_list
from bss.data.prepare import posts

DESCRIPTION = """\
a clone of the original (github.com/headacheboy/data-of-multimodal-sarcasm-detection)
or of MMSD2.0 (github.com/JoeYing1019/MMSD2.0), or a folder with train.txt, valid2.txt and
test2.txt in text/, text_data/ or directly in it, with the released {train,valid,test}_data.json,
or with MMSD2.0's text_json_final/; pictures in dataset_image/ or images/ in it"""


def prepare(source: Path, out: Path, *, workers: int, force: bool = False) -> list[str]:
    """Write ``annotations/{train,valid,test}_data.json`` and ``images/``.

    The published word filter leaves out the training rows that give the answer away (29,040 -> 19,816 rows); how many
    it is, is printed. MMSD2.0's lists are taken as they are, and are told by their key ``image_id``.

    Args:
        source: see :data:`DESCRIPTION`.
        out: the data root.
        workers: processes; 0 does the work in this one.
        force: replace pictures that are there and differ.

    Returns:
        One line for each failure, see :func:`bss.data.prepare.posts.prepare`.

    Raises:
        DataNotFoundError, DataError: see :func:`bss.data.prepare.posts.prepare`.
    """
    return posts.prepare(
        DATA_SET,
        source,
        out,
        workers=workers,
        list_text=_as_json,
        description=DESCRIPTION,
        force=force,
    )


def _as_json(rows: Sequence[Post]) -> str:
    path = Path(list_of(rows[0]))
    if path.suffix.lower() == ".txt":
        number = len(read_list(path, word_filter=False))
        print(f"{path}: {number - len(rows)} of {number} rows left out by the word filter")
    if edition(path):  # by this key it is told from the original
        items = [{"image_id": post.name, "text": post.text, "label": post.label} for post in rows]
    else:
        items = [{"image": f"images/{post.image}", "text": post.text, "label": post.label} for post in rows]
    return json.dumps(items, ensure_ascii=False, indent=1) + "\n"
