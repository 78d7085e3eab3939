"""Make a data root of posts: lists in the layout's own form, and the pictures that they name.

For Sarcasm and Twitter15.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from bss.data.datasets import nearby
from bss.data.datasets.imagetext import Post, PostSet, with_pictures
from bss.data.prepare import jobs, lists


def prepare(
    data_set: PostSet,
    source: Path,
    out: Path,
    *,
    workers: int,
    list_text: Callable[[Sequence[Post]], str],
    description: str,
    force: bool,
) -> list[str]:
    """Write the lists, and link (or copy) the pictures that they name.

    Rows keep their place whether their picture is there or not; training and the doctor say that it is missing.

    Args:
        data_set: the record of the data set.
        source: what was published, with lists and pictures in one of the data set's places for them; lists may be in
            ``out`` instead.
        out: the data root.
        workers: processes; 0 does the work in this one.
        list_text: content of a list.
        description: what ``source`` must be, for errors.
        force: replace pictures that are there and differ.

    Returns:
        One line for each failure, which a post without picture is. Everything is printed as well.

    Raises:
        DataNotFoundError: no list at all.
        DataError: a list that cannot be read or written.
    """
    posts_of, failures = lists.read_splits(data_set, (source, out), description)
    folder = out / data_set.image_folders[0]
    work: dict[Path, jobs.LinkJob] = {}
    missing: dict[str, str] = {}
    for split, posts in posts_of.items():
        lists.write(out / data_set.places[split][0], list_text(posts), posts)
        found = with_pictures(posts, [*(source / name for name in data_set.image_folders), folder])
        why = nearby.reasons(source, found)
        for post in found:
            if post.path:
                work[post.path] = jobs.LinkJob(post.path, folder / post.path.name, force)
            else:
                known = f"; {why[post.listed]}" if post.listed in why else ""
                missing.setdefault(post.image, f"{post.image}: no such picture ({post.listed}){known}")
    return failures + jobs.fill(
        folder, jobs.take_over, list(work.values()), workers=workers, failures=list(missing.values())
    )
