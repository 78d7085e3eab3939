"""The report as one HTML file that needs no network: tables, figures and samples, for a screen, a phone and paper."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from bss import tasks
from bss.compare import classes, figures, samples
from bss.compare.document import Panel, Section, Switch, document
from bss.compare.run_table import run_table
from bss.compare.runs import FinishedRun
from bss.compare.tables import (
    EPOCHS,
    Results,
    arm_table,
    choice_tables,
    cost_table,
    difference_table,
    finding,
    finished_table,
    fold_tables,
    generated_data,
    head_table,
    made_by,
    power_tables,
    reading,
    secondary_tables,
    sizes,
)
from bss.compare.wording import PLUS_MINUS, points_text, seeds_text
from bss.recipes.recipe import Recipe
from bss.training.run_folder import read_scores
from bss.utils.errors import BssError, RecipeError, first_line, shown

if TYPE_CHECKING:  # of samples, which many pages do not show
    from bss.data.splits import Splits


@dataclass(frozen=True)
class Source:
    """Where a page may look for the samples that it shows: named by a person, never by a run folder.

    A run folder may come from anybody. To import the file that it names as its task would run that person's code, and
    to look under the data root that it names would read this person's files.

    Attributes:
        data_root: the data set's folder.
        task: the Python file of a task of one's own; None for the library's tasks.
    """

    data_root: Path
    task: str | None = None

    def check(self, runs: Sequence[FinishedRun]) -> None:
        """Refuse a file that is not the code of any of the runs' tasks.

        Raises:
            RecipeError: there is such a file; it is not run.
        """
        if self.task is None:
            return
        if not Path(self.task).is_file():
            raise RecipeError(f"--task {self.task} is not a file")
        theirs = {run.task_file for run in runs if run.task not in tasks.names()}
        if theirs and tasks.task_file(self.task) not in theirs:
            raise RecipeError(
                f"--task {self.task} has other code than the task that {runs[0].path} was trained with, and is not "
                "run: pass the file as it was then, or leave --task out"
            )

    def load(self, run: FinishedRun) -> tasks.Task:
        """Load the task of a run.

        Raises:
            RecipeError: its task is a file that was not named, or the file has other code.
        """
        if run.task in tasks.names():
            return tasks.load(run.task)
        if self.task is None:
            raise RecipeError(f"the task of these runs is a file ({shown(run.task)}): name it with --task FILE.py")
        if tasks.task_file(self.task) != run.task_file:
            raise RecipeError(f"--task {self.task} has other code than the task of {run.path}")
        return tasks.load(self.task)


def page(results: Results, source: Source | None = None, sections: Sequence[Section] = ()) -> str:
    """Write the report as one HTML page.

    Args:
        results: the runs, and how they are compared.
        source: where the samples are; None reads nothing outside the run folders, and shows no samples.
        sections: what else a command has to show of these runs; it comes first.
    """
    first = results.runs[0]
    title = first.task_title or "Runs"
    primary = f"test {results.noun} of {results.prediction}, {' and '.join(EPOCHS[epoch] for epoch in results.epochs)}"
    return document(
        f"{title}: arms compared",
        [*sections, *_sections(results)],
        template="report.html",
        switches=_switches(results),
        control=results.controls[0],
        heading=f"{title}: {len(results.arms)} ways to train, compared",
        summary=f"{len(results.runs)} runs: {_counts(results)}. Primary: {primary}; control: {results.controls[0]}. "
        f"{sizes(results)}",
        generated=generated_data(results),
        finding=finding(results).splitlines(),
        notes=results.notes,
        left_out=results.left_out,
        samples=_samples(results, source),
        made_by={name: made_by(results.runs, name) for name in MADE_BY},
        stopped=[f"{run.arm} seed {results.pair(run)}: {part.where}" for run in results.runs for part in run.parts[1:]],
        recipe=results.arms[results.controls[0]][0].recipe,
    )


def _switches(results: Results) -> list[Switch]:
    """One for every arm, in the colour that it has in the figures."""
    control = results.controls[0]
    found: dict[str, Switch] = {}
    for members in figures.groups(results.names, control):
        found |= {arm: Switch(arm, figures.swatch(*look)) for arm, look in figures.looks(members, control).items()}
    return [found[arm] for arm in results.names]


MADE_BY = ("command", "commit", "device", "machine", "versions")
"""Fields of ``config.json`` that say how a run was made, as the page tells them."""


def _sections(results: Results) -> Iterator[Section]:
    yield Section(tables=[arm_table(results)], notes=[said for said in [reading(results)] if said])
    yield from _comparisons(results)
    yield Section(tables=[run_table(results)])
    others = [*fold_tables(results), *power_tables(results), *choice_tables(results), head_table(results)]
    others += secondary_tables(results)
    yield from (Section(tables=[table]) for table in others)
    yield from _curves(results)
    yield from _histograms(results)
    yield _classes(results)
    yield Section(tables=[cost_table(results)])


def _counts(results: Results) -> str:
    updates = sorted({run.updates for run in results.runs})
    cost = f"{updates[0]:,} updates each" if len(updates) == 1 else f"{updates[0]:,} to {updates[-1]:,} updates"
    seeds = seeds_text({run.seed for run in results.runs})
    folds = f" of each of {len(results.folds)} folds" if results.folds else ""
    return f"{len(results.arms)} arm{'s' * (len(results.arms) > 1)}, seeds {seeds}{folds}, {cost}"


def _comparisons(results: Results) -> Iterator[Section]:
    pairs = [(control, epoch) for epoch in results.epochs for control in results.controls if results.compared(control)]
    for control, epoch in pairs:
        values = results.values(epoch, failed=True)
        differences = [results.difference(values, arm, control) for arm in results.compared(control)]
        panels = []
        if epoch == results.primary and any(each.seeds for each in differences):
            margin, dot = results.analysis.margin, "seed of a fold" if results.folds else "seed"
            count = f"{_span(len(each.units) for each in differences)}{' folds' * bool(results.folds)}"
            caption = (
                f"Difference to {control} in test {results.noun}, {EPOCHS[epoch]}: a grey dot per {dot}, the mean "
                "(diamond) and its intervals by Student's t, 90 % (thick) and 95 % (thin); grey is the margin, "
                f"{PLUS_MINUS}{points_text(margin)}. n = {count}."
            )
            panels = [Panel(figures.Drawing(figures.forest, (differences, "percentage points", margin)), caption)]
        yield Section(tables=[difference_table(results, control, epoch)], panels=panels)
    if results.imputed:
        yield from (Section(tables=[table]) for pair in pairs if (table := finished_table(results, *pair)).rows)


def _span(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _seeds(numbers: Iterable[int]) -> str:
    text = _span(numbers)
    return f"{text} seed{'s' * (text != '1')}"


def _curves(results: Results) -> Iterator[Section]:
    watched = results.runs[0].watched
    part = "validation" if watched == "val" else "test"
    modalities = [head for head in results.heads if head not in ("all", "fused")]
    wanted = [
        ((results.prediction, (watched, results.metric, "all")), f"{part} {results.noun}, %", 100.0),
        *(((f"head of {m}", (watched, results.metric, m)), f"{m}: {results.noun}, %", 100.0) for m in modalities),
        (("imbalance index", ("imbalance", "index")), "imbalance index", 1.0),
        (("gradient norms, largest / smallest encoder", ("imbalance", "gradient_ratio")), "gradient ratio", 1.0),
        *(
            ((f"Shapley value of {m}, accuracy", ("imbalance", "shapley", "accuracy", m)), f"{m}: points", 100.0)
            for m in modalities
        ),
    ]
    drawn = []
    values = figures.values_of(len(results.arms) * len(wanted))
    for members in figures.groups(list(results.arms), results.controls[0]):
        arms = {arm: results.arms[arm] for arm in members}
        for (name, path), label, scale in wanted:
            found = figures.measured(arms, path)
            if found is not None:
                svg = figures.Drawing(figures.curves, (found, results.controls[0], path, label, scale, values))
                place = "in training" if path[-1] == "gradient_ratio" else f"on the {part} samples"
                seeds = _seeds(len(runs) for runs in arms.values())
                drawn.append(Panel(svg, f"{name[0].upper()}{name[1:]}, {place}. n = {seeds}."))
    if drawn:
        yield Section(
            "While they train",
            "Mean over the seeds at the same number of updates, and a band of one standard deviation to either side. "
            "What was not measured is not drawn.",
            panels=drawn,
        )


def _histograms(results: Results) -> Iterator[Section]:
    drawn, without = [], []
    values = figures.values_of(len(results.arms) * figures.HISTOGRAM_EPOCHS)
    for arm, runs in results.arms.items():
        found = figures.spreads(runs)
        if found is None:
            without.append(arm)
            continue
        shares, count = found
        svg = figures.Drawing(figures.histogram, (arm, shares, values))
        before = ", ".join(str(epoch + 1) for epoch in shares)
        caption = (
            f"{arm}: before epoch{'s' * (len(shares) > 1)} {before}. n = {count:,} scores of {_seeds([len(runs)])}."
        )
        drawn.append(Panel(svg, caption, arm))
    if drawn:
        silent = f" Arms that keep no scores: {', '.join(without)}." if without else ""
        yield Section(
            "Difficulty of the training samples",
            "Share of the samples by difficulty, pooled over seeds, before some of the epochs that were scored."
            f"{silent}",
            panels=drawn,
        )


def _classes(results: Results) -> Section:
    found = classes.by_class(results)
    panels = []
    for members in figures.groups(list(results.arms), results.controls[0]):
        names, means = classes.drawn(found, members)
        if names:
            most = f" The {len(names)} of {len(found.names)} classes in which these arms differ most."
            caption = f"Test accuracy within each class, mean over the seeds.{most * (len(names) < len(found.names))}"
            label = f"test {results.noun} in the class, %"
            svg = figures.Drawing(figures.classes, (members, results.controls[0], names, means, label))
            panels.append(Panel(svg, caption))
    return Section(tables=[classes.class_table(results, found)], panels=panels)


# ---- samples -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Content:
    """What a page shows of a sample's modality.

    Attributes:
        modality: its name.
        text: where it is one.
        address: of its picture, where it is none.
        kind: ``"spectrogram"`` of a sound; empty = a picture as it is stored.
    """

    modality: str
    text: str | None = None
    address: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Card:
    """A sample on the page.

    Attributes:
        label: name of its class.
        name: in the training list.
        numbers: its scores, in words.
        contents: of its modalities that can be shown.
        failure: why none of them can; empty = they can.
    """

    label: str
    name: str
    numbers: str
    contents: Sequence[Content] = ()
    failure: str = ""


@dataclass(frozen=True)
class Samples:
    """The samples on the page.

    Attributes:
        caption: which they are.
        ends: (title, samples) of the two ends.
        hidden: why some modalities are not shown, and which.
    """

    caption: str
    ends: Sequence[tuple[str, Sequence[Card]]]
    hidden: Sequence[str]


def _samples(results: Results, source: Source | None) -> Samples | None:
    found = samples.scored_arm(results.arms)
    if found is None:
        return None
    arm, epoch = found
    runs = results.arms[arm]
    ends = zip(("Most balanced", "Most imbalanced"), samples.extremes(runs), strict=True)
    data, reason = _data(runs[0], source)
    names = tuple(map(str, data.classes if data else runs[0].config.get("classes", ())))
    missing = "" if data else f" {'No pictures' if names else 'No pictures and no class names'}: {reason}."
    as_shown = " Corrupted ones are shown as the first seed has them." if data and data.corrupted else ""
    hidden: dict[str, str] = {}
    cards = [(title, [_card(sample, names, data, hidden) for sample in scored]) for title, scored in ends]
    return Samples(
        f"Training samples by their last score in {arm} (before epoch {epoch + 1}), averaged over the seeds that train "
        "on them. A recording is shown as its spectrogram, in decibels below its loudest; another array as it is "
        f"stored, spread to the screen's range.{as_shown}{missing}",
        cards,
        [
            f"{reason}: {', '.join(sorted(name for name in hidden if hidden[name] == reason))}"
            for reason in dict.fromkeys(hidden.values())
        ],
    )


def _data(run: FinishedRun, source: Source | None) -> "tuple[Splits | None, str]":
    """The data that a run was trained on, or why it cannot be had."""
    if run.task is None:
        return None, "the task of these runs is not known, they were not made by compare"
    if source is None:
        flags = "--data-root DIR" if run.task in tasks.names() else "--data-root DIR --task FILE.py"
        return None, f"a report reads the run folders alone, unless it is told where the data are: {flags}"
    from bss.training.build import as_trained

    try:
        task = source.load(run)
        recipe = _recipe(task.CL, run.config["recipe"])
        data = as_trained(task.build_data(recipe, source.data_root), recipe)
        names = list(data.names)
    except Exception as error:  # the task is a user's code, and may raise anything
        return None, f"the data cannot be read any more ({_reason(error)})"
    same = names == read_scores(run.path)["name"].tolist()
    return (data, "") if same else (None, "the data was changed since")


def _reason(error: Exception) -> str:
    """The first line of an error, with its type where it was not written for a reader."""
    line = first_line(error).removesuffix(".")
    return line if isinstance(error, (BssError, OSError)) else f"{type(error).__name__}: {line}"


def _recipe(base: Recipe, saved: Mapping[str, Any]) -> Recipe:
    """The numbers of a run that its data depends on; nothing is decoded that is not shown.

    Texts that are no choice among names (files of weights, text models, folders) stay those of the task: a run folder
    could name any file with them.
    """
    hints = get_type_hints(type(base))
    known = {member.name for member in fields(base) if str not in (hints[member.name], *get_args(hints[member.name]))}
    known -= {"schedule"}
    numbers = {name: value for name, value in saved.items() if name in known}
    return replace(base, **numbers | ({"cache": None} if "cache" in hints else {}))


def _card(sample: samples.ScoredSample, names: Sequence[str], data: "Splits | None", hidden: dict[str, str]) -> Card:
    label = names[sample.label] if 0 <= sample.label < len(names) else f"class {sample.label}"
    label += "" if data is None else _corrupted(sample.position, data)
    contents, failure = [], ""
    if data is not None:
        try:
            contents = list(_contents(sample, data, hidden))
        except Exception as error:  # a data set is a user's code as well
            failure = _reason(error)
    return Card(
        label,
        sample.name,
        f"difficulty {sample.difficulty:.2f}, similarity {sample.similarity:.2f}, loss {sample.loss:.2f}; "
        f"n = {sample.seeds}",
        contents,
        failure,
    )


def _corrupted(position: int, data: "Splits") -> str:
    """What was changed on purpose of a training sample, in brackets; empty where nothing was."""
    corruption = data.corrupted.get("train")
    if corruption is None:
        return ""
    swap = corruption.pairs.get(position)
    changed = [] if swap is None else [f"{swap.modality} of {data.names[swap.donor]}"]
    changed += ["wrong label"] if position in corruption.labels else []
    return f" (corrupted: {', '.join(changed)})" if changed else ""


def _contents(sample: samples.ScoredSample, data: "Splits", hidden: dict[str, str]) -> Iterator[Content]:
    """What can be shown of a sample's modalities; the names of the others, and why, are added to ``hidden``."""
    from bss.data.batches import preview_of

    for name, value in data.score[sample.position].items():
        if name == "label":
            continue
        preview = preview_of(value)
        if preview is None:
            hidden[name] = "being neither picture, sound nor text"
        elif preview.text is not None:
            yield Content(name, text=samples.words(preview.text))
        elif preview.pixels is not None:
            yield Content(name, address=samples.picture(preview.pixels))
        else:
            assert preview.waveform_T is not None and preview.sample_rate is not None  # one of the three is there
            try:
                address = samples.spectrogram(preview.waveform_T, preview.sample_rate)
            except samples.NotInstalledError as error:
                hidden[name] = f"since {error}"
            else:
                yield Content(name, address=address, kind="spectrogram")
