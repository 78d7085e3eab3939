"""Arms: the named ways to train that a comparison sets side by side, all made from one task's curriculum recipe.

An arm changes the order (sampler and schedule), or the training step (method), and leaves every other number alone. Two
arms, one of each kind, are joined by a plus: ``spl+ogm-ge`` has the order of the first and the step of the second.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from bss.recipes.constants import PREFIX, Constant, Constants
from bss.recipes.fields import flatten, named_field, override
from bss.recipes.presets import PAPER_SCHEDULE as PAPER
from bss.recipes.recipe import (
    KINDS,
    WITHOUT_SCORES,
    CurriculumSchedule,
    MethodName,
    Recipe,
    Schedule,
    SelfPacedSchedule,
)
from bss.utils.errors import RecipeError, guess, shown

OF_THE_CURRICULUM = {"pacing", "start", "grow_epochs", "power", "rescore"}
"""Fields of a schedule that say how a curriculum grows and when it is scored: other kinds have their own, by nature."""


OF_DRAWS = {
    f"schedule.{each.name}": each.default
    for each in fields(SelfPacedSchedule)
    if each.name not in {shared.name for shared in fields(Schedule)}
}
"""Dotted name -> default of the fields that weighted draws (SPL, resampling) alone have: the base has them not."""


@dataclass(frozen=True)
class Arm:
    """One way to train, in plain values.

    Attributes:
        name: how a command line says it.
        title: one line for tables.
        sampler: makes the order, see :attr:`bss.recipes.Schedule.sampler`.
        schedule: fields of the schedule that make this arm what it is.
        warmup: share of the curriculum's growth that comes before it in uniform order, at least one epoch; 0 = none.
        method: changes the training step, see :attr:`bss.recipes.Recipe.method`; None = joint training.
        constants: of the method, see :attr:`bss.recipes.Recipe.method_options`, that make this arm what it is.
        numbers: other fields of the recipe that make this arm what it is.
        by_order: whether the arm is about the order, and so joins one that is about the step.
    """

    name: str
    title: str
    sampler: str
    schedule: Mapping[str, Any] = field(default_factory=dict)
    warmup: float = 0.0
    method: MethodName | None = None
    constants: Mapping[str, Constant] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    by_order: bool = True

    def recipe(self, base: Recipe) -> Recipe:
        """The task's curriculum recipe as this arm trains it.

        Every field of the base's schedule reaches every arm, but for those that make the arm what it is, and those of
        :data:`OF_THE_CURRICULUM`, which reach arms with a growing schedule alone. A constant of a method reaches the
        arms whose method has it.

        Raises:
            RecipeError: numbers that do not go together.
        """
        own, kind = dict(self.schedule), KINDS[self.sampler]
        if kind is CurriculumSchedule:
            kind = type(base.schedule)  # a task may have a kind of its own
        if self.warmup:
            own["warmup_epochs"] = max(1, int(base.schedule.grow_epochs * self.warmup))
        there = type(base.schedule)
        reaching = {each.name for each in fields(there) if self.is_reached_by(f"schedule.{each.name}", kind=there)}
        kept = {name: getattr(base.schedule, name) for name in reaching}
        schedule = kind(**kept | own | {"sampler": self.sampler})
        method = self.method or base.method
        given = {name: value for name, value in base.method_options.items() if self._takes(name, method)}
        options = Constants({**given, **self.constants})
        made = replace(base, schedule=schedule, method=method, method_options=options, **self.numbers)
        goes_by_heads = schedule.criterion == "both" and schedule.similarity == "prediction"
        if made.unimodal_weight == 0 and schedule.uses_scores and "unimodal_weight" in self.numbers and goes_by_heads:
            # The fused head is all there is to judge by.
            made = replace(made, schedule=replace(schedule, criterion="loss"))
        if made.uses_scores:
            made.check_heads()
        return made

    def _takes(self, constant: str, method: str | None) -> bool:
        """Whether a constant of the base is one that the method has and the arm does not set itself."""
        if method is None or constant in self.constants:
            return False
        from bss.methods import BY_NAME  # as in constants_known
        from bss.methods.constants import constants_of, named

        return named(constant, constants_of(BY_NAME[method])) is not None

    def is_reached_by(self, path: str, *, method: str | None = None, kind: type[Schedule] = CurriculumSchedule) -> bool:
        """Whether a field of the base, or of :data:`OF_DRAWS`, has a say in this arm's recipe.

        Args:
            path: the dotted name of the field.
            method: of the base; an arm that is not about a method has that one.
            kind: of the base's schedule, which the arms with a growing schedule have.
        """
        if path.startswith(PREFIX):
            return self._takes(path.removeprefix(PREFIX), self.method or method)
        group, _, name = path.rpartition(".")
        if group != "schedule":
            return name not in self.numbers and (name != "method" or self.method is None)
        if name == "sampler" or name in self.schedule or (name == "warmup_epochs" and self.warmup):
            return False
        own = KINDS[self.sampler]
        if own is CurriculumSchedule:
            return name in {each.name for each in fields(kind)}
        return name in {each.name for each in fields(own)} - OF_THE_CURRICULUM


def _uniform(name: str, title: str, *, schedule: Mapping[str, Any] | None = None, **changes: Any) -> Arm:
    """An arm in uniform order that is about the training step."""
    return Arm(name, title, "uniform", {"start": 1.0, **(schedule or {})}, by_order=False, **changes)


def constants_known(method: str | None) -> tuple[str, ...]:
    """The constants of a method, as a recipe names them; none of no method."""
    if method is None:
        return ()
    from bss.methods import BY_NAME  # they need PyTorch, which takes seconds, and the list of arms does not
    from bss.methods.constants import constants_of, names_of

    return names_of(constants_of(BY_NAME[method]))


ARMS = (
    # Controls.
    Arm("uniform", "uniform order", "uniform", {"start": 1.0}),
    Arm(
        "uniform-class-balanced",
        "uniform order, class mix kept in every batch",
        "uniform",
        {"start": 1.0, "class_balanced": True},
    ),
    Arm("random-pacing", "random pacing: CL's sizes, random members", "random_pacing"),
    Arm("random-pacing-warmup", "random pacing after a uniform warm-up", "random_pacing", warmup=1 / 8),
    Arm("random-pacing-class-matched", "random pacing with the class mix of CL's subsets", "class_matched"),
    Arm("anti", "anti-curriculum: imbalanced first", "curriculum", {"order": "imbalanced_first"}),
    # The method.
    Arm("cl", "CL", "curriculum"),
    Arm("spl", "SPL", "self_paced"),
    # CL otherwise.
    Arm("cl-rank", "CL, rank normalisation", "curriculum", {"normalize": "rank"}),
    Arm("cl-rescored", "CL, re-scored before every epoch", "curriculum", {"rescore": "pass"}),
    Arm("cl-warmup", "CL, scored after a uniform warm-up", "curriculum", warmup=1 / 8),
    Arm(
        "cl-warmup-rescored",
        "CL, warm-up, then re-scored before every epoch",
        "curriculum",
        {"rescore": "pass"},
        warmup=1 / 8,
    ),
    Arm("cl-class-balanced", "CL, class mix kept in every subset and batch", "curriculum", {"class_balanced": True}),
    # Other criteria: the seven of the paper's appendix beside CL's own (prediction similarity and loss).
    Arm("cl-loss", "CL by loss alone", "curriculum", {"criterion": "loss"}),
    Arm("cl-similarity", "CL by prediction similarity alone", "curriculum", {"criterion": "similarity"}),
    Arm(
        "feature-similarity",
        "CL by feature similarity alone",
        "curriculum",
        {"criterion": "similarity", "similarity": "feature"},
    ),
    Arm(
        "gradient-magnitude",
        "CL by gradient magnitude alone",
        "curriculum",
        {"criterion": "loss", "information": "gradient"},
    ),
    Arm(
        "feature-gradient",
        "CL by feature similarity and gradient magnitude",
        "curriculum",
        {"similarity": "feature", "information": "gradient"},
    ),
    Arm("feature-loss", "CL by feature similarity and loss", "curriculum", {"similarity": "feature"}),
    Arm(
        "prediction-gradient",
        "CL by prediction similarity and gradient magnitude",
        "curriculum",
        {"information": "gradient"},
    ),
    # SPL otherwise.
    Arm("spl-imbalanced-first", "SPL, imbalanced first", "self_paced", {"order": "imbalanced_first"}),
    Arm("spl-rank", "SPL, rank normalisation", "self_paced", {"normalize": "rank"}),
    Arm(
        "spl-sharp",
        "SPL, rank normalisation, temperature 0.25",
        "self_paced",
        {"normalize": "rank", "temperature": 0.25},
    ),
    Arm("spl-history", "SPL, mean of all scores so far", "self_paced", {"history": None}),
    Arm("spl-online", "SPL, scores from the training forward", "self_paced", {"rescore": "online"}),
    Arm("spl-class-balanced", "SPL, class mix kept in every batch", "self_paced", {"class_balanced": True}),
    # Whether it is the skewed classes that make a sharp order cost accuracy.
    Arm(
        "spl-sharp-class-balanced",
        "spl-sharp, class mix kept in every batch",
        "self_paced",
        {"normalize": "rank", "temperature": 0.25, "class_balanced": True},
    ),
    Arm(
        "spl-imbalanced-first-class-balanced",
        "SPL, imbalanced first, class mix kept in every batch",
        "self_paced",
        {"order": "imbalanced_first", "class_balanced": True},
    ),
    # The same scores used in another way than as an order within the epoch.
    Arm("resampling", "draws with replacement by SPL's weights", "resampling"),
    Arm("uniform-replacement", "uniform draws with replacement", "uniform_resampling", {"start": 1.0}),
    # The paper's learning-based sampler. Whether it draws with replacement its authors' slides do not say, so both
    # readings are arms; and the controls of a draw with replacement, each of the same weights.
    Arm("spl-paper", "the paper's SPL, drawn without replacement", "self_paced", PAPER),
    Arm("spl-paper-replacement", "the paper's SPL, drawn with replacement", "resampling", PAPER),
    Arm(
        "spl-paper-replacement-reversed",
        "the paper's SPL with replacement, imbalanced first",
        "resampling",
        {**PAPER, "order": "imbalanced_first"},
    ),
    Arm(
        "spl-paper-replacement-class-balanced",
        "the paper's SPL with replacement, class mix kept",
        "resampling",
        {**PAPER, "class_balanced": True},
    ),
    Arm(
        "spl-paper-replacement-loss",
        "the paper's SPL with replacement, by loss alone",
        "resampling",
        {**PAPER, "criterion": "loss"},
    ),
    Arm(
        "spl-paper-replacement-similarity",
        "the paper's SPL with replacement, by similarity alone",
        "resampling",
        {**PAPER, "criterion": "similarity"},
    ),
    Arm("mix", "every batch one blend of balanced and imbalanced", "mix", {"rescore": "pass"}),
    _uniform(
        "loss-weights",
        "uniform order, losses weighted by SPL's weights",
        schedule={"rescore": "pass"},
        method="loss-weights",
    ),
    _uniform(
        "loss-weights-paper",
        "uniform order, losses weighted by the paper's weights",
        schedule={name: value for name, value in PAPER.items() if name != "weighting"},
        method="loss-weights",
        constants={"weighting": PAPER["weighting"]},
    ),
    # What is left of the loss and the prediction without an order.
    _uniform(
        "ensemble",
        "ensemble: the modalities' own losses, their logits summed",
        numbers={"fused_weight": 0.0, "unimodal_weight": 1.0, "prediction": "unimodal"},
    ),
    # Other methods, in uniform order.
    _uniform(
        "joint",
        "the fused head's loss alone",
        numbers={"fused_weight": 1.0, "unimodal_weight": 0.0, "prediction": "fused"},
    ),
    _uniform("ogm-ge", "OGM-GE", method="ogm-ge"),
    _uniform("agm", "AGM", method="agm"),
    _uniform("mmpareto", "MMPareto", method="mmpareto"),
    _uniform("mslr", "MSLR, dynamic", method="mslr"),
    _uniform(
        "mla",
        "MLA: modalities by turns, through one head",
        method="mla",
        numbers={"fused_weight": 0.0, "unimodal_weight": 1.0, "prediction": "entropy"},
    ),
    _uniform(
        "reconboost",
        "ReconBoost: modalities by stages, as in boosting",
        method="reconboost",
        numbers={"fused_weight": 0.0, "unimodal_weight": 1.0, "prediction": "unimodal"},
    ),
    _uniform("modality-dropout", "modality dropout", method="modality-dropout"),
    _uniform("smv", "SMV, sample-level", method="smv"),
    _uniform("data-remixing", "Data Remixing", method="data-remixing"),
)
"""Every arm of the library; the contract tests run over this tuple."""


def settable(base: Recipe) -> dict[str, object]:
    """Dotted name -> value of every field that can be set for arms: those of their base, and of :data:`OF_DRAWS`."""
    return OF_DRAWS | flatten(base)


def draws_own(base: Recipe) -> frozenset[str]:
    """Those of :data:`OF_DRAWS` that the base has not itself, by dotted names."""
    return frozenset(OF_DRAWS.keys() - flatten(base).keys())


def of_base(base: Recipe, assignments: Iterable[str]) -> list[str]:
    """Those ``field=value`` that the base takes; the others are of :data:`OF_DRAWS`, see :func:`adapted`.

    Raises:
        RecipeError: there is no such field.
    """
    return [each for each in assignments if not _is_of_draws(each, base)]


def _is_of_draws(assignment: str, base: Recipe) -> bool:
    path, _ = named_field(assignment, settable(base))
    return path in draws_own(base)


def adapted(arm: Arm, base: Recipe, assignments: Iterable[str]) -> Recipe:
    """An arm's recipe, with those ``field=value`` of :data:`OF_DRAWS` that reach it.

    Args:
        arm: adapts the base.
        base: has the others of the assignments, see :func:`of_base`.
        assignments: all that is set.

    Raises:
        RecipeError: numbers that do not go together, a value that a field does not admit, no such field.
    """
    own = [each for each in assignments if _is_of_draws(each, base) and is_reached(arm, each, base)]
    return override(arm.recipe(base), own)


def bearing(base: Recipe, path: str) -> Recipe:
    """The base, or for a field of :data:`OF_DRAWS` that it has not, the base with a schedule that has it."""
    return replace(base, schedule=SelfPacedSchedule()) if path in draws_own(base) else base


def is_reached(arm: Arm, assignment: str, base: Recipe) -> bool:
    """Whether an arm takes over a ``field=value`` that is set for all arms of a base.

    Raises:
        RecipeError: there is no such field.
    """
    path, _ = named_field(assignment, settable(base))
    return arm.is_reached_by(path, method=base.method, kind=type(base.schedule))


def partly_reaching(
    arms: Sequence[Arm], assignments: Iterable[str], base: Recipe, *, source: str = "--set "
) -> list[str]:
    """A line for every ``field=value`` that some of the arms do not take over, with which do and which do not.

    Args:
        arms: their numbers are made from the base.
        assignments: what is set for all of them.
        base: the recipe that they adapt.
        source: where they are from, for the error.

    Raises:
        RecipeError: none of the arms takes it over.
    """
    lines = []
    for assignment in assignments:
        path, text = named_field(assignment, settable(base))
        reached = [arm.name for arm in arms if is_reached(arm, assignment, base)]
        others = [arm.name for arm in arms if arm.name not in reached]
        if not reached and path.startswith(PREFIX):
            raise RecipeError(
                f"{source}{path}={text} does not reach {', '.join(others)}{_constants_of(arms, path, base)}"
            )
        if not reached:
            raise RecipeError(
                f"{source}{path}={text} does not reach {', '.join(others)}: the field is one that an arm sets itself, "
                f"or that its order does not have. Leave it out{_of_a_method(arms, path, base)}"
            )
        if others:
            lines.append(f"{path}={text} reaches {', '.join(reached)}; not {', '.join(others)}")
    return lines


def _methods(arms: Sequence[Arm], base: Recipe) -> list[str]:
    """The methods of arms, each once; an arm that is not about a method has the base's."""
    return list(dict.fromkeys(name for arm in arms if (name := arm.method or base.method) is not None))


def _of_a_method(arms: Sequence[Arm], path: str, base: Recipe) -> str:
    """The end of a sentence on a field of weighted draws, where a method of these arms has a constant of its name."""
    name = path.rpartition(".")[2]
    having = [method for method in _methods(arms, base) if path in OF_DRAWS and name in constants_known(method)]
    return f", or set {PREFIX}{name}, which is {having[0]}'s" if having else ""


def _constants_of(arms: Sequence[Arm], path: str, base: Recipe) -> str:
    """Which constants the methods of these arms have, and which of them a mistyped name is most like."""
    methods = _methods(arms, base)
    if not methods:
        return ": none of them has a method, whose constant it could be"
    names = {name: constants_known(name) for name in methods}
    hint = guess(path.removeprefix(PREFIX), [each for own in names.values() for each in own])
    listed = "; ".join(f"{name} has {', '.join(own) or 'none'}" for name, own in names.items())
    return f"{hint}: of the methods' constants {listed}, as far as the arm does not set them itself"


def find(names: Iterable[str]) -> list[Arm]:
    """The arms of these names, in their order; ``"a+b"`` joins the order of one with the step of the other.

    Raises:
        RecipeError: a name that is not known (lists the known ones) or given twice, or two arms that do not join.
    """
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecipeError(f"the arm {shown(twice[0])} is given twice")
    for name in names:
        if "+" in name and not all(name.split("+")):
            raise RecipeError(f"the arm {shown(name)} lacks a part: one arm's order + another's step, as in spl+ogm-ge")
    return [_joined(name, [_named(part) for part in name.split("+")]) for name in names]


ALONE = "alone-"
"""What the name of an arm begins with that trains one modality by itself: ``alone-audio``."""


def _named(name: str) -> Arm:
    for arm in ARMS:
        if arm.name == name:
            return arm
    modality = name.removeprefix(ALONE)
    if modality and modality != name:
        return _uniform(name, f"{modality} by itself: its encoder and head alone", numbers={"modality": modality})
    names = [*(arm.name for arm in ARMS), f"{ALONE}MODALITY"]
    raise RecipeError(f"unknown arm {shown(name)}{guess(name, names)}; the arms are:\n  {', '.join(names)}")


def _joined(name: str, parts: list[Arm]) -> Arm:
    if len(parts) == 1:
        return parts[0]
    orders, steps = [arm for arm in parts if arm.by_order], [arm for arm in parts if not arm.by_order]
    if len(orders) != 1 or len(steps) != 1:
        known = ", ".join(arm.name for arm in ARMS if not arm.by_order)
        raise RecipeError(
            f"the arm {shown(name)} does not join: an arm that changes the order goes with one that changes the step "
            f"({known})"
        )
    order, step = orders[0], steps[0]
    if "modality" in step.numbers and order.sampler not in WITHOUT_SCORES:
        raise RecipeError(
            f"the arm {shown(name)} does not join: {step.name} trains one head, and {order.name} goes by the scores of "
            "all modalities; orders without scores join, as uniform and random-pacing"
        )
    return replace(
        order,
        name=name,
        title=f"{order.title}; {step.title}",
        method=step.method,
        constants=step.constants,
        numbers={**order.numbers, **step.numbers},
        by_order=False,
    )
