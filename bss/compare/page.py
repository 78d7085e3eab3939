"""The report as one HTML file that needs no network: tables, figures and samples, for a screen, a phone and paper."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from html import escape
from pathlib import Path
from typing import Any, get_args, get_type_hints

from bss import tasks
from bss.compare import figures, samples
from bss.compare.comparison import task_file
from bss.compare.runs import FinishedRun
from bss.compare.statistics import paired
from bss.compare.tables import (
    EPOCHS,
    Results,
    Table,
    arm_table,
    choice_tables,
    cost_table,
    difference_table,
    finding,
    finished_table,
    generated_data,
    head_table,
    made_by,
    power_tables,
    reading,
    secondary_tables,
    sizes,
)
from bss.compare.wording import PLUS_MINUS, points_text, seeds_text
from bss.data.batches import preview_of
from bss.data.splits import Splits
from bss.recipes.recipe import Recipe
from bss.training.build import as_trained
from bss.training.run_folder import read_scores
from bss.utils.errors import BssError, RecipeError, first_line, shown

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; background: #fff; color: #1a1a1a;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .3rem; }
p { margin: .4rem 0; } .caption, figcaption { color: #444; font-size: .9rem; }
.finding { border-left: 4px solid #0072B2; padding: .4rem .8rem; background: #f2f7fb; }
.notes { border-left: 4px solid #D55E00; padding: .4rem .8rem; background: #fdf5f0; }
.notes ul { margin: .2rem 0; padding-left: 1.2rem; }
.wide { overflow-x: auto; } .wide:focus { outline: 2px solid #0072B2; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .4rem 0; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; }
th:first-child, td:first-child, .prose th, .prose td { text-align: left; }
.prose td:nth-child(n + 2) { white-space: normal; min-width: 8rem; }
thead th { border-bottom: 2px solid #555; vertical-align: bottom; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1rem; }
figure { margin: 0; break-inside: avoid; } figure svg { width: 100%; max-width: 28rem; height: auto; display: block; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(max(9.5rem, 22%), 1fr)); gap: .8rem; }
.sample { font-size: .8rem; line-height: 1.35; break-inside: avoid; border-top: 1px solid #ddd; padding-top: .3rem; }
.sample img { max-width: 100%; height: 4.5rem; object-fit: contain; object-position: left;
  display: block; margin: .2rem 0; }
.sample .spectrogram { height: auto; width: 100%; max-width: 18rem; }
pre { overflow-x: auto; font-size: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 600px) { th, td { padding: .25rem .35rem; } th, td:first-child { white-space: normal; }
  th:first-child, td:first-child { min-width: 4.5rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } .wide { overflow: visible; }
  table { font-size: 7.5pt; } th, td { padding: 1pt 4pt; } h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
  figure svg { max-height: 22cm; } }
"""


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
        if theirs and task_file(self.task) not in theirs:
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
        if task_file(self.task) != run.task_file:
            raise RecipeError(f"--task {self.task} has other code than the task of {run.path}")
        return tasks.load(self.task)


def page(results: Results, source: Source | None = None) -> str:
    """Write the report as one HTML page.

    Args:
        results: the runs, and how they are compared.
        source: where the samples are; None reads nothing outside the run folders, and shows no samples.
    """
    first = results.runs[0]
    title = first.task_title or "Runs"
    primary = f"test {results.noun} of {results.prediction}, {' and '.join(EPOCHS[epoch] for epoch in results.epochs)}"
    parts = [
        *_generated(results),
        f"<h1>{escape(title)}: {len(results.arms)} ways to train, compared</h1>",
        f"<p>{len(results.runs)} runs: {_counts(results)}. Primary: {escape(primary)}; control: "
        f"{escape(results.controls[0])}. {sizes(results)}</p>",
        f'<div class="finding">{"".join(f"<p>{escape(line)}</p>" for line in finding(results).splitlines())}</div>',
        *_notes(results),
        _table(arm_table(results), prose=True),
        *(f'<p class="caption">{escape(said)}</p>' for said in (reading(results),) if said),
        *_comparisons(results),
        *map(_table, power_tables(results)),
        *map(_table, choice_tables(results)),
        _table(head_table(results)),
        *map(_table, secondary_tables(results)),
        *_curves(results),
        *_histograms(results),
        *_samples(results, source),
        _table(cost_table(results)),
        *_provenance(results),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}: arms compared</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _generated(results: Results) -> Iterator[str]:
    if said := generated_data(results):
        yield f'<p class="notes"><strong>{escape(said)}</strong></p>'


def _counts(results: Results) -> str:
    updates = sorted({run.updates for run in results.runs})
    cost = f"{updates[0]:,} updates each" if len(updates) == 1 else f"{updates[0]:,} to {updates[-1]:,} updates"
    seeds = seeds_text({run.seed for run in results.runs})
    return f"{len(results.arms)} arm{'s' * (len(results.arms) > 1)}, seeds {seeds}, {cost}"


def _notes(results: Results) -> Iterator[str]:
    entries = [escape(note) for note in results.notes]
    entries += [f"Left out: {escape(str(path))}: {escape(reason)}." for path, reason in results.left_out]
    if entries:
        yield f'<div class="notes"><strong>To know</strong><ul>{"".join(f"<li>{e}</li>" for e in entries)}</ul></div>'


def _comparisons(results: Results) -> Iterator[str]:
    pairs = [(control, epoch) for epoch in results.epochs for control in results.controls if results.compared(control)]
    for control, epoch in pairs:
        yield _table(difference_table(results, control, epoch))
        values = results.values(epoch, failed=True)
        differences = [paired(values, arm, control) for arm in results.compared(control)]
        if epoch == results.primary and any(each.seeds for each in differences):
            margin = results.analysis.margin
            caption = (
                f"Difference to {control} in test {results.noun}, {EPOCHS[epoch]}: a grey dot per seed, the mean "
                "(diamond) and its intervals by Student's t, 90 % (thick) and 95 % (thin); grey is the margin, "
                f"{PLUS_MINUS}{points_text(margin)}. n = {_span(len(each.seeds) for each in differences)}."
            )
            yield _panels([_panel(figures.forest(differences, "percentage points", margin), caption)])
    if results.imputed:
        yield from (_table(table) for pair in pairs if (table := finished_table(results, *pair)).rows)


def _span(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _seeds(numbers: Iterable[int]) -> str:
    text = _span(numbers)
    return f"{text} seed{'s' * (text != '1')}"


def _curves(results: Results) -> Iterator[str]:
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
    for members in figures.groups(list(results.arms), results.controls[0]):
        arms = {arm: results.arms[arm] for arm in members}
        for (name, path), label, scale in wanted:
            svg = figures.curves(arms, results.controls[0], path, label, scale=scale)
            if svg is not None:
                place = "in training" if path[-1] == "gradient_ratio" else f"on the {part} samples"
                seeds = _seeds(len(runs) for runs in arms.values())
                drawn.append(_panel(svg, f"{name[0].upper()}{name[1:]}, {place}. n = {seeds}."))
    if drawn:
        yield "<h2>While they train</h2>"
        yield (
            '<p class="caption">Mean over the seeds at the same number of updates, and a band of one standard '
            "deviation to either side. What was not measured is not drawn.</p>"
        )
        yield _panels(drawn)


def _histograms(results: Results) -> Iterator[str]:
    drawn, without = [], []
    for arm, runs in results.arms.items():
        found = figures.histogram(arm, runs)
        if found is None:
            without.append(arm)
            continue
        svg, count, epochs = found
        before = ", ".join(str(epoch + 1) for epoch in epochs)
        caption = (
            f"{arm}: before epoch{'s' * (len(epochs) > 1)} {before}. n = {count:,} scores of {_seeds([len(runs)])}."
        )
        drawn.append(_panel(svg, caption))
    if drawn:
        yield "<h2>Difficulty of the training samples</h2>"
        silent = f" Arms that keep no scores: {', '.join(without)}." if without else ""
        yield (
            '<p class="caption">Share of the samples by difficulty, pooled over seeds, before some of the epochs that '
            f"were scored.{escape(silent)}</p>"
        )
        yield _panels(drawn)


# ---- samples -------------------------------------------------------------------------------------------------------


def _samples(results: Results, source: Source | None) -> Iterator[str]:
    found = samples.scored_arm(results.arms)
    if found is None:
        return
    arm, epoch = found
    runs = results.arms[arm]
    ends = samples.extremes(runs)
    data, reason = _data(runs[0], source)
    classes = tuple(map(str, data.classes if data else runs[0].config.get("classes", ())))
    yield "<h2>Most balanced and most imbalanced samples</h2>"
    missing = "" if data else f" {'No pictures' if classes else 'No pictures and no class names'}: {reason}."
    as_shown = " Corrupted ones are shown as the first seed has them." if data and data.corrupted else ""
    yield (
        f'<p class="caption">Training samples by their last score in {escape(arm)} (before epoch {epoch + 1}), '
        f"averaged over the seeds that train on them. A recording is shown as its spectrogram, in decibels "
        f"below its loudest; another array as it is stored, spread to the screen's range.{as_shown}{escape(missing)}"
        "</p>"
    )
    hidden: dict[str, str] = {}
    for title, scored in zip(("Most balanced", "Most imbalanced"), ends, strict=True):
        cells = "".join(_sample(sample, classes, data, hidden) for sample in scored)
        yield f'<h3>{title}</h3><div class="samples">{cells}</div>'
    for reason in dict.fromkeys(hidden.values()):
        names = ", ".join(sorted(name for name in hidden if hidden[name] == reason))
        yield f'<p class="caption">Not shown, {escape(f"{reason}: {names}")}.</p>'


def _data(run: FinishedRun, source: Source | None) -> tuple[Splits | None, str]:
    """The data that a run was trained on, or why it cannot be had."""
    if run.task is None:
        return None, "the task of these runs is not known, they were not made by compare"
    if source is None:
        flags = "--data-root DIR" if run.task in tasks.names() else "--data-root DIR --task FILE.py"
        return None, f"a report reads the run folders alone, unless it is told where the data are: {flags}"
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


def _sample(sample: samples.ScoredSample, classes: Sequence[str], data: Splits | None, hidden: dict[str, str]) -> str:
    label = classes[sample.label] if 0 <= sample.label < len(classes) else f"class {sample.label}"
    label += "" if data is None else _corrupted(sample.position, data)
    contents = ""
    if data is not None:
        try:
            contents = _contents(sample, data, hidden)
        except Exception as error:  # a data set is a user's code as well
            contents = f"<em>Cannot be shown: {escape(_reason(error))}</em><br>"
    numbers = f"difficulty {sample.difficulty:.2f}, similarity {sample.similarity:.2f}, loss {sample.loss:.2f}"
    return (
        f'<div class="sample"><strong>{escape(label)}</strong><br>{escape(sample.name)}<br>{contents}'
        f"{numbers}; n = {sample.seeds}</div>"
    )


def _corrupted(position: int, data: Splits) -> str:
    """What was changed on purpose of a training sample, in brackets; empty where nothing was."""
    corruption = data.corrupted.get("train")
    if corruption is None:
        return ""
    swap = corruption.pairs.get(position)
    changed = [] if swap is None else [f"{swap.modality} of {data.names[swap.donor]}"]
    changed += ["wrong label"] if position in corruption.labels else []
    return f" (corrupted: {', '.join(changed)})" if changed else ""


def _contents(sample: samples.ScoredSample, data: Splits, hidden: dict[str, str]) -> str:
    """What can be shown of a sample's modalities; the names of the others, and why, are added to ``hidden``."""
    shown = []
    for name, value in data.score[sample.position].items():
        if name == "label":
            continue
        preview = preview_of(value)
        alt = f'alt="{escape(name)} of {escape(sample.name)}"'
        if preview is None:
            hidden[name] = "being neither picture, sound nor text"
        elif preview.text is not None:
            shown.append(f"<q>{escape(samples.words(preview.text))}</q><br>")
        elif preview.pixels is not None:
            shown.append(f'<img src="{samples.picture(preview.pixels)}" {alt}>')
        else:
            assert preview.waveform_T is not None and preview.sample_rate is not None  # one of the three is there
            try:
                address = samples.spectrogram(preview.waveform_T, preview.sample_rate)
            except samples.NotInstalledError as error:
                hidden[name] = f"since {error}"
            else:
                shown.append(f'<img class="spectrogram" src="{address}" {alt}>')
    return "".join(shown)


# ---- small things --------------------------------------------------------------------------------------------------


def _provenance(results: Results) -> Iterator[str]:
    yield "<h2>How this was made</h2>"
    for name in ("command", "commit", "device", "machine", "versions"):
        kinds = made_by(results.runs, name)
        for text, who in kinds.items():
            which = f" ({escape(who)})" if len(kinds) > 1 else ""
            yield f"<p><strong>{name}</strong>{which}</p><pre>{escape(text)}</pre>"
    stopped = [f"{run.arm} seed {run.seed}: {part.where}" for run in results.runs for part in run.parts[1:]]
    if stopped:
        yield f"<p><strong>stopped, and went on</strong></p><pre>{escape(chr(10).join(stopped))}</pre>"
    recipe = results.arms[results.controls[0]][0].recipe
    text = "\n".join(f"{name} = {value}" for name, value in recipe.items())
    yield (
        f"<details><summary>The whole recipe of {escape(results.controls[0])}, seed {recipe['seed']}</summary>"
        f"<pre>{escape(text)}</pre></details>"
    )


def _table(table: Table, *, prose: bool = False) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in table.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in table.rows)
    kind = ' class="prose"' if prose else ""
    return (
        f'<h2>{escape(table.title)}</h2><p class="caption">{escape(table.caption)}</p><div class="wide" tabindex="0">'
        f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _panel(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _panels(panels: Sequence[str]) -> str:
    return f'<div class="panels">{"".join(panels)}</div>'
