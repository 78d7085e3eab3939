"""The checks of rows, files, classes and groups. A check is a function of a tree that yields findings."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median

from bss.data.datasets import nearby
from bss.data.datasets.listing import Sample
from bss.data.doctor.findings import Finding, Occurrence, number, percent
from bss.data.doctor.tree import Entry, Tree, oddities

SILENT_PEAK = 1e-4
"""A waveform that stays below this is taken for silence; one step of 16-bit PCM is 0.3e-4."""


SMALL_IMAGE = 16
"""Fewer pixels than this in height or width: a placeholder rather than a picture."""


LONG_CLIP = 10
"""A clip of more than so many times the median length is named."""


# ------------------------------------------------------------------------------------------------------- lists


def list_sizes(tree: Tree) -> Iterator[Finding]:
    """Compare the number of rows of every list with the published numbers."""
    as_published = []
    for split, samples in tree.samples.items():
        published = tree.data_set.published.get(split, ())
        if not published or len(samples) in published:
            as_published += [f"{split} {len(samples):,}"] if published else []
            continue
        differences = " or ".join(_difference(len(samples), size) for size in published)
        message = f"{split}: {number(len(samples), 'row')}; the published lists have {differences}"
        if tree.generated:
            yield Finding("list-size", "note", f"{message}; this is a generated sample")
        else:
            yield Finding("list-size", "warning", f"{message}: results compare only with those on the same rows")
    if as_published:
        yield Finding("list-size", "ok", f"rows as published: {', '.join(as_published)}")
    for split in tree.data_set.optional:
        if split in tree.samples:
            yield Finding("list-optional", "note", f"{split}: the list is used with --set published_val=true alone")


def editions(tree: Tree) -> Iterator[Finding]:
    """Name the edition that the lists are of, where the data set has several."""
    names = dict.fromkeys(tree.editions.values())
    if len(names) > 1:
        which = ", ".join(f"{split}: {name or 'the original'}" for split, name in tree.editions.items())
        yield Finding(
            "list-edition", "warning", f"the lists are of different editions ({which}): use one edition alone"
        )
    elif any(names):
        message = f"the lists are those of {next(iter(names))}: results compare only with others on that edition"
        yield Finding("list-edition", "note", message)


def _difference(rows: int, published: int) -> str:
    return f"{published:,} ({abs(rows - published):,} {'fewer' if rows < published else 'more'} here)"


def shared_names(tree: Tree) -> Iterator[Finding]:
    """Find samples that two lists name."""
    clean = []
    for one, other in combinations(tree.samples, 2):
        rows = {sample.name: sample for sample in tree.samples[one]}
        shared = [(rows[sample.name], sample) for sample in tree.samples[other] if sample.name in rows]
        if not shared:
            clean.append(f"{one} and {other}")
            continue
        if one == "train" and other in tree.data_set.optional:
            rest = len(tree.samples[one]) - len(shared)
            message = (
                f"{number(len(shared), 'sample')} of {len(tree.samples[other]):,} in {other} "
                f"{'is' if len(shared) == 1 else 'are'} in {one} too, by name: with --set published_val=true the other "
                f"{rest:,} train"
            )
            yield Finding("shared-names", "note", message)
            continue
        published = one == "train" and other == "test" and tree.data_set.tested_rows_in_train
        consequence = "training leaves it out" if published else f"{other} must not measure what was learnt"
        yield Finding(
            "shared-names",
            "note" if published else "error",
            f"{number(len(shared), 'sample')} of {len(tree.samples[other]):,} in {other} "
            f"{'is' if len(shared) == 1 else 'are'} in {one} too, by name: {consequence}",
            tuple(
                Occurrence(f"also {tree.short(first.listed)}", row=tree.short(sample.listed), sample=sample.name)
                for first, sample in shared
            ),
        )
    if clean:
        yield Finding("shared-names", "ok", f"no name is in two lists ({', '.join(clean)})")


# ------------------------------------------------------------------------------------------------------- files


def missing_files(tree: Tree) -> Iterator[Finding]:
    """Find samples without files, folders without usable files, and things that look like media and are no files."""
    lacking = {kind: [(split, sample) for split, sample in tree.all() if not sample.files[kind]] for kind in tree.kinds}
    wanted = {_last_part(sample) for gaps in lacking.values() for _, sample in gaps}
    # One walk over the tree answers for all samples: to look for each by itself would be a walk for each.
    named, beside = oddities(tree, wanted)
    why = nearby.reasons(tree.root, [sample for _, sample in tree.all()])
    complete = [kind for kind, gaps in lacking.items() if not gaps]
    if complete:
        whole = " and ".join(complete)
        yield Finding(
            "files-missing", "ok", f"all {number(sum(map(len, tree.samples.values())), 'sample')} have {whole}"
        )
    for kind, gaps in lacking.items():
        if not gaps:
            continue
        entries = {sample.listed: _entries_of(sample, named) for _, sample in gaps}
        usual = {path.parent.parent for _, sample in tree.all() for path in sample.files[kind]}
        # An empty folder in the usual place is another fault than no folder: something began to fill it.
        folder_of = {row: _empty_folder(found, usual) for row, found in entries.items()}
        empty = [(split, sample) for split, sample in gaps if folder_of[sample.listed]]
        absent = [(split, sample) for split, sample in gaps if not folder_of[sample.listed]]
        if empty:
            yield Finding(
                "folders-empty",
                "error",
                f"a folder with no {kind} in it for {_of_each_split(tree, empty)}",
                tuple(_folder_example(tree, sample, folder_of[sample.listed]) for _, sample in empty),
            )
        if absent:
            yield Finding(
                "files-missing",
                "error",
                f"no {kind} found for {_of_each_split(tree, absent)}",
                tuple(
                    Occurrence(
                        _there_is(tree, entries[sample.listed]) or tree.short(why.get(sample.listed, "")),
                        "",
                        tree.short(sample.listed),
                        sample.name,
                    )
                    for _, sample in absent
                ),
            )
    if beside:
        yield Finding(
            "files-odd",
            "warning",
            f"beside the samples' files, {number(len(beside), 'entry has', 'entries have')} the suffix of media and "
            f"{'is' if len(beside) == 1 else 'are'} passed over",
            tuple(Occurrence(entry.what, tree.short(entry.path)) for entry in beside),
        )


def _folder_example(tree: Tree, sample: Sample, folder: Entry) -> Occurrence:
    return Occurrence(folder.what, tree.short(folder.path), tree.short(sample.listed), sample.name)


def _last_part(sample: Sample) -> str:
    return sample.name.rstrip("/").rpartition("/")[2]


def _entries_of(sample: Sample, named: dict[str, list[Entry]]) -> list[Entry]:
    """The entries that have a sample's name; where the name is a path, only those under that path."""
    return [
        entry
        for entry in named.get(_last_part(sample), [])
        if "/" not in sample.name or f"/{sample.name}" in entry.path.as_posix()
    ]


def _empty_folder(entries: Sequence[Entry], usual: set[Path]) -> Entry | None:
    """The entry that is a folder where folders of this kind usually are (anywhere, if there are no others)."""
    return next((entry for entry in entries if entry.folder and (not usual or entry.path.parent in usual)), None)


def _there_is(tree: Tree, entries: Sequence[Entry]) -> str:
    return "there is " + ", ".join(f"{tree.short(e.path)} ({e.what})" for e in entries) if entries else ""


def _of_each_split(tree: Tree, gaps: Sequence[tuple[str, Sample]]) -> str:
    counts = Counter(split for split, _ in gaps)
    total = sum(len(samples) for samples in tree.samples.values())
    if len(gaps) == total:
        return f"any of the {number(total, 'sample')}"
    each = ", ".join(f"{split} {counts[split]:,} of {len(tree.samples[split]):,}" for split in counts)
    return f"{len(gaps):,} of {number(total, 'sample')} ({each})"


def broken_files(tree: Tree) -> Iterator[Finding]:
    """Find files that hold nothing or cannot be decoded, and those that could not be checked."""
    nothing: dict[str, list[Path]] = defaultdict(list)
    for path, facts in tree.facts.items():
        if facts.nothing:
            nothing[facts.nothing].append(path)
    for problem, paths in nothing.items():
        check = "files-lfs" if "Git-LFS" in problem else "files-empty"
        yield Finding(check, "error", f"{number(len(paths), 'file')}: {problem}", _examples(tree, paths))
    damaged = {path: facts.damage for path, facts in tree.facts.items() if facts.damage}
    if damaged:
        yield Finding(
            "files-damaged",
            "error",
            f"{number(len(damaged), 'file is', 'files are')} damaged or cannot be decoded",
            _examples(tree, damaged, damaged),
        )
    odd = {path: facts.complaint for path, facts in tree.facts.items() if facts.complaint}
    if odd:
        yield Finding(
            "files-doubtful",
            "warning",
            f"{number(len(odd), 'file')} can be decoded, but the decoder complains: look at a few",
            _examples(tree, odd, odd),
        )
    unknown = [path for path, facts in tree.facts.items() if not facts.decoded]
    if unknown:
        suffixes = ", ".join(sorted({path.suffix or path.name for path in unknown}))
        message = f"{number(len(unknown), 'file')} of kinds that are not decoded here ({suffixes}): found, not checked"
        yield Finding("files-unchecked", "note", message, _examples(tree, unknown))
    good = sum(facts.usable and facts.decoded for facts in tree.facts.values())
    if good:
        yield Finding("files-decoded", "ok", f"{number(good, 'file')} of {len(tree.facts):,} decoded without an error")


def unusual_media(tree: Tree) -> Iterator[Finding]:
    """Find media that train but may be none: silence, very long clips, pictures of one colour, tiny pictures."""
    of_kind = {path: kind for _, sample in tree.all() for kind, paths in sample.files.items() for path in paths}
    silent = {p: f"peak {f.peak:.1g}" for p, f in tree.facts.items() if f.peak is not None and f.peak < SILENT_PEAK}
    if silent:
        message = f"{number(len(silent), 'sound is', 'sounds are')} silent (peak below {SILENT_PEAK:g})"
        yield Finding("audio-silent", "note", message, _examples(tree, silent, silent))
    lengths: dict[str, dict[Path, float]] = defaultdict(dict)
    for path, facts in tree.facts.items():
        if facts.seconds is not None:
            lengths[of_kind[path]][path] = facts.seconds
    for kind, seconds in lengths.items():
        usual = median(seconds.values())
        long = {path: f"{length:.1f} s" for path, length in seconds.items() if length > LONG_CLIP * usual}
        if long:
            message = (
                f"{kind}: {number(len(long), 'file lasts', 'files last')} more than {LONG_CLIP} times the median of "
                f"{usual:.1f} s; training uses a window of each"
            )
            yield Finding("media-long", "note", message, _examples(tree, long, long))
    small = {
        p: "{} x {} pixels".format(*f.shape) for p, f in tree.facts.items() if f.shape and min(f.shape) < SMALL_IMAGE
    }
    if small:
        message = f"{number(len(small), 'image')} of less than {SMALL_IMAGE} pixels in height or width"
        yield Finding("image-small", "note", message, _examples(tree, small, small))
    flat = {path: "{} x {} pixels".format(*facts.shape) for path, facts in tree.facts.items() if facts.flat}
    if flat:
        message = f"{number(len(flat), 'image')} of a single colour"
        yield Finding("image-flat", "note", message, _examples(tree, flat, flat))


def _examples(tree: Tree, paths: Sequence[Path] | dict[Path, str], detail: dict[Path, str] | None = None) -> tuple:
    """The files as occurrences, each with the first row that lists it."""
    found = []
    for path in paths:
        first, *others = tree.rows_of[path]
        row = tree.short(first.listed) + (f" and {number(len(others), 'other')}" if others else "")
        found.append(Occurrence(tree.short(detail[path]) if detail else "", tree.short(path), row, first.name))
    return tuple(found)


# ---------------------------------------------------------------------------------------------- classes and groups


def classes(tree: Tree) -> Iterator[Finding]:
    """Find classes that a split lacks."""
    names = tree.data_set.classes
    counts = {split: Counter(sample.label for sample in samples) for split, samples in tree.samples.items()}
    if "train" not in counts:
        return
    complete = True
    for split in counts:
        if split == "train":
            continue
        unlearnt = [name for label, name in enumerate(names) if counts[split][label] and not counts["train"][label]]
        unmeasured = [name for label, name in enumerate(names) if counts["train"][label] and not counts[split][label]]
        complete = complete and not unlearnt and not unmeasured
        if unlearnt:
            message = f"{_classes(unlearnt)} in {split} but not in train: nothing can learn {_them(unlearnt)}"
            yield Finding("class-unlearnt", "error", message, tuple(Occurrence(name) for name in unlearnt))
        if unmeasured:
            message = (
                f"{_classes(unmeasured)} in train but not in {split}: {split} does not measure {_them(unmeasured)}"
            )
            yield Finding("class-unmeasured", "warning", message, tuple(Occurrence(name) for name in unmeasured))
    unused = [name for label, name in enumerate(names) if not any(count[label] for count in counts.values())]
    if unused:
        message = f"{_classes(unused)} in no list"
        yield Finding("class-unused", "warning", message, tuple(Occurrence(name) for name in unused))
    elif complete:
        yield Finding("classes", "ok", f"all {len(names)} classes are in {' and '.join(counts)}")


def single_samples(tree: Tree) -> Iterator[Finding]:
    """Find classes with one training sample, where training takes its validation samples from the training list."""
    if "train" not in tree.samples or ("val" in tree.samples and "val" not in tree.data_set.optional):
        return
    counts = Counter(sample.label for sample in tree.samples["train"])
    alone = [sample for sample in tree.samples["train"] if counts[sample.label] == 1]
    if alone:
        yield Finding(
            "class-single",
            "warning",
            f"{number(len(alone), 'class has', 'classes have')} a single training sample: training takes validation "
            "samples from every class of train, and cannot; pass --set val_fraction=0, or leave the class out",
            tuple(
                Occurrence(tree.data_set.classes[sample.label], row=tree.short(sample.listed), sample=sample.name)
                for sample in alone
            ),
        )


def _classes(names: Sequence[str]) -> str:
    return number(len(names), "class is", "classes are")


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def shared_groups(tree: Tree) -> Iterator[Finding]:
    """Find groups (actors, subjects, source videos) that are in train and in another split."""
    group, group_hint = tree.data_set.group, tree.data_set.group_hint
    if not group or "train" not in tree.samples:
        return
    known = {sample.group for sample in tree.samples["train"]} - {""}
    clean = []
    for split, samples in tree.samples.items():
        groups = {sample.group for sample in samples} - {""}
        if split == "train" or not groups:
            continue
        shared = groups & known
        if not shared:
            clean.append(f"{split} ({len(groups):,})")
            continue
        affected = [sample for sample in samples if sample.group in shared]
        hint = f"; {group_hint}" if group_hint else f": {split} measures known {group}s"
        yield Finding(
            "shared-groups",
            "warning",
            f"{len(shared):,} of {number(len(groups), group)} of {split} "
            f"{'is' if len(shared) == 1 else 'are'} in train too ({len(known):,} there), with {len(affected):,} of "
            f"{number(len(samples), f'{split} sample')} ({percent(len(affected), len(samples))}){hint}",
            tuple(Occurrence(name) for name in sorted(shared)),
        )
    if clean:
        yield Finding("shared-groups", "ok", f"no {group} of {' or '.join(clean)} is in train ({len(known):,})")


ALL = (
    list_sizes,
    editions,
    missing_files,
    broken_files,
    unusual_media,
    classes,
    single_samples,
    shared_names,
    shared_groups,
)
