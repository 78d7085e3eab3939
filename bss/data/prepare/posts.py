"""Posts with a picture: lists in the released form, and the pictures that they name. For Sarcasm and Twitter15."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from bss.data.datasets.imagetext import Post, with_pictures
from bss.data.prepare import jobs, lists
from bss.utils.errors import DataNotFoundError


class PostsModule(Protocol):
    """What is used of a data-set module."""

    TITLE: str
    SPLITS: Sequence[str]

    def read_samples(self, root: Path, split: str) -> Sequence[Post]:
        """The posts of a split with the pictures that were found."""


def prepare(
    data_set: PostsModule,
    source: Path,
    out: Path,
    *,
    workers: int,
    roots: Sequence[Path],
    images: Sequence[Path],
    image_folder: str,
    list_names: Mapping[str, str],
    list_text: Callable[[Sequence[Post]], str],
    description: str,
) -> list[str]:
    """Write the lists, and link (or copy) the pictures that they name.

    Rows keep their place whether their picture is there or not; training and the doctor say that it is missing.

    Args:
        data_set: reads the lists.
        source: what was published, for errors.
        out: the data root.
        workers: processes; 0 does the work in this one.
        roots: folders in which lists are looked for; ``out`` comes after them.
        images: folders in which pictures are looked for.
        image_folder: name of the folder for pictures in ``out``.
        list_names: split -> name of the list in ``out/annotations``.
        list_text: content of a list.
        description: what ``source`` must be, for errors.

    Returns:
        One line for each failure, which a post without picture is. Everything is printed as well.

    Raises:
        DataNotFoundError: no list at all.
        DataError: a list that cannot be read or written.
    """
    posts_of, failures = lists.find(data_set.read_samples, data_set.SPLITS, (*roots, out))
    if not posts_of:
        raise DataNotFoundError(f"{data_set.TITLE}: no lists in {source} or {out}.\n--source must be {description}")
    folder = out / image_folder
    work: dict[Path, jobs.LinkJob] = {}
    missing: dict[str, str] = {}
    for split, posts in posts_of.items():
        lists.write(out / "annotations" / list_names[split], list_text(posts), posts)
        for post in with_pictures(posts, [*images, folder]):
            if post.path:
                work[post.path] = jobs.LinkJob(post.path, folder / post.path.name)
            else:
                missing.setdefault(post.image, f"{post.image}: no such picture ({post.listed})")
    return failures + jobs.fill(
        folder, jobs.take_over, list(work.values()), workers=workers, failures=list(missing.values())
    )
