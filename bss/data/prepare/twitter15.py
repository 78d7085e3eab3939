"""Make a data root of Twitter15: TomBERT's lists with the column names of the released code, and their pictures."""

from collections.abc import Sequence
from pathlib import Path

from bss.data.datasets.imagetext import Post, PostSet
from bss.data.datasets.twitter15 import DATA_SET
from bss.data.prepare import posts

DESCRIPTION = """\
a clone of TomBERT (github.com/jefferyYu/TomBERT), or a folder with its lists train, dev and
test (.tsv, .raw.tsv, .txt or .raw.txt) in twitter2015/ or directly in it; and in it the pictures,
which TomBERT's README links, in twitter2015_images/ or images/"""


def prepare(source: Path, out: Path, *, workers: int, force: bool = False, data_set: PostSet = DATA_SET) -> list[str]:
    """Write ``annotations/{train,dev,test}.tsv`` and ``twitter2015_images/``; of Twitter17 others, by its record.

    The columns are index, Label (0, 1, 2), ImageID, String with ``$T$``, and Target where the source has it.

    Args:
        source: see :data:`DESCRIPTION`.
        out: the data root.
        workers: processes; 0 does the work in this one.
        force: replace pictures that are there and differ.
        data_set: one of :data:`bss.data.datasets.twitter15.VARIANTS`.

    Returns:
        One line for each failure, see :func:`bss.data.prepare.posts.prepare`.

    Raises:
        DataNotFoundError, DataError: see :func:`bss.data.prepare.posts.prepare`.
    """
    return posts.prepare(
        data_set,
        source,
        out,
        workers=workers,
        list_text=_as_tsv,
        description=DESCRIPTION,
        force=force,
    )


def _as_tsv(rows: Sequence[Post]) -> str:
    has_targets = any(post.target for post in rows)
    lines = [("index", "Label", "ImageID", "String", *(("Target",) if has_targets else ()))]
    for number, post in enumerate(rows, start=1):
        target = (post.target,) if has_targets else ()
        lines.append((str(number), str(post.label), post.image, post.text, *target))
    # A tab inside a text, which the txt files could have, would be another column.
    return "".join("\t".join(cell.replace("\t", " ") for cell in line) + "\n" for line in lines)
