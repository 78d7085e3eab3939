"""How a trained network behaves when a modality is missing or noisy: raw curves, their area, and the lines below them.

Every curve is accuracy against a level, head by head and corruption seed by corruption seed. Beside it stands what the
modalities that remain are worth by themselves: their own heads of the same network, and networks of the arm
``alone-MODALITY`` where they are given. A fusion that falls below does harm. There is no index over several curves.

A network in eval mode sees every sample by itself, so what it says of a part in which some samples lack a modality is
put together of what it says of the part as it is, and of the part in which all lack it. A share of 0 is then the clean
numbers, and a share of 1 the fill, to the last digit.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from bss.compare import figures, shapes
from bss.compare.document import Panel
from bss.compare.tables import Table
from bss.compare.wording import DASH
from bss.data.degradation import Degraded, Fill, Kind, Missing, Noisy, gone, inputs, kind_of, modalities_of, stand_in
from bss.data.indexed import MapDataset
from bss.data.parts import Part
from bss.scoring.heads import unimodal_heads
from bss.scoring.metrics import hits, left_out
from bss.utils.choices import Prediction
from bss.utils.errors import RecipeError, RunFolderError

if TYPE_CHECKING:
    import pandas as pd

FIRST = "all"
"""The head that stands for a network: its prediction."""


SEEDS = 5
"""Corruption seeds of a curve, from 0 on."""


@dataclass(frozen=True)
class Drops:
    """What is asked for: modalities that go missing, each at the same share and independently of the others.

    Attributes:
        modalities: their names, one or more.
        shares: in [0, 1], ascending.
    """

    modalities: tuple[str, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Noise:
    """What is asked for: a noisy modality.

    Attributes:
        modality: its name.
        levels: as typed, ``("1..5",)`` or ``("20", "5")``; which there are, the modality's kind of input says.
        corruption: one of those that the kind has; None = all of them.
    """

    modality: str
    levels: tuple[str, ...]
    corruption: str | None = None


Accuracies = Mapping[str, Sequence[float]]
"""Head name -> accuracy for every corruption seed; a single one where no seed makes a difference."""


class Point(NamedTuple):
    """One level of a curve.

    Attributes:
        level: share, decibels or severity.
        accuracy: of the heads.
        lacking: samples that lack a modality, for every corruption seed; empty for noise.
        bare: samples that have kept no modality, likewise.
    """

    level: float
    accuracy: Accuracies
    lacking: Sequence[int] = ()
    bare: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy of one network over the levels of one disturbance.

    Attributes:
        label: of the run.
        modalities: that are missing or noisy.
        corruption: the name of the noise; ``"mean"``, ``"zero"`` or ``"drop"`` for what stands for a missing modality.
        unit: ``"share"``, ``"dB"`` or ``"severity"``.
        clean: accuracy of the heads without any disturbance.
        points: from slight to severe.
        lines: what the remaining modalities are worth by themselves, by name; see :func:`lines_of`.
        samples: N.
        untouched: samples that noise leaves as they are: silent sounds.
    """

    label: str
    modalities: tuple[str, ...]
    corruption: str
    unit: str
    clean: Mapping[str, float]
    points: Sequence[Point]
    lines: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    untouched: int = 0

    @property
    def missing(self) -> bool:
        """Whether the modalities are missing, and not noisy."""
        return self.unit == "share"

    @property
    def title(self) -> str:
        """What is disturbed and how."""
        what = " and ".join(self.modalities)
        return f"{what} missing, {self.corruption}" if self.missing else f"{what}, {self.corruption}"

    @property
    def area(self) -> dict[str, float]:
        """Area under the curve of every head, the mean of the corruption seeds'; see :func:`area`."""
        return {name: area(self, name) for name in self.points[0].accuracy}


def area(curve: Curve, head: str) -> float:
    """Area under a curve by the trapezoidal rule, over its width: the mean accuracy along the axis, in [0, 1].

    For missing modalities the axis is the share, from the least to the largest one asked for. For noise it begins with
    the clean accuracy, and each step from one level to the next is as wide as the others.

    Args:
        curve: raw values.
        head: its name.

    Returns:
        NaN where there is a single share.
    """
    heights = [float(np.mean(point.accuracy[head])) for point in curve.points]
    if curve.missing:
        places = [point.level for point in curve.points]
    else:
        heights = [curve.clean[head], *heights]
        places = [float(place) for place in range(len(heights))]
    if len(places) < 2:
        return math.nan
    means = [(one + other) / 2 for one, other in itertools.pairwise(heights)]
    return float(np.dot(means, np.diff(places))) / (places[-1] - places[0])


# ---- one network ---------------------------------------------------------------------------------------------------

Predict = Callable[[Part, str], Mapping[str, Tensor]]
"""What a network says of a part: head name -> logits (N, C). The text says what is going on, for a progress bar."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network whose inputs are disturbed.

    Attributes:
        label: what it is called.
        part: the samples as they are.
        truth_N: their class ids.
        clean: what the network says of them, head name -> logits (N, C).
        prediction: how it predicts, see :func:`bss.scoring.metrics.head_logits`.
        predict: lets it predict another part.
        training: its training samples as a test sees them; asked for only where their mean or spread is needed.
        size: height and width that it resizes pictures to, where that is known.
        workers: processes that load data.
    """

    label: str
    part: Part
    truth_N: np.ndarray
    clean: Mapping[str, Tensor]
    prediction: Prediction | str
    predict: Predict
    training: Callable[[], MapDataset]
    size: int | None = None
    workers: int = 0

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities: those of the samples."""
        return modalities_of(self.part.samples)

    def kind(self, modality: str) -> Kind:
        """What a modality's input is, see :func:`bss.data.degradation.kind_of`."""
        return kind_of(self.part.samples, modality, size=self.size)

    def trained_on(self, modality: str) -> Iterator[object]:
        """Its inputs in the training samples."""
        yield from inputs(self.training(), modality, workers=self.workers)

    def accuracy(self, heads: Mapping[str, Tensor]) -> dict[str, float]:
        """Accuracy of every head."""
        found = hits(heads, torch.from_numpy(self.truth_N))
        return {name: float(hit_N.mean()) for name, hit_N in found.items()}


def check(
    samples: MapDataset, drops: Sequence[Drops], noises: Sequence[Noise], fill: Fill, *, size: int | None = None
) -> None:
    """Refuse what cannot be done with these samples, before anything is predicted.

    Raises:
        RecipeError: a modality that there is not, or noise or a level that its kind of input has not.
    """
    known = modalities_of(samples)
    for modality in [name for each in drops for name in each.modalities] + [noise.modality for noise in noises]:
        if modality not in known:
            raise RecipeError(f"there is no modality {modality}; the samples have {', '.join(known)}")
    for modality in [name for each in drops for name in each.modalities if fill != "drop"]:
        kind_of(samples, modality, size=size)
    for noise in noises:
        kind = kind_of(samples, noise.modality, size=size)
        _corruptions(noise, kind)
        levels_of(noise, kind)


def _corruptions(noise: Noise, kind: Kind) -> list[str]:
    if noise.corruption is None:
        return list(kind.corruptions)
    if noise.corruption not in kind.corruptions:
        known = ", ".join(kind.corruptions)
        raise RecipeError(
            f"--noise {noise.modality}.{noise.corruption}: {noise.modality} are {kind.noun}, whose noise is {known}"
        )
    return [noise.corruption]


def levels_of(noise: Noise, kind: Kind) -> list[float]:
    """The levels that were asked for, from slight to severe: each by its number, ``a..b`` from one to another, or all.

    Raises:
        RecipeError: a level that is not defined for this kind of input (lists those that are).
    """
    levels = list(kind.levels)

    def place(text: str) -> int:
        try:
            return levels.index(float(text))
        except ValueError:
            known = ", ".join(f"{level:g}" for level in levels)
            raise RecipeError(
                f"--noise {noise.modality}: {text or 'nothing'} is no level; for {kind.noun} there are {known} "
                f"({kind.unit}), and all"
            ) from None

    chosen: set[int] = set()
    for text in noise.levels:
        if text == "all":
            chosen |= set(range(len(levels)))
            continue
        first, dots, last = text.partition("..")
        low, high = sorted((place(first), place(last if dots else first)))
        chosen |= set(range(low, high + 1))
    return [levels[number] for number in sorted(chosen)]


def curves(
    subject: Subject, drops: Sequence[Drops], noises: Sequence[Noise], *, fill: Fill, seeds: int = SEEDS
) -> list[Curve]:
    """All curves of one network that were asked for, without the lines below them.

    Under torchrun every process calls this, and gets the same.

    Args:
        subject: the network and the samples.
        drops: modalities that go missing.
        noises: modalities that are noisy.
        fill: what stands for what is missing.
        seeds: number of corruption seeds.

    Raises:
        RecipeError: see :func:`check`; ``fill="drop"`` where a modality has no head of its own.
    """
    check(subject.part.samples, drops, noises, fill, size=subject.size)
    headless = [name for name in subject.modalities if name not in subject.clean]
    if drops and fill == "drop" and headless:
        raise RecipeError(
            f"--fill drop predicts by the modalities' own heads, and the network has none of {', '.join(headless)}: "
            "take --fill mean or --fill zero"
        )
    filled = _Filled(subject, fill)
    found = [_drop_curve(subject, each, filled, seeds) for each in drops]
    for noise in noises:
        kind = subject.kind(noise.modality)
        if kind.needs_spread:
            kind = kind.learned(subject.trained_on(noise.modality))
        untouched = kind.untouched(inputs(subject.part.samples, noise.modality, workers=subject.workers))
        for corruption in _corruptions(noise, kind):
            found.append(replace(_noise_curve(subject, noise, kind, corruption, seeds), untouched=untouched))
    return found


@dataclass
class _Filled:
    """What the network says where all samples lack some modalities; each set of these is predicted once."""

    subject: Subject
    fill: Fill
    instead: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    known: dict[frozenset[str], Mapping[str, Tensor]] = field(default_factory=dict)

    def without(self, modalities: frozenset[str]) -> Mapping[str, Tensor]:
        if not modalities:
            return self.subject.clean
        if modalities not in self.known:
            subject = self.subject
            for name in sorted(modalities - self.instead.keys()):
                self.instead[name] = stand_in(subject.kind(name), self.fill, subject.trained_on(name))
            changes = {name: Missing(name, self.instead[name]) for name in sorted(modalities)}
            part = subject.part.through(Degraded(subject.part.samples, subject.part.names, changes))
            doing = f"{subject.label}, without {' and '.join(sorted(modalities))}"
            self.known[modalities] = subject.predict(part, doing)
        return self.known[modalities]

    def mixed(self, lacks: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Logits of the heads where each sample lacks what it lacks: modality -> (N,) bool."""
        subject = self.subject
        if self.fill == "drop":
            own = {name: logits for name, logits in unimodal_heads(subject.clean).items() if name not in lacks}
            return {FIRST: left_out(subject.clean, lacks, subject.prediction), **own}
        logits = {name: values.clone() for name, values in subject.clean.items()}
        for pattern in itertools.product((False, True), repeat=len(lacks)):
            which_N = np.logical_and.reduce(
                [lack_N == lacked for lack_N, lacked in zip(lacks.values(), pattern, strict=True)]
            )
            if any(pattern) and which_N.any():
                missing = frozenset(name for name, lacked in zip(lacks, pattern, strict=True) if lacked)
                rows = torch.from_numpy(np.flatnonzero(which_N))
                for name, values in self.without(missing).items():
                    logits[name][rows] = values[rows]
        return logits


def _drop_curve(subject: Subject, drops: Drops, filled: _Filled, seeds: int) -> Curve:
    points = []
    for share in drops.shares:
        rows, lacking, bare = [], [], []
        for seed in range(1 if share in (0.0, 1.0) else seeds):
            lacks = {name: gone(subject.part.names, name, share, seed) for name in drops.modalities}
            together = np.stack(list(lacks.values()))
            lacking.append(int(together.any(axis=0).sum()))
            bare.append(int(together.all(axis=0).sum()) if set(lacks) == set(subject.modalities) else 0)
            rows.append(subject.accuracy(filled.mixed(lacks)))
        points.append(Point(share, _joined(rows), lacking, bare))
    return _curve(subject, drops.modalities, filled.fill, "share", points)


def _noise_curve(subject: Subject, noise: Noise, kind: Kind, corruption: str, seeds: int) -> Curve:
    points = []
    for level in levels_of(noise, kind):
        rows = []
        for seed in range(seeds if kind.corruptions[corruption] else 1):
            change = Noisy(noise.modality, kind, corruption, level, seed)
            samples = Degraded(subject.part.samples, subject.part.names, {noise.modality: change})
            doing = f"{subject.label}, {noise.modality} {corruption} {level:g}, seed {seed}"
            rows.append(subject.accuracy(subject.predict(subject.part.through(samples), doing)))
        points.append(Point(level, _joined(rows)))
    return _curve(subject, (noise.modality,), corruption, kind.unit, points)


def _joined(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _curve(subject: Subject, modalities: tuple[str, ...], corruption: str, unit: str, points: Sequence[Point]) -> Curve:
    clean = subject.accuracy(subject.clean)
    lines = {
        f"{name} head": clean[name] for name in subject.modalities if name not in modalities and name in subject.clean
    }
    return Curve(
        label=subject.label,
        modalities=modalities,
        corruption=corruption,
        unit=unit,
        clean=clean,
        points=points,
        lines=lines,
        samples=len(subject.part),
    )


# ---- several -------------------------------------------------------------------------------------------------------


def with_alone(curve: Curve, alone: Mapping[str, Sequence[float]]) -> Curve:
    """The curve with one more line for every remaining modality of which a network by itself was measured.

    Args:
        curve: a network's.
        alone: modality -> accuracies of the networks that were trained on it alone, of one seed or more.
    """
    remaining = {line.removesuffix(" head") for line in curve.lines}
    more = {
        f"{name} alone": float(np.mean(values)) for name, values in alone.items() if name in remaining and len(values)
    }
    return replace(curve, lines={**curve.lines, **more})


def harms(curve: Curve) -> Iterator[str]:
    """Sentences: where the prediction falls below what a remaining modality is worth by itself."""
    for line, height in curve.lines.items():
        below = [point for point in curve.points if np.mean(point.accuracy[FIRST]) < height]
        if not below:
            continue
        worst = min(below, key=lambda point: float(np.mean(point.accuracy[FIRST])))
        where = ", ".join(_level(curve, point) for point in below)
        yield (
            f"{curve.label}, {curve.title}: at {where} the fusion does harm: its prediction is right in "
            f"{100 * float(np.mean(worst.accuracy[FIRST])):.1f} % at worst, {line} in {100 * height:.1f} %."
        )


def notes_of(found: Sequence[Curve]) -> Iterator[str]:
    """What the page says of the curves: where a fusion does harm, and who was left with nothing."""
    for curve in found:
        yield from harms(curve)
        bare = {point.level: point.bare for point in curve.points if any(point.bare)}
        if bare:
            counted = ", ".join(f"{min(counts):,} to {max(counts):,} at {level:g}" for level, counts in bare.items())
            yield f"{curve.label}, {curve.title}: of {curve.samples:,} samples some kept no modality: {counted}."
        if curve.untouched:
            yield (
                f"{curve.label}, {curve.title}: {curve.untouched:,} of {curve.samples:,} samples are silent, and get "
                "no noise."
            )


# ---- shown ---------------------------------------------------------------------------------------------------------


def level_table(found: Sequence[Curve]) -> Table:
    """A row for each level of each curve: accuracy of every head."""
    heads = list(dict.fromkeys(name for curve in found for name in curve.clean))
    rows = []
    for curve in found:
        clean = [f"{100 * curve.clean[name]:.1f}" if name in curve.clean else DASH for name in heads]
        rows.append([curve.label, curve.title, "clean", DASH, *clean])
        for point in curve.points:
            texts = [_spread(point.accuracy[name]) if name in point.accuracy else DASH for name in heads]
            lacking = f"{np.mean(point.lacking):,.0f}" if point.lacking else DASH
            rows.append([curve.label, curve.title, _level(curve, point), lacking, *texts])
    seeds = max(len(values) for curve in found for point in curve.points for values in point.accuracy.values())
    caption = (
        f"Accuracy in percent, n = {found[0].samples:,} samples: mean of up to {seeds} corruption seeds, in brackets "
        "the least and the largest where they differ; lacking: samples without a modality, mean of the seeds."
    )
    columns = ["", "what", "level", "lacking", *heads]
    return Table("Missing and noisy modalities", caption, _frame(columns, rows))


def area_table(found: Sequence[Curve]) -> Table:
    """A row for each curve: the area under it, and the lines of the remaining modalities."""
    heads = list(dict.fromkeys(name for curve in found for name in curve.area))
    rows = []
    for curve in found:
        areas = [curve.area.get(name, math.nan) for name in heads]
        lines = ", ".join(f"{name} {100 * height:.1f}" for name, height in curve.lines.items())
        texts = [DASH if math.isnan(value) else f"{100 * value:.1f}" for value in areas]
        rows.append([curve.label, curve.title, *texts, lines or DASH])
    caption = (
        "Mean accuracy in percent along the axis, by the trapezoidal rule: over the shares asked for, or from clean to "
        f"the most severe level with equal steps. by itself: accuracy of the modalities that remain. "
        f"n = {found[0].samples:,} samples."
    )
    return Table("Area under the curves", caption, _frame(["", "what", *heads, "by itself"], rows))


def _level(curve: Curve, point: Point) -> str:
    return f"{point.level:g} dB" if curve.unit == "dB" else f"{curve.unit} {point.level:g}"


def _spread(values: Sequence[float]) -> str:
    """Mean of the seeds with the least and the largest, in percent."""
    mean = f"{100 * float(np.mean(values)):.1f}"
    return mean if min(values) == max(values) else f"{mean} [{100 * min(values):.1f}, {100 * max(values):.1f}]"


def _frame(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def panels(found: Sequence[Curve]) -> list[Panel]:
    """A figure for each network and each set of modalities."""
    groups: dict[tuple[object, ...], list[Curve]] = {}
    for curve in found:
        levels = tuple(point.level for point in curve.points)
        groups.setdefault((curve.label, curve.modalities, curve.unit, levels), []).append(curve)
    drawn = []
    for group in groups.values():
        label, modalities, missing = group[0].label, group[0].modalities, group[0].missing
        what = " and ".join(modalities)
        caption = (
            f"{label}: accuracy of the prediction where {what} {'are' if len(modalities) > 1 else 'is'} "
            f"{'missing' if missing else 'noisy'}, a dot for each corruption seed, a line through their means; dashed: "
            f"what the remaining modalities are worth by themselves. n = {group[0].samples:,} samples."
        )
        drawn.append(Panel(_figure(group), caption))
    return drawn


def line_of(curve: Curve) -> str:
    """The curve of the prediction in a line."""
    values = [f"{_level(curve, point)}: {_spread(point.accuracy[FIRST])}" for point in curve.points]
    return f"{curve.label}, {curve.title}: accuracy % {100 * curve.clean[FIRST]:.1f} clean, {', '.join(values)}"


def _figure(group: Sequence[Curve]) -> str:
    """Curves of one network with the same levels of the same modalities."""
    first = group[0]
    heights = {curve.corruption: [list(point.accuracy[FIRST]) for point in curve.points] for curve in group}
    places, ticks = [point.level for point in first.points], [f"{point.level:g}" for point in first.points]
    axis = f"share of the samples without {' and '.join(first.modalities)}"
    if not first.missing:
        heights = {name: [[first.clean[FIRST]], *values] for name, values in heights.items()}
        places, ticks = [float(place) for place in range(len(ticks) + 1)], ["clean", *ticks]
        axis = f"noise of {first.modalities[0]}, {first.unit}"
    percent = {name: [[100 * value for value in seeds] for seeds in values] for name, values in heights.items()}
    flat = {name: 100 * height for name, height in first.lines.items()}
    return figures.degradation(percent, flat, places, ticks, axis=axis, name=f"{first.label}/{first.title}")


def as_json(curve: Curve) -> dict[str, object]:
    """All numbers of a curve in plain values."""
    return {
        "label": curve.label,
        "modalities": list(curve.modalities),
        "corruption": curve.corruption,
        "unit": curve.unit,
        "samples": curve.samples,
        "untouched": curve.untouched,
        "clean": dict(curve.clean),
        "points": [
            {
                "level": point.level,
                "accuracy": {name: list(values) for name, values in point.accuracy.items()},
                "lacking": list(point.lacking),
                "kept_none": list(point.bare),
            }
            for point in curve.points
        ],
        "area": {name: None if math.isnan(value) else value for name, value in curve.area.items()},
        "lines": dict(curve.lines),
    }


def from_json(plain: object, where: str) -> Curve:
    """The curve that :func:`as_json` has written.

    Args:
        plain: values out of a file, which may come from anybody.
        where: they stand, for errors.

    Raises:
        RunFolderError: a field is missing or is something else; names it.
    """
    shapes.CURVE(plain, where)
    said = cast(dict[str, Any], plain)
    if not said["points"] or not said["modalities"]:
        raise RunFolderError(f"{where} is a curve without levels or without modalities")
    heads = [name for name in said["clean"] if all(name in point["accuracy"] for point in said["points"])]
    for point in said["points"]:
        for name in heads:
            check = f"{where}: accuracy of {name}"
            shapes.listed(shapes.fraction)(point["accuracy"][name], check)
            if not point["accuracy"][name]:
                raise RunFolderError(f"{check} has no value at the level {point['level']:g}")
    shapes.each(shapes.fraction)({name: said["clean"][name] for name in heads}, f"{where}.clean")
    return Curve(
        label=said["label"],
        modalities=tuple(said["modalities"]),
        corruption=said["corruption"],
        unit=said["unit"],
        clean={name: said["clean"][name] for name in heads},
        points=[
            Point(
                point["level"],
                {name: point["accuracy"][name] for name in heads},
                point.get("lacking", ()),
                point.get("kept_none", ()),
            )
            for point in said["points"]
        ],
        lines=said["lines"],
        samples=said["samples"],
        untouched=said["untouched"],
    )
