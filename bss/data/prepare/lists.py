"""Find the lists of samples in what was published, and write them in the layout's own form."""

from collections.abc import Sequence
from pathlib import Path

from bss.data.datasets.data_set import DataSet, S, read
from bss.data.datasets.listing import Sample, list_of
from bss.utils.errors import DataError, DataNotFoundError
from bss.utils.filesystem import whole_file


def read_splits(
    data_set: DataSet[S], roots: Sequence[Path], description: str = ""
) -> tuple[dict[str, list[S]], list[str]]:
    """Read the list of every split from the first of the folders that has it.

    Args:
        data_set: the record of the data set.
        roots: folders in the order of preference.
        description: what the source must be, where there must be a list at all.

    Returns:
        Split -> samples, for the splits that have a list; and a line, which is also printed, for each that has none
        and should have one.

    Raises:
        DataNotFoundError: no list at all; names the folders that were looked in, and ends with the description.
        DataError: a list that cannot be read.
    """
    samples_of, failures = {}, []
    where = " or ".join(map(str, roots))
    for split in data_set.splits:
        for root in roots:
            try:
                samples_of[split] = read(data_set, root, split)
                break
            except DataNotFoundError:
                continue
        else:
            if split not in data_set.optional:
                failures.append(f"no list of the {split} split in {where}: {data_set.looked_for(split)}")
    if description and not samples_of:
        raise DataNotFoundError(
            f"{data_set.title}: no lists in {where}: {data_set.looked_for(data_set.splits[0])}.\n"
            f"--source must be {description}"
        )
    for failure in failures:
        print(failure)
    return samples_of, failures


def write(target: Path, text: str, samples: Sequence[Sample]) -> None:
    """Write a list unless it is there, and print which; one that says something else is never replaced.

    Args:
        target: the list to write.
        text: its content.
        samples: what the content says; where they come from the target itself, it stays as it is.

    Raises:
        DataError: another list is there, or it cannot be written.
    """
    content, origin = text.encode("utf-8"), Path(list_of(samples[0]))
    try:
        there = target.exists()
        if there and not target.samefile(origin) and target.read_bytes() != content:
            raise DataError(
                f"{target} is there already and differs from what {origin} gives: delete it to have it "
                "written anew, or take the other one away to keep it"
            )
        if not there:
            with whole_file(target) as temporary:
                temporary.write_bytes(content)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}") from error
    print(f"{target}: {len(samples)} rows, {'kept' if there else 'written'}")
