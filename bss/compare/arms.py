"""Arms: the named ways to train that a comparison sets side by side, all made from one task's curriculum recipe.

An arm changes the order (sampler and schedule), or the training step (method), and leaves every other number alone. Two
arms, one of each kind, are joined by a plus: ``spl+ogm-ge`` has the order of the first and the step of the second.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from bss.methods import OGMGE, DataRemixing, LossWeights, Method, MMPareto, ModalityDropout, SampleValuation
from bss.recipes.recipe import ClassMatchedSchedule, Recipe, Schedule, SelfPacedSchedule
from bss.samplers import (
    ClassMatchedSampler,
    CurriculumSampler,
    MixSampler,
    OrderSampler,
    RandomPacingSampler,
    ResamplingSampler,
    SelfPacedSampler,
    UniformSampler,
)
from bss.training.build import check_heads
from bss.utils.errors import RecipeError, guess, shown

Adapt = Callable[[Recipe], Recipe]


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: how a command line says it.
        title: one line for tables.
        sampler: makes the order.
        adapt: turns the task's curriculum recipe into this arm's.
        method: makes what changes the training step, from the adapted recipe; None = joint training.
        by_order: whether the arm is about the order, and so joins one that is about the step.
    """

    name: str
    title: str
    sampler: type[OrderSampler]
    adapt: Adapt
    method: Callable[[Recipe], Method] | None = None
    by_order: bool = True


def _curriculum(**numbers: Any) -> Adapt:
    """The task's own curriculum, with these numbers changed."""
    return lambda recipe: replace(recipe, schedule=replace(recipe.schedule, **numbers))


def _self_paced(**numbers: Any) -> Adapt:
    """SPL with the method's numbers but for these."""
    return _with(SelfPacedSchedule, **numbers)


def _with(kind: type[Schedule], **numbers: Any) -> Adapt:
    """A schedule of this kind that scores in the way of the task's curriculum."""
    ways = ("mode", "calibration_batches", "view", "space")

    def adapt(recipe: Recipe) -> Recipe:
        kept = {name: getattr(recipe.schedule, name) for name in ways}
        return replace(recipe, schedule=kind(**kept | numbers))

    return adapt


def _warmed_up(**numbers: Any) -> Adapt:
    """The task's curriculum after an eighth of its growth in uniform order: 5 epochs of the method's 40."""

    def adapt(recipe: Recipe) -> Recipe:
        return _curriculum(warmup_epochs=max(1, recipe.schedule.grow_epochs // 8), **numbers)(recipe)

    return adapt


def _class_matched(recipe: Recipe) -> Recipe:
    """The task's own curriculum for the sampler that follows its classes."""
    numbers = {field.name: getattr(recipe.schedule, field.name) for field in fields(recipe.schedule)}
    return replace(recipe, schedule=ClassMatchedSchedule(**numbers))


def _fused_loss_alone(recipe: Recipe) -> Recipe:
    schedule = _UNIFORM(recipe).schedule
    return replace(recipe, fused_weight=1.0, unimodal_weight=0.0, prediction="fused", schedule=schedule)


def _loss_weights(recipe: Recipe) -> LossWeights:
    return LossWeights(normalize=recipe.schedule.normalize, criterion=recipe.schedule.criterion)


def _smv(recipe: Recipe) -> SampleValuation:
    return SampleValuation(warmup_epochs=_shortened(5, recipe), seed=recipe.seed)


def _data_remixing(recipe: Recipe) -> DataRemixing:
    return DataRemixing(batch_size=recipe.batch_size, warmup_epochs=_shortened(10, recipe), seed=recipe.seed)


def _shortened(released: int, recipe: Recipe) -> int:
    """A method's released warm-up, at most a quarter of the run."""
    return min(released, recipe.epochs // 4)


_UNIFORM = _with(Schedule, start=1.0)


ARMS = (
    # Controls.
    Arm("uniform", "uniform order", UniformSampler, _UNIFORM),
    Arm(
        "uniform-class-balanced",
        "uniform order, class mix kept in every batch",
        UniformSampler,
        _with(Schedule, start=1.0, class_balanced=True),
    ),
    Arm("random-pacing", "random pacing: CL's sizes, random members", RandomPacingSampler, _curriculum()),
    Arm(
        "random-pacing-warmup",
        "random pacing after a uniform warm-up",
        RandomPacingSampler,
        _warmed_up(),
    ),
    Arm(
        "random-pacing-class-matched",
        "random pacing with the class mix of CL's subsets",
        ClassMatchedSampler,
        _class_matched,
    ),
    Arm("anti", "anti-curriculum: imbalanced first", CurriculumSampler, _curriculum(order="imbalanced_first")),
    # The method.
    Arm("cl", "CL", CurriculumSampler, _curriculum()),
    Arm("spl", "SPL", SelfPacedSampler, _self_paced()),
    # CL otherwise.
    Arm("cl-rank", "CL, rank normalisation", CurriculumSampler, _curriculum(normalize="rank")),
    Arm("cl-rescored", "CL, re-scored before every epoch", CurriculumSampler, _curriculum(rescore="pass")),
    Arm("cl-warmup", "CL, scored after a uniform warm-up", CurriculumSampler, _warmed_up()),
    Arm(
        "cl-warmup-rescored",
        "CL, warm-up, then re-scored before every epoch",
        CurriculumSampler,
        _warmed_up(rescore="pass"),
    ),
    Arm(
        "cl-class-balanced",
        "CL, class mix kept in every subset and batch",
        CurriculumSampler,
        _curriculum(class_balanced=True),
    ),
    # Other criteria: the seven of the paper's appendix beside CL's own (prediction similarity and loss).
    Arm("cl-loss", "CL by loss alone", CurriculumSampler, _curriculum(criterion="loss")),
    Arm("cl-similarity", "CL by prediction similarity alone", CurriculumSampler, _curriculum(criterion="similarity")),
    Arm(
        "feature-similarity",
        "CL by feature similarity alone",
        CurriculumSampler,
        _curriculum(criterion="similarity", similarity="feature"),
    ),
    Arm(
        "gradient-magnitude",
        "CL by gradient magnitude alone",
        CurriculumSampler,
        _curriculum(criterion="loss", information="gradient"),
    ),
    Arm(
        "feature-gradient",
        "CL by feature similarity and gradient magnitude",
        CurriculumSampler,
        _curriculum(similarity="feature", information="gradient"),
    ),
    Arm("feature-loss", "CL by feature similarity and loss", CurriculumSampler, _curriculum(similarity="feature")),
    Arm(
        "prediction-gradient",
        "CL by prediction similarity and gradient magnitude",
        CurriculumSampler,
        _curriculum(information="gradient"),
    ),
    # SPL otherwise.
    Arm("spl-imbalanced-first", "SPL, imbalanced first", SelfPacedSampler, _self_paced(order="imbalanced_first")),
    Arm("spl-rank", "SPL, rank normalisation", SelfPacedSampler, _self_paced(normalize="rank")),
    Arm(
        "spl-sharp",
        "SPL, rank normalisation, temperature 0.25",
        SelfPacedSampler,
        _self_paced(normalize="rank", temperature=0.25),
    ),
    Arm("spl-history", "SPL, mean of all scores so far", SelfPacedSampler, _self_paced(history=None)),
    Arm("spl-online", "SPL, scores from the training forward", SelfPacedSampler, _self_paced(rescore="online")),
    Arm("spl-class-balanced", "SPL, class mix kept in every batch", SelfPacedSampler, _self_paced(class_balanced=True)),
    # Whether it is the skewed classes that make a sharp order cost accuracy.
    Arm(
        "spl-sharp-class-balanced",
        "spl-sharp, class mix kept in every batch",
        SelfPacedSampler,
        _self_paced(normalize="rank", temperature=0.25, class_balanced=True),
    ),
    Arm(
        "spl-imbalanced-first-class-balanced",
        "SPL, imbalanced first, class mix kept in every batch",
        SelfPacedSampler,
        _self_paced(order="imbalanced_first", class_balanced=True),
    ),
    # The same scores used in another way than as an order within the epoch.
    Arm("resampling", "draws with replacement by SPL's weights", ResamplingSampler, _self_paced()),
    Arm("mix", "every batch one blend of balanced and imbalanced", MixSampler, _curriculum(rescore="pass")),
    Arm(
        "loss-weights",
        "uniform order, losses weighted by SPL's weights",
        UniformSampler,
        _with(Schedule, start=1.0, rescore="pass"),
        _loss_weights,
        by_order=False,
    ),
    # Other methods, in uniform order.
    Arm("joint", "the fused head's loss alone", UniformSampler, _fused_loss_alone, by_order=False),
    Arm("ogm-ge", "OGM-GE", UniformSampler, _UNIFORM, lambda recipe: OGMGE(seed=recipe.seed), by_order=False),
    Arm("mmpareto", "MMPareto", UniformSampler, _UNIFORM, lambda recipe: MMPareto(), by_order=False),
    Arm(
        "modality-dropout",
        "modality dropout",
        UniformSampler,
        _UNIFORM,
        lambda recipe: ModalityDropout(seed=recipe.seed),
        by_order=False,
    ),
    Arm("smv", "SMV, sample-level", UniformSampler, _UNIFORM, _smv, by_order=False),
    Arm("data-remixing", "Data Remixing", UniformSampler, _UNIFORM, _data_remixing, by_order=False),
)
"""Every arm of the library; the contract tests run over this tuple."""


def find(names: Iterable[str]) -> list[Arm]:
    """The arms of these names, in their order; ``"a+b"`` joins the order of one with the step of the other.

    Raises:
        RecipeError: a name that is not known (lists the known ones) or given twice, or two arms that do not join.
    """
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecipeError(f"the arm {shown(twice[0])} is given twice")
    return [_joined(name, [_named(part) for part in name.split("+")]) for name in names]


def _named(name: str) -> Arm:
    for arm in ARMS:
        if arm.name == name:
            return arm
    names = [arm.name for arm in ARMS]
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

    def adapt(recipe: Recipe) -> Recipe:
        stepped, schedule = step.adapt(recipe), order.adapt(recipe).schedule
        if order.sampler.uses_scores and stepped.unimodal_weight == 0:
            if schedule.criterion == "both" and schedule.similarity == "prediction":
                schedule = replace(schedule, criterion="loss")  # the fused one is all there is to judge by
            check_heads(replace(stepped, schedule=schedule))
        return replace(stepped, schedule=schedule)

    return Arm(name, f"{order.title}; {step.title}", order.sampler, adapt, step.method, by_order=False)
