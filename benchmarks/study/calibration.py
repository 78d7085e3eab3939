"""The A/A bench: how often the verdicts of a comparison are wrong, by simulation of their whole path.

    python -m benchmarks.study.calibration [--simulations 2000] [--seed 0] > benchmarks/study/results/calibration.md

It draws the accuracies of runs whose true differences are known, and hands them to what ``compare`` uses: the plan with
its looks, finished and failed runs, :class:`bss.compare.tables.Results`, :func:`bss.compare.verdict.judge`. Nothing of
the verdict is computed here. Only the files are left out: a run is made once and used in all simulations, and the table
of test results, which is read from the runs, is put in its place. A test shows that both ways
come to the same verdicts.

A verdict counts as *planned* where the package calls it so. A *false verdict* is "better" or "worse" of any arm that
truly equals its control: the plan bounds the probability of one or more of them, over all arms, both epochs and all
looks, by 5 %.
"""

import argparse
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import fsum, isclose, nan
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from bss.compare.plan import Analysis, Plan, PlannedRun
from bss.compare.runs import BINS, FailedRun, FinishedRun, Scored
from bss.compare.tables import Results
from bss.compare.verdict import Judgement, Verdict

ROOT = Path(__file__).resolve().parents[2]

SIZES = (3, 5, 8, 10, 20, 40)
"""Numbers of seeds."""

CONTROL, CHANGED = "control", "a"
ARMS = (CONTROL, CHANGED, "b", "c")
"""Arm a may differ from the control, b and c never do."""

OUTCOMES = ("chosen", "last")
MARGIN = 1.0
BASE = 70.0
"""True accuracy of the control in percent."""

COMMONEST = 20.0
"""Accuracy of the commonest class in percent, at which a failed run counts."""

SEED_SCATTER = 2.0
"""Standard deviation in points of what a seed does to all arms alike; it cancels in paired differences."""

SHARED = 0.8
"""Correlation of the two epochs' own scatter: they are of one training."""

TEST_SAMPLES = 482
"""Size of the test set where ties are looked at: accuracies are multiples of 1 / 482."""


# ---- what is simulated -----------------------------------------------------------------------------------------------


Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""Draws numbers with mean 0 and deviation 1, of this shape."""


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal scatter."""
    return generator.standard_normal(shape)


def heavy(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Heavy tails: Student's t with 3 degrees of freedom, whose deviation is the root of 3."""
    return generator.standard_t(3, shape) / 3**0.5


@dataclass(frozen=True)
class Setting:
    """What is true in a row of the table.

    Attributes:
        name: in words.
        n: number of seeds.
        shift: by how much arm a is above the control where it trains, in points.
        scatter: standard deviation of a paired difference in points.
        draw: the distribution of the scatter.
        ties: accuracies are multiples of 1 / :data:`TEST_SAMPLES`.
        failing: arm -> probability that a run of it has a loss that is not finite.
        lost: probability that the machine loses a run.
        arms: the first is the control.
        outcomes: the epochs whose accuracies are compared.
        looks: how many the plan has.
        every: the user looks whenever a seed is there, from the third on; else at the planned looks.
        share: of the simulations that this row takes; looks are many.
    """

    name: str
    n: int
    shift: float = 0.0
    scatter: float = 2.0
    draw: Draw = normal
    ties: bool = False
    failing: tuple[tuple[str, float], ...] = ()
    lost: float = 0.0
    arms: tuple[str, ...] = ARMS
    outcomes: tuple[str, ...] = OUTCOMES
    looks: int = 1
    every: bool = False
    share: float = 1.0

    def expected(self, arm: str) -> float:
        """True mean accuracy of an arm in percent, with the runs that fail at what they count for."""
        failing = dict(self.failing).get(arm, 0.0)
        return failing * COMMONEST + (1 - failing) * (BASE + self.shift * (arm == CHANGED))

    def difference(self, arm: str) -> float:
        """True difference of an arm and the control in points."""
        return self.expected(arm) - self.expected(CONTROL)

    def at(self) -> tuple[int, ...]:
        """The numbers of seeds at which the user looks."""
        return tuple(range(3, self.n + 1)) if self.every else plan_of(self).analysis.look_sizes()


@cache
def plan_of(setting: Setting) -> Plan:
    """The plan of a setting: every arm against the control."""
    analysis = Analysis(
        arms=setting.arms,
        seeds=tuple(range(setting.n)),
        contrasts=tuple((arm, CONTROL) for arm in setting.arms[1:]),
        metric="accuracy",
        outcomes=setting.outcomes,
        margin=MARGIN,
        looks=setting.looks,
    )
    runs = [PlannedRun(arm, seed, None, f"{arm}/seed{seed}", (), "") for arm in setting.arms for seed in analysis.seeds]
    return Plan(analysis, tuple(runs))


def _config(arm: str, seed: int) -> dict[str, object]:
    return {
        "recipe": {"epochs": 1, "batch_size": 8, "seed": seed, "schedule": {}},
        "sampler": "UniformSampler" if arm == CONTROL else "CurriculumSampler",
        "samples": {"train": 40, "test": TEST_SAMPLES},
    }


def finished(arm: str, seed: int, accuracy: Mapping[str, float]) -> FinishedRun:
    """A finished run with these test accuracies.

    Args:
        arm: its name.
        seed: its seed.
        accuracy: by outcome, in percent. Without ``"chosen"`` there was no validation split to choose by.
    """
    test = {outcome: {"accuracy": {"all": accuracy.get(outcome, accuracy["last"]) / 100}} for outcome in OUTCOMES}
    watched = "val" if "chosen" in accuracy else "test"
    row = {"epoch": 0, "samples": 40, "steps": 5, "seconds": 1.0, watched: test["last"]}
    row["checksum"] = f"{arm} {seed}"
    summary = {"test": test, "chosen_epoch": 0, **({} if "chosen" in accuracy else {"oracle": {}})}
    return FinishedRun(
        path=ROOT / arm / f"seed{seed}",
        config=_config(arm, seed),
        mark={"arm": arm, "title": arm, "task": "simulated"},
        arm=arm,
        rows=[row],  # type: ignore[list-item]  # the fields that a report of the verdicts reads
        summary=summary,  # type: ignore[arg-type]
        training_list="one",
        scored=NOTHING_SCORED,
    )


def failed(arm: str, seed: int) -> FailedRun:
    """A run whose loss was not finite."""
    return FailedRun(
        path=ROOT / arm / f"seed{seed}",
        config=_config(arm, seed),
        mark={"arm": arm, "title": arm, "task": "simulated"},
        arm=arm,
        epoch=0,
        step=3,
        reason="the loss is nan",
        accuracy=COMMONEST / 100,
    )


NOTHING_SCORED = Scored((), np.zeros(0, int), np.zeros((0, len(BINS) - 1), int), np.zeros(0, int))
"""No report of the verdicts reads the scores."""

_finished_once = cache(lambda arm, seed, outcomes: finished(arm, seed, dict.fromkeys(outcomes, BASE)))
_failed_once = cache(failed)


@dataclass(frozen=True)
class Numbers:
    """What all runs of a comparison came to.

    Attributes:
        accuracy: outcome, arm and seed -> percent.
        failed: arm and seed -> whether its loss was not finite.
        lost: arm and seed -> whether the machine lost it.
    """

    accuracy: np.ndarray
    failed: np.ndarray
    lost: np.ndarray


def draw_numbers(setting: Setting, generator: np.random.Generator) -> Numbers:
    """Draw a comparison: a seed's share, an arm's, an epoch's, and which runs failed or were lost."""
    arms, n, outcomes = len(setting.arms), setting.n, len(setting.outcomes)
    own = SHARED**0.5 * setting.draw(generator, (1, arms, n))
    own = own + (1 - SHARED) ** 0.5 * setting.draw(generator, (outcomes, arms, n))
    seeds = BASE + SEED_SCATTER * generator.standard_normal((1, 1, n))
    accuracy = seeds + setting.scatter / 2**0.5 * own
    if CHANGED in setting.arms:
        accuracy[:, setting.arms.index(CHANGED)] += setting.shift
    if setting.ties:
        accuracy = np.round(accuracy / 100 * TEST_SAMPLES) * 100 / TEST_SAMPLES
    chance = np.array([dict(setting.failing).get(arm, 0.0) for arm in setting.arms])
    return Numbers(accuracy, generator.random((arms, n)) < chance[:, None], generator.random((arms, n)) < setting.lost)


def results_at(setting: Setting, numbers: Numbers, seeds: int) -> Results:
    """What the package would read from the run folders of the first seeds, without the folders."""
    there = ~(numbers.failed | numbers.lost)
    arms = {
        arm: [_finished_once(arm, seed, setting.outcomes) for seed in range(seeds) if there[place, seed]]
        for place, arm in enumerate(setting.arms)
    }
    broken = [
        _failed_once(arm, seed)
        for place, arm in enumerate(setting.arms)
        for seed in range(seeds)
        if numbers.failed[place, seed] and not numbers.lost[place, seed]
    ]
    results = Results(
        {arm: runs for arm, runs in arms.items() if runs}, (CONTROL,), "accuracy", failed=broken, plan=plan_of(setting)
    )
    values = np.where(there, numbers.accuracy, nan)[:, :, :seeds].swapaxes(1, 2).reshape(-1, len(setting.arms))
    table = pd.DataFrame(values, index=_index(setting.outcomes, seeds), columns=list(setting.arms))
    # In place of the cached property, which makes the same table from the runs, in more time than all that follows.
    vars(results)["test"] = table if len(results.arms) == len(arms) else table[list(results.arms)]
    return results


@cache
def _index(outcomes: Sequence[str], seeds: int) -> pd.MultiIndex:
    parts = [outcomes, ["accuracy"], ["all"], range(seeds)]
    return pd.MultiIndex.from_product(parts, names=["checkpoint", "metric", "head", "seed"])


# ---- what is counted -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counts:
    """What came out of all simulations of a setting.

    Attributes:
        setting: what was true.
        simulations: how many.
        planned: share in which the package called the verdicts of the last look planned.
        false: share with a false verdict, at any look, that was called planned.
        believed: the same for a user who takes exploratory verdicts for planned ones.
        coverage: share of the 95 % intervals of arm a that hold the true difference; of those that there are.
        coverage_90: likewise for the 90 % intervals.
        better: share of arm a's planned verdicts (both epochs) at the last look that are "better".
        worse: likewise.
        equivalent: likewise, "better, by less than the margin" among them.
        type_m: mean of the size of arm a's difference where a verdict found one, divided by the true size; NaN = none.
        type_s: share of these with the wrong sign; NaN = none.
    """

    setting: Setting
    simulations: int
    planned: float
    false: float
    believed: float
    coverage: float
    coverage_90: float
    better: float
    worse: float
    equivalent: float
    type_m: float
    type_s: float


def _false(judgement: Judgement, setting: Setting) -> bool:
    """Whether an arm that truly equals the control is called better or worse."""
    return any(
        verdict.differs and isclose(setting.difference(verdict.arm), 0, abs_tol=1e-9) for verdict in judgement.verdicts
    )


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else nan


def simulate(setting: Setting, simulations: int, seed: int = 0, tick: Callable[[int], object] = int) -> Counts:
    """Simulate a setting; the same numbers for the same seed, whatever else is simulated.

    Args:
        setting: what is true.
        simulations: how many comparisons are drawn, 1 or more.
        seed: of the draws.
        tick: is told the number of judgements that were made since it was told last.
    """
    generator = np.random.default_rng([seed, setting.n, zlib.crc32(setting.name.encode())])
    truth = setting.difference(CHANGED)
    planned, false, believed = [], [], []
    verdicts: list[Verdict] = []
    standing: list[Verdict] = []
    for _ in range(simulations):
        numbers = draw_numbers(setting, generator)
        looked = [results_at(setting, numbers, size) for size in setting.at()]
        judged = [results.judgement for results in looked if CONTROL in results.names]
        wrong = [_false(each, setting) for each in judged]
        false.append(any(flag and each.planned for flag, each in zip(wrong, judged, strict=True)))
        believed.append(any(wrong))
        planned.append(bool(judged) and judged[-1].planned)
        of_changed = [each for each in judged[-1].verdicts if each.arm == CHANGED] if judged else []
        verdicts += of_changed
        standing += of_changed if planned[-1] else []
        tick(len(looked))
    found = [each.difference.mean or 0.0 for each in standing if each.differs]
    ends = {level: [each.difference.interval(level) for each in verdicts] for level in (0.95, 0.9)}
    held = {level: [low <= truth <= high for low, high in filter(None, each)] for level, each in ends.items()}
    return Counts(
        setting,
        simulations,
        _share(planned),
        _share(false),
        _share(believed),
        _share(held[0.95]),
        _share(held[0.9]),
        _share([each.answer.startswith("better") for each in standing]),
        _share([each.answer.startswith("worse") for each in standing]),
        _share([each.equivalent for each in standing]),
        fsum(map(abs, found)) / len(found) / abs(truth) if found and truth else nan,
        _share([mean * truth < 0 for mean in found]) if truth else nan,
    )


# ---- the table -------------------------------------------------------------------------------------------------------


def settings() -> Iterator[Setting]:
    """The rows of the table."""
    for n in SIZES:
        yield Setting("equal arms, normal", n)
    for n in SIZES:
        yield Setting("equal arms, ties (k/482)", n, scatter=0.4, ties=True)
    for n in SIZES:
        yield Setting("equal arms, heavy tails", n, draw=heavy)
    for n in SIZES:
        yield Setting("every arm fails in 20 %", n, failing=tuple((arm, 0.2) for arm in ARMS))
    for shift in (1.0, 2.0, 3.0):
        for n in SIZES:
            yield Setting(f"a is {shift:g} above", n, shift=shift)
    for n in SIZES:
        yield Setting("a is 2 above and fails in 20 %", n, shift=2.0, failing=((CHANGED, 0.2),))
    for n in SIZES[::2]:
        yield Setting("2 % of runs lost", n, lost=0.02)
    for looks in (3, 5):
        for n in SIZES[3:]:
            yield Setting(f"{looks} looks", n, looks=looks)
    for looks in (1, 5):
        yield Setting(f"{looks} look{'s' * (looks > 1)}, user at every seed", 40, looks=looks, every=True, share=0.25)


BEFORE = {
    ("equal arms, normal", 3): "familywise 0.037 to 0.053 in thirty A/A settings",
    **{
        ("equal arms, normal", n): f"percentile bootstrap: 95 % interval {held}"
        for n, held in ((5, "0.84"), (10, "0.91"), (20, "0.93"), (40, "0.94"))
    },
    ("a is 2 above and fails in 20 %", 10): "failures left out: better 0.35 (n not said)",
    ("5 looks", 40): "five looks, each at 5 %: 0.19",
    ("1 look, user at every seed", 40): "every seed from 3 to 40: 0.28",
}
"""What the audit of commit af663b0 found: by other simulations, cited and not run here."""


COLUMNS = (
    "true setting",
    "n",
    "simulations",
    "planned",
    "false verdict",
    "exploratory believed",
    "95 % interval",
    "90 % interval",
    "better",
    "worse",
    "equivalent",
    "type M",
    "type S",
    "audit, before (cited)",
)


def _cells(counts: Counts) -> list[str]:
    setting = counts.setting
    looking = setting.looks > 1 or setting.every
    shares = [counts.coverage, counts.coverage_90, counts.better, counts.worse, counts.equivalent]
    return [
        setting.name,
        str(setting.n),
        str(counts.simulations),
        _text(counts.planned),
        _text(counts.false),
        _text(counts.believed if looking or setting.lost else nan),
        *[_text(nan if looking else share) for share in shares],
        _text(counts.type_m, digits=2),
        _text(counts.type_s),
        BEFORE.get((setting.name, setting.n), ""),
    ]


def _text(number: float, digits: int = 3) -> str:
    return "-" if number != number else f"{number:.{digits}f}"


READING = """\
Four arms (control, a, b, c; b and c always equal the control), 6 comparisons (3 arms, chosen and last epoch), margin 1
point. A paired difference scatters by 2 points (ties: 0.4), the two epochs correlate by 0.8. A run that fails counts at
20 %, where the control has 70 %: arm a that gains 2 and fails in 20 % is truly 8.4 below.

- planned: share in which the verdict of the last look is a planned one; a lost run takes that away.
- false verdict: a planned better or worse of any arm that equals the control, at any look; it must stay within 0.05.
- exploratory believed: the same for a user who also believes verdicts that are called exploratory or incomplete.
- 95 %, 90 % interval: share of those on a that hold the true difference.
- better, worse, equivalent: share of the planned verdicts on a. "Better, by less than the margin" is both better and
  equivalent; equivalent is false where a is 1 above or more, and must stay within 0.05 there.
- type M: mean size of a's difference where one was found, divided by the true one. Type S: share of these with the
  wrong sign.

A share of 0.05 in 2,000 simulations has a standard error of 0.005; rows of users at every seed have 500.
"""


def markdown(rows: Sequence[Counts]) -> str:
    """The table."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *map(_cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate all settings and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study.calibration", description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000, metavar="N", help="of every row (2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws (0)")
    args = parser.parse_args(argv)
    if args.simulations < 4:
        parser.error(f"--simulations is {args.simulations}, and not 4 or more")
    todo = [(setting, round(args.simulations * setting.share)) for setting in settings()]
    commit, started = _commit(), time.process_time()  # another may be checked out before the end
    with tqdm(total=sum(count * len(each.at()) for each, count in todo), unit="verdict", disable=None) as bar:
        rows = [simulate(setting, count, args.seed, bar.update) for setting, count in todo]
    minutes = (time.process_time() - started) / 60
    print("# How often the verdicts are wrong\n")
    print(
        f"`python -m benchmarks.study.calibration --simulations {args.simulations} --seed {args.seed}`, "
        f"commit {commit}, {minutes:.1f} CPU minutes.\n"
    )
    print(f"{READING}\n{markdown(rows)}")
    print(f"{minutes:.1f} CPU minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
