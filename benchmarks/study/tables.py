"""Every number of README.md and RESULTS.md: made from raw values, or listed with its source.

    python -m benchmarks.study.tables            # writes the generated blocks of both pages anew
    python -m benchmarks.study.tables --check    # exit status 1, and a line for each number that is another

A generated block stands between ``<!-- generated: NAME -->`` and ``<!-- end of generated -->``; the function of that
name in :data:`BLOCKS` makes it of ``results/*/runs.csv.gz``. Every other digit of the two pages must lie in a text that
``figures.toml`` lists with its source: a version, a count, a size, a figure that was measured without raw values and
says by which command. A changed digit is then either in a block, which is made anew, or in no listed text.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

from benchmarks.study import paper_tables, tuned
from benchmarks.study.estimates import bracket, estimate, p_value, signed, spread, welch
from benchmarks.study.pooled import LAST
from benchmarks.study.raw import RESULTS, ROOT, Study, read
from bss.compare.claims import claims_of

PAGES = ("README.md", "RESULTS.md")
CLAIMED = {"CREMAD/README.md": "cremad", "KS/README.md": "ks", "NVGesture/README.md": "nvgesture"} | {
    "Sarcasm/README.md": "sarcasm",
    "Twitter15/README.md": "twitter15",
}
"""The pages whose only generated block is what is claimed for their data set."""

FIGURES = "benchmarks/study/figures.toml"
BLOCK = re.compile(r"(<!-- generated: (\S+) -->\n)(.*?)(<!-- end of generated -->)", re.DOTALL)
NUMBER = re.compile(r"[\w.,]*\d[\w.,]*")
OUTCOMES = {"all.accuracy.chosen": "chosen epoch", "all.accuracy.last": "last epoch"}


# ---- the blocks ------------------------------------------------------------------------------------------------------


@cache
def study(name: str) -> Study:
    return read(RESULTS / name)


@cache
def drift_table() -> str:
    """CL and random pacing on the digits: each batch beside what was published, and both together."""
    drift = study("digits-drift")
    lines = [
        "| | seeds | n | CL, % | random pacing, % | CL minus random pacing, points [95 %] | p | published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for column, outcome in OUTCOMES.items():
        arms = [drift.values(arm, column) for arm in ("cl", "random-pacing")]
        for name, seeds in [*drift.batches.items(), ("together", drift.plan["analysis"]["seeds"])]:
            found = estimate(drift.differences("cl", "random-pacing", column, seeds))
            published = drift.plan["published"][column].get(name)
            cells = [
                outcome,
                name,
                str(found.n),
                *(spread(values[seed] for seed in seeds) for values in arms),
                f"{signed(found.mean, 2)} {bracket(found.interval(0.95))}",
                p_value(found.p),
                "" if published is None else signed(published),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@cache
def drift_verdict() -> str:
    """What the plan's rules say of it, a line each."""
    drift = study("digits-drift")
    primary, margin = "all.accuracy.chosen", drift.plan["analysis"]["margin"]
    pairs = {name: drift.differences("cl", "random-pacing", primary, seeds) for name, seeds in drift.batches.items()}
    lines = []
    for name, values in pairs.items():
        published, mean = drift.plan["published"][primary][name], estimate(values).mean
        back = "comes back" if abs(mean - published) <= 0.5 else "does not come back"
        lines.append(f"- Seeds {name}: {signed(published)} was published, {signed(mean, 2)} is measured: it {back}.")
    first, second = pairs.values()
    between, p = welch(first, second)
    back = "comes back" if p <= 0.05 and between > 0 else "does not come back"
    lines.append(
        f"- The batches differ by {signed(between, 2)} points (Welch's t test, p = {p_value(p)}): "
        f"the published difference {back}."
    )
    for column, outcome in OUTCOMES.items():
        found = estimate(drift.differences("cl", "random-pacing", column))
        verdict = f"equivalent within {margin:g} point" if found.within(margin) else "not shown to be equivalent"
        lines.append(
            f"- All {found.n} seeds, {outcome}: CL minus random pacing {signed(found.mean, 2)}, 90 % interval "
            f"{bracket(found.interval(0.90))}: {verdict}."
        )
    return "\n".join(lines)


@cache
def drift_made_by() -> str:
    """Where the runs were made."""
    made = study("digits-drift").constants
    versions, rows = made["versions"], study("digits-drift").rows
    updates = {row["updates"] for row in rows}
    return (
        f"{len(rows)} runs of {' or '.join(sorted(updates))} updates on commit {made['commit'][:7]}: "
        f"{made['processor']},\n{made['threads']} thread, torch {versions['torch']}, Python {versions['python']}. "
        f"Plan: SHA-256 {made['sha256']['plan.json'][:12]}."
    )


@cache
def drift_in_short() -> str:
    """The README's lines on it."""
    drift = study("digits-drift")
    parts = []
    for column, outcome in OUTCOMES.items():
        found = estimate(drift.differences("cl", "random-pacing", column))
        parts.append((found, f"{signed(found.mean, 2)} points {bracket(found.interval(0.90))} at the {outcome}"))
    margin = drift.plan["analysis"]["margin"]
    alike = all(found.within(margin) for found, _ in parts)
    head = f"- **Equivalent within {margin:g} point**" if alike else f"- **Undecided at a margin of {margin:g} point**"
    return (
        f"{head}: CL and random pacing (the same sizes, random members), spoken and written\n  digits: "
        f"{' and '.join(words for _, words in parts)}\n  "
        f"(CL minus random pacing, 90 % intervals, {parts[0][0].n} seeds that an earlier study had used)."
    )


def claimed(task: str) -> str:
    """The slides' table for a data set, and the arm here that trains each row."""
    claims = claims_of(task)
    second = {"map": "mAP", "macro_f1": "F1"}[claims.metric]
    lines = [f"| claimed, % | accuracy | {second} | arm |", "|---|---|---|---|"]
    for row in claims.rows():
        if row.claimed is not None:
            arms = ", ".join(f"`{arm}`" for arm in row.arms) or "not trained here"
            lines.append(f"| {row.method} | {row.claimed[0]:.2f} | {row.claimed[1]:.2f} | {arms} |")
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[], str]] = {
    **{f"claimed-{task}": partial(claimed, task) for task in CLAIMED.values()},
    "drift-table": drift_table,
    "drift-verdict": drift_verdict,
    "drift-made-by": drift_made_by,
    "drift-in-short": drift_in_short,
    "paper-form-regimes": paper_tables.regimes_table,
    "paper-form-verdicts": paper_tables.verdicts,
    "paper-form-fresh": paper_tables.fresh_table,
    "paper-form-sets": paper_tables.sets_table,
    "paper-form-test-parts": paper_tables.test_parts_in_words,
    "paper-form-by-test-part": paper_tables.test_parts_table,
    "paper-form-secondary": paper_tables.secondary_table,
    "paper-form-last": paper_tables.last_table,
    "paper-form-last-sets": paper_tables.last_sets_table,
    "paper-form-last-secondary": partial(paper_tables.secondary_table, LAST),
    "paper-form-arms": paper_tables.arms_table,
    "paper-form-others": paper_tables.others_table,
    "paper-form-made-by": paper_tables.made_by,
    "paper-form-in-short": paper_tables.in_short,
    "paper-form-tuned": tuned.table,
    "paper-form-tuned-in-short": tuned.in_short,
}


# ---- the check -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """A text of a page whose digits were not made from raw values.

    Attributes:
        page: ``"README.md"`` or ``"RESULTS.md"``.
        text: as it stands there, whatever its line breaks.
        source: where its figures come from.
    """

    page: str
    text: str
    source: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Its words on one line or over several; what may not stand before them is looked at by :meth:`places`.

        An expression that begins with a look behind is not searched for by its first letters: 25 times slower.
        """
        return re.compile(r"\s+".join(map(re.escape, self.text.split())) + r"(?![.,]?\d)")

    def places(self, page: str) -> list[tuple[int, int]]:
        """Where it stands and is not part of a longer number, as (begin, end)."""
        found = [match.span() for match in self.pattern.finditer(page)]
        return [(begin, end) for begin, end in found if not re.search(r"\d[.,]?$", page[max(0, begin - 2) : begin])]


def read_figures(text: str) -> list[Listed]:
    """The list in ``figures.toml``: of every entry each line of ``texts`` is one text.

    Raises:
        ValueError: an entry names no page, no source or no text, a text has no digit, or is a bare number, which would
            vouch for that number wherever it stands.
    """
    listed = []
    for entry in tomllib.loads(text)["figures"]:
        texts = [line.strip() for line in entry["texts"].splitlines() if line.strip()]
        if entry["page"] not in PAGES or not entry["source"].strip() or not texts:
            raise ValueError(f"{FIGURES}: an entry needs one of {PAGES} as its page, a source and texts: {entry}")
        for text in texts:
            if not re.search(r"\d", text) or re.fullmatch(r"[\d.,+%\s]+", text):
                raise ValueError(f"{FIGURES}: a text needs a number and the words around it, got {text!r}")
        listed += [Listed(entry["page"], text, entry["source"]) for text in texts]
    return listed


def read_proofs(text: str) -> list[tuple[str, str]]:
    """(file, text that must stand there) of the entries whose source is a line of another file."""
    entries = tomllib.loads(text)["figures"]
    return [(entry["file"], line) for entry in entries if "file" in entry for line in entry["lines"]]


def made_anew(page: str) -> str:
    """A page with its generated blocks as the raw values give them.

    Raises:
        ValueError: a block has a name that is none of :data:`BLOCKS`.
    """

    def block(match: re.Match[str]) -> str:
        begin, name, _, end = match.groups()
        if name not in BLOCKS:
            raise ValueError(f"there is no generated block {name}; of these there are: {', '.join(BLOCKS)}")
        return f"{begin}{BLOCKS[name]()}\n{end}"

    return BLOCK.sub(block, page)


def faults(name: str, page: str, listed: Iterable[Listed]) -> list[str]:
    """What is wrong with the numbers of a page, a line each, with the page's line where it has one.

    Args:
        name: of the page.
        page: its text.
        listed: the figures of all pages.
    """
    return [*block_faults(name, page), *unsourced(name, page, listed)]


def block_faults(name: str, page: str) -> list[str]:
    """The lines of a page's generated blocks that are others than those that are made now."""
    fresh = made_anew(page)
    found = []
    for old, new in zip(BLOCK.finditer(page), BLOCK.finditer(fresh), strict=True):
        before, after = old[3].splitlines(), new[3].splitlines()
        first = page.count("\n", 0, old.start(3)) + 1
        for row in range(max(len(before), len(after))):
            is_there, should = (lines[row] if row < len(lines) else "nothing" for lines in (before, after))
            if is_there != should:
                found.append(f"{name}:{first + row}: {is_there!r} stands there, the raw values give {should!r}")
    return found


def unsourced(name: str, page: str, listed: Iterable[Listed]) -> list[str]:
    """The digits of a page that are in no generated block and no listed text, and listed texts that are not there."""
    found = []
    rest = BLOCK.sub(lambda match: _blank(match[0]), page)
    covered = list(rest)
    for figure in listed:
        places = figure.places(rest) if figure.page == name else []
        if figure.page == name and not places:
            found.append(f"{name}: {FIGURES} lists {figure.text!r}, which does not stand there")
        for begin, end in places:
            covered[begin:end] = _blank(rest[begin:end])
    for row, (line, left) in enumerate(zip(rest.splitlines(), "".join(covered).splitlines(), strict=True), 1):
        if digit := re.search(r"\d", left):
            number = next(m[0] for m in NUMBER.finditer(line) if m.end() > digit.start())
            found.append(
                f"{name}:{row}: {number} is neither generated nor in {FIGURES} with its source: {line.strip()}"
            )
    return found


def _blank(text: str) -> str:
    """As many characters without a digit, and the line breaks where they were."""
    return re.sub(r"[^\n]", "_", text)


def missing_proofs(proofs: Iterable[tuple[str, str]], files: Mapping[str, str]) -> list[str]:
    """The sources that do not say any more what was taken from them.

    Args:
        proofs: see :func:`read_proofs`.
        files: name -> text.
    """
    return [
        f"{FIGURES}: {name} does not have {line!r} any more, which is the source of a figure"
        for name, line in proofs
        if line not in files[name]
    ]


def check() -> list[str]:
    """Everything that is wrong with the numbers of both pages, a line each."""
    text = (ROOT / FIGURES).read_text(encoding="utf-8")
    listed, proofs = read_figures(text), read_proofs(text)
    files = {name: (ROOT / name).read_text(encoding="utf-8") for name in {*PAGES, *(name for name, _ in proofs)}}
    found = [*missing_proofs(proofs, files), *(line for name in PAGES for line in faults(name, files[name], listed))]
    return found + [line for name in CLAIMED for line in block_faults(name, (ROOT / name).read_text(encoding="utf-8"))]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 where a number is another")
    if not parser.parse_args(arguments).check:
        for name in (*PAGES, *CLAIMED):
            page = (ROOT / name).read_text(encoding="utf-8")
            (ROOT / name).write_text(made_anew(page), encoding="utf-8")
        return 0
    found = check()
    print("\n".join(found) or f"every number of {' and '.join(PAGES)} is generated or listed with its source")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
