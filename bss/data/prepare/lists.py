"""Lists of samples: found in what was published, and written in the layout's own form."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bss.data.datasets.listing import Sample
from bss.utils.errors import DataError, DataNotFoundError
from bss.utils.filesystem import whole_file

S = TypeVar("S", bound=Sample)


def find(
    read_samples: Callable[[Path, str], Sequence[S]], splits: Sequence[str], roots: Sequence[Path]
) -> tuple[dict[str, Sequence[S]], list[str]]:
    """The samples of every split, by the first of the folders that has its list.

    Args:
        read_samples: of a data-set module.
        splits: names of the splits.
        roots: folders in the order of preference.

    Returns:
        Split -> samples, for the splits that have a list; and a line, which is also printed, for each that has none.

    Raises:
        DataError: a list that cannot be read.
    """
    samples_of, failures = {}, []
    for split in splits:
        for root in roots:
            try:
                samples_of[split] = read_samples(root, split)
                break
            except DataNotFoundError:
                continue
        else:
            failures.append(f"no list of the {split} split in {' or '.join(map(str, roots))}")
            print(failures[-1])
    return samples_of, failures


def origin(samples: Sequence[Sample]) -> Path:
    """The file that samples were listed in."""
    return Path(samples[0].listed.rpartition(" ")[0].rpartition(" ")[0])  # "FILE line 3", "FILE item 3"


def write(target: Path, text: str, samples: Sequence[Sample]) -> None:
    """Write a list unless it is there, and print which; one that says something else is never replaced.

    Args:
        target: the list to write.
        text: its content.
        samples: what the content says; where they come from the target itself, it stays as it is.

    Raises:
        DataError: another list is there, or it cannot be written.
    """
    content = text.encode("utf-8")
    try:
        there = target.exists()
        if there and not target.samefile(origin(samples)) and target.read_bytes() != content:
            raise DataError(
                f"{target} is there already and differs from what {origin(samples)} gives: delete it to have it "
                "written anew, or take the other one away to keep it"
            )
        if not there:
            with whole_file(target) as temporary:
                temporary.write_bytes(content)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}") from error
    print(f"{target}: {len(samples)} rows, {'kept' if there else 'written'}")
