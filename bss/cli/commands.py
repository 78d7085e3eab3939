"""The commands of ``python -m bss``: their flags, and a function for each, which calls the room that does the work."""

import argparse
import importlib
import json
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import bss
from bss import tasks
from bss.cli import add_recipe_flag, add_run_flags, endings
from bss.cli.flags import Parser, between, expanded, path, path_text, processes
from bss.compare.arms import ALONE, ARMS, find
from bss.compare.claims import CLAIMS
from bss.recipes.fields import flatten
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from bss.utils.extras import need, refuse_old, refuse_other_distribution
from bss.utils.interrupts import interruptible

if TYPE_CHECKING:
    from bss.data.datasets.data_set import DataSet

STEMS = tasks.names()
"""The data sets that can be prepared, checked and trained on."""


_TASK_HELP = f"{', '.join(STEMS)}, or a Python file like bss/tasks/cremad.py"


_VARIANT_HELP = "another data set of the same form: of twitter15, twitter2017"


_AGAIN = "run it again to go on where it stopped"


class _Parser(Parser):
    """Ends its help with what ``ending`` says, where it has one: only when help is printed, since that takes time."""

    ending: Callable[[], str] | None = None

    def format_help(self) -> str:
        if self.ending is not None:
            self.epilog = self.ending()
        return super().format_help()


def _sources() -> str:
    """What each data set's source must hold."""
    sources = [f"{stem}: {_module(stem).DESCRIPTION}" for stem in STEMS]
    return "\n\n".join(["what --source must be:", *(textwrap.indent(text, "  ") for text in sources)])


def _arms() -> str:
    """Names and titles of all arms."""
    alone = (f"{ALONE}MODALITY", "one modality by itself, as in alone-audio: its encoder and head")
    listed = [f"  {name:36} {title}" for name, title in (*((arm.name, arm.title) for arm in ARMS), alone)]
    return "\n".join(["the arms (an order and a change of the training step join as in spl+ogm-ge):", *listed])


def _fields() -> list[str]:
    """Dotted names of the recipe fields of all data sets."""
    recipes = [getattr(importlib.import_module(f"bss.recipes.{stem}"), way) for stem in STEMS for way in ("CL", "SPL")]
    return list(dict.fromkeys(name for recipe in recipes for name in flatten(recipe)))


@endings.quiet_if_unread()
def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        argv: the arguments; None = those of the process.

    Returns:
        0: all is well. 1: some files or runs failed, or the doctor found an error. 2: the input cannot be worked with
        at all. 130: stopped by Ctrl-C. 75: stopped by SIGTERM, and can go on.
        141: whoever read the output has closed it.
    """
    said = ""
    endings.let_output_pass()
    try:
        refuse_other_distribution(Path(bss.__file__))
        refuse_old()
        flags = _parser().parse_args(argv)
        said = flags.interrupted
        with interruptible():
            return flags.run(flags)
    except endings.ENDINGS as error:
        return endings.status_of(error, said)


def _prepare(flags: argparse.Namespace) -> int:
    need("prepare", "train")
    need("prepare", *_data_set(flags.stem, flags.variant).extras)
    if not flags.source.is_dir():
        from bss.data.datasets.nearby import dead_link

        raise DataNotFoundError(f"--source {dead_link(flags.source) or f'{flags.source} is not a folder'}")
    try:
        flags.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {flags.out} cannot be made: {error.strerror}") from error
    from bss.utils.processes import default_workers

    workers = default_workers() if flags.workers is None else flags.workers
    options = {} if flags.variant is None else {"data_set": _data_set(flags.stem, flags.variant)}
    failures = _module(flags.stem).prepare(flags.source, flags.out, workers=workers, force=flags.force, **options)
    if failures:
        print(f"{len(failures)} failures, listed above; what is whole stays, so mend them and run it again")
    return 1 if failures else 0


def _doctor(flags: argparse.Namespace) -> int:
    from bss.data import doctor
    from bss.utils.processes import default_workers

    need("the doctor", "train")
    data_set = _data_set(flags.stem, flags.variant)
    need("the doctor", *data_set.extras)
    workers = default_workers() if flags.workers is None else flags.workers
    tree, findings = doctor.examine(data_set, flags.root, workers=workers)
    if flags.json:
        print(json.dumps(doctor.report.as_dict(tree, findings), indent=1))
    else:
        print(doctor.report.as_text(tree, findings))
    return doctor.report.status(findings)


def _clean(flags: argparse.Namespace) -> int:
    need("cleaning up", "train")
    from bss.data import cached_files

    for folder in flags.folders:
        if not folder.is_dir():
            raise DataNotFoundError(f"{folder} is not a folder")
    found = {(each.folder, each.name): each for folder in flags.folders for each in cached_files.cached(folder)}
    past = time.time() - 86400 * flags.older
    caches = [each for each in found.values() if each.used <= past]
    if not caches:
        unused = f" that no run has used for {flags.older} days" if flags.older else ""
        print(f"no cache of decoded files{unused} in {', '.join(map(str, flags.folders))}, or two folders below")
        return 0
    print(cached_files.as_text(caches))
    if not flags.yes:
        print(
            f"{len(caches)} caches; --yes removes them, but for those in use: the next run decodes what it needs anew"
        )
        return 0
    kept = cached_files.remove(caches)
    print(f"removed {len(caches) - len(kept)}" + (f"; {len(kept)} are in use and stay" if kept else ""))
    return 0


def _train(flags: argparse.Namespace) -> int:
    if flags.arm is None and flags.recipe is None:
        raise RecipeError("pass --arm ARM, the way to train, or --recipe with the config.json of a run of an arm")
    named = None if flags.arm is None else find([flags.arm])[0]  # a typo is answered before PyTorch takes its seconds
    need("training", "train")
    from bss.cli import recipe_file
    from bss.cli.launch import launched
    from bss.training.callbacks import of_task
    from bss.training.engine import fit

    file = None if flags.recipe is None else recipe_file.read(flags.recipe, flags.task)
    arm = file.arm(named) if file is not None else named
    assert arm is not None  # it was asked for above
    with launched(flags, flags.task, arm.name, arm=arm, file=file) as (task, recipe, run):
        data = task.build_data(recipe, run.data_root)
        model, told = task.build_model(recipe, run.data_root), of_task(task, recipe, run.out)
        fit(model, data, recipe, run, callbacks=told)
    return 0


def _compare(flags: argparse.Namespace) -> int:
    need("a comparison", "train", "report")  # before days of training, not after them
    from bss.cli import compare

    return compare.compare(flags)


def _reproduce(flags: argparse.Namespace) -> int:
    need("a reproduction", "train", "report")
    from bss.cli import reproduce

    return reproduce.reproduce(flags)


def _report(flags: argparse.Namespace) -> int:
    need("a report", "train", "report")
    from bss.cli import report

    return report.report(flags)


def _evaluate(flags: argparse.Namespace) -> int:
    need("an evaluation", "train", "report")
    from bss.cli import evaluate

    return evaluate.evaluate(flags)


def _export(flags: argparse.Namespace) -> int:
    need("an export", "train")
    from bss.training.export import export_run

    out = export_run(
        flags.run_folder, flags.out, checkpoint=flags.checkpoint, task=flags.task, data_root=flags.data_root
    )
    print(f"exported to {out}: model.safetensors, config.json, README.md")
    return 0


def _predict(flags: argparse.Namespace) -> int:
    need("a prediction", "train")
    from bss.cli.launch import device_of
    from bss.training import predict_files as work

    if flags.topk < 1:
        raise RecipeError(f"--topk must be at least 1, got {flags.topk}")
    for target, suffixes in ((flags.out, tuple(work.WRITERS)), (flags.embeddings, (".npz",))):
        if target is not None:
            work.check_target(target, suffixes)
    predicted = work.predict_files(
        flags.run_folder,
        expanded(flags.files),
        checkpoint=flags.checkpoint,
        task=flags.task,
        data_root=flags.data_root,
        missing=flags.missing,
        device=device_of(flags.device),
        batch_size=flags.batch_size,
    )
    if flags.embeddings is not None:
        work.write_embeddings(flags.embeddings, predicted)
    if flags.out is not None:
        work.write_predictions(flags.out, predicted, flags.topk)
        print(f"{len(predicted.names)} inputs: {flags.out}")
    else:
        print(work.as_text(predicted, flags.topk))
    return 0


def _data_set(stem: str, variant: str | None = None) -> "DataSet[Any]":
    module = importlib.import_module(f"bss.data.datasets.{stem}")
    if variant is None:
        return module.DATA_SET
    variants = getattr(module, "VARIANTS", {})
    if variant not in variants:
        known = f"it has {', '.join(variants)}" if variants else "it has none"
        raise RecipeError(f"--variant {variant} is no variant of {stem}: {known}")
    return variants[variant]


def _module(stem: str) -> ModuleType:
    return importlib.import_module(f"bss.data.prepare.{stem}")


def _parser() -> argparse.ArgumentParser:
    about = "Prepare and check a data set, train on it in one way or compare several, report what came out, and use it."
    parser = _Parser(prog="python -m bss", description=about, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    prepare = commands.add_parser(
        "prepare",
        help="make a data root out of what was published",
        description="Make a data root out of what was published. Whole files are kept, so run it again after an\n"
        "interruption; delete one to have it made anew. What somebody else made is kept too, and named. Exit\n"
        "status: 0, 1 if some files failed, 2 if the source cannot be worked with at all.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    prepare.set_defaults(run=_prepare, interrupted=f"stopped; {_AGAIN}")
    prepare.ending = _sources
    prepare.add_argument("stem", choices=STEMS, help="the data set")
    prepare.add_argument("--source", type=path, required=True, metavar="RAW", help="what was published; see below")
    prepare.add_argument("--out", type=path, required=True, metavar="ROOT", help="the data root; made when missing")
    prepare.add_argument("--variant", metavar="NAME", help=_VARIANT_HELP)
    prepare.add_argument("--force", action="store_true", help="replace files that are there and were not made by this")

    doctor = commands.add_parser(
        "doctor",
        help="check a data root before training",
        description="Check a data root before training. Exit status: 0, 1 if there is an error, 2 if it cannot be "
        "looked at.",
        allow_abbrev=False,
    )
    doctor.set_defaults(run=_doctor, interrupted="stopped")
    doctor.add_argument("stem", choices=STEMS, help="the data set")
    doctor.add_argument("root", type=path, metavar="ROOT", help="the data root")
    doctor.add_argument("--variant", metavar="NAME", help=_VARIANT_HELP)
    doctor.add_argument("--json", action="store_true", help="the report as one JSON object")

    for command in (prepare, doctor):
        command.add_argument(
            "--workers",
            type=processes,
            metavar="N",
            help="processes (default: one per core, at most 8); 0: this one",
        )
    clean = commands.add_parser(
        "clean",
        help="list and remove decoded files that runs have kept",
        description="List the caches of decoded files that runs have kept beside their data: of which data root, how\n"
        "large, when last used. With --yes they are removed, but for those that a run reads; the next run decodes\n"
        "what it needs anew. Exit status: 0, 2 if a folder is not there.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    clean.set_defaults(run=_clean, interrupted="stopped")
    clean.add_argument("what", choices=("cache",), help="what to look for")
    clean.add_argument(
        "folders",
        nargs="*",
        type=path,
        default=[Path()],
        metavar="FOLDER",
        help="data roots, folders that hold some, or what --set cache= names (default: here)",
    )
    clean.add_argument(
        "--older",
        type=between(0, 100_000),
        default=0,
        metavar="DAYS",
        help="those alone that were not used for so long",
    )
    clean.add_argument("--yes", action="store_true", help="remove what is listed")
    _add_training(commands)
    _add_comparisons(commands)
    _add_evaluation(commands)
    _add_export(commands)
    _add_reproduction(commands)
    _add_predict(commands)
    for command in commands.choices.values():
        command.fields = _fields
    return parser


def _add_training(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train one arm as a single run",
        description="Train one arm of those that compare sets side by side, as a single run. The same command goes on\n"
        "where it was stopped. Exit status: 0, 2 if it cannot be done at all, 130 after Ctrl-C, 75 after SIGTERM.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    train.set_defaults(run=_train, interrupted="\ninterrupted")
    train.ending = _arms
    train.add_argument("task", type=path_text, help=_TASK_HELP)
    train.add_argument(
        "--arm", metavar="ARM", help="the way to train; see below (needed, unless --recipe is of a run of an arm)"
    )
    defaults = dict.fromkeys(("seed", "epochs", "batch_size"), "default: that of the task's CL recipe")
    add_run_flags(train, "needed, unless --sample is given", "default: runs/TASK-ARM-seedN", defaults)


def _add_evaluation(commands: Any) -> None:
    command = commands.add_parser(
        "evaluate",
        help="measure trained networks on a test set or a list of your own",
        description="Measure the trained networks of run folders: accuracy, macro F1, mAP, NLL, Brier and calibration\n"
        "of every head with 95 % intervals, class by class and sample by sample. Several runs are compared by\n"
        "McNemar's test, and those of one arm make an ensemble. --out gets evaluation.json, evaluation.html,\n"
        "table.md, predictions.csv and confusion.csv, all or none. Under torchrun each sample is measured once.\n"
        "Exit status: 0, 2 if it cannot be done at all, 130 after Ctrl-C, 75 after SIGTERM.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=_evaluate, interrupted="stopped; nothing was written")
    add = command.add_argument
    add("runs", nargs="+", type=path, metavar="RUN", help="run folders, or folders that hold some; of one task")
    _add_weights(command)
    add(
        "--data-root",
        type=path,
        metavar="DIR",
        help="the data set's folder (default: where the run says that it was trained, if that is still there)",
    )
    add("--split", choices=("test", "val", "train"), default="test", help="which part of the run (default: test)")
    add(
        "--list",
        type=path,
        metavar="FILE",
        help="a list of your own in the form of the data set's, in place of a part; its files are under the data root",
    )
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps, ...")
    add("--workers", type=processes, metavar="N", help="processes that load data (default: one per core, at most 8)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="how it is measured: batch_size=, precision=, channels_last=, or missing=drop; the rest is the run's",
    )
    add(
        "--resamples",
        type=between(0, 10**6),
        default=1000,
        metavar="N",
        help="test sets that are drawn for the intervals (default 1000; 0 = only the accuracy's, without groups)",
    )
    add(
        "--drop",
        action="append",
        default=[],
        metavar="MODALITY:SHARES",
        help="measure it also without a modality for these shares of the samples, as audio:0,0.2,0.5,1; A+B:0.5 takes "
        "both away, each by itself; may be given several times",
    )
    add(
        "--noise",
        action="append",
        default=[],
        metavar="MODALITY[.NOISE]:LEVELS",
        help="measure it also with a noisy modality: sounds and numbers in dB (20, 10, 5, 0, -5), pictures, texts and "
        "video in severities, as visual:1..5; all = all levels; may be given several times",
    )
    add(
        "--fill",
        choices=("mean", "zero", "drop"),
        default="mean",
        help="what stands for a modality that --drop takes away: the mean of the training inputs (default), zero, or "
        "nothing: the other modalities' own heads predict",
    )
    add(
        "--corruption-seeds",
        type=between(0, 1000),
        default=5,
        metavar="N",
        help="how often what --drop and --noise draw is drawn anew (default 5)",
    )
    add("--out", type=path, required=True, metavar="FOLDER", help="new, empty, or with an evaluation of the same")


def _add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        help="write a trained network for others: safetensors, and what it means",
        description="Write a run's trained network as a folder that can be read without this package:\n"
        "model.safetensors, config.json (what inputs and outputs mean) and README.md, a card. bss.load_run and the\n"
        "commands that take a run take that folder too. Exit status: 0, 2 if it cannot be done.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    export.set_defaults(run=_export, interrupted="stopped; nothing was written")
    _add_run_to_load(export)
    export.add_argument("--out", type=path, required=True, metavar="FOLDER", help="a folder that is new or empty")
    export.add_argument("--data-root", type=path, metavar="DIR", help="the data set's folder, for a text model in it")


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="let a trained network name the class of raw files",
        description="Let a run's network, or an exported one, name the class of files that are in no list: videos,\n"
        "sounds with pictures, pictures with texts, gestures, or a csv with a row for each input. They are prepared\n"
        "and looked at as those of its test set. Exit status: 0, 2 if it cannot be done; then nothing is written.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    predict.set_defaults(run=_predict, interrupted="stopped; nothing was written")
    _add_run_to_load(predict)
    add = predict.add_argument
    add("files", type=path, nargs="+", metavar="FILE", help="files and folders of one name are one input; or one csv")
    add("--out", type=path, metavar="FILE", help="a new .csv or .json (default: on the screen)")
    add("--topk", type=int, default=3, metavar="N", help="classes of each head, the most probable first (default 3)")
    add("--embeddings", type=path, metavar="FILE.npz", help="also write the features of every modality")
    add(
        "--missing",
        choices=("zero", "mean", "drop"),
        help="what stands for a modality that an input lacks: silence, black, no words, zeros (zero); the mean of the "
        "training inputs (with --data-root); its heads are left out of the prediction (default: it is an error)",
    )
    add("--data-root", type=path, metavar="DIR", help="the data set's folder, for a text model in it or --missing mean")
    add("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda, cuda:1, mps, ...")
    add("--batch-size", type=between(1, 10**6), metavar="N", help="inputs at a time (default: that of the recipe)")


def _add_run_to_load(command: argparse.ArgumentParser) -> None:
    """Add the flags by which one trained network is named."""
    command.add_argument("run_folder", type=path, metavar="RUN", help="the run's folder")
    _add_weights(command)


def _add_weights(command: argparse.ArgumentParser) -> None:
    """Add the flags that say which weights, and whose code, a run folder stands for."""
    command.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        default="best",
        help="the weights of the epoch that validation chose (best, the default), or the newest ones",
    )
    command.add_argument("--task", type=path_text, metavar="FILE.py", help="the task's file, if it is one of your own")


def _add_comparisons(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        help="train arms against each other and report",
        description="Train every arm with every seed from the same weights and data, and write table.md, table.csv\n"
        "and report.html into --out, and before anything is trained plan.json: what will be tested, on which runs.\n"
        "The runs are in OUT/ARM/seedN, or OUT/ARM/foldK/seedN. The same command goes on where it was stopped,\n"
        "and trains nothing twice.\n"
        "Exit status: 0, 1 if runs failed, 2 if it cannot be done at all, 130 after Ctrl-C, 75 after SIGTERM.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    compare.set_defaults(run=_compare, interrupted=f"stopped; {_AGAIN}")
    compare.ending = _arms
    compare.add_argument("task", type=path_text, help=_TASK_HELP)
    compare.add_argument(
        "--arms", default="uniform,random-pacing,cl,spl,anti", metavar="A,B", help="see below (default: %(default)s)"
    )
    compare.add_argument(
        "--seeds", default="5", metavar="N", help="5 (default): seeds 0 to 4; 3,7: these two; 0-9: these ten"
    )
    compare.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="deal the data set into K parts, and train every arm and seed once for each, which is then the test part",
    )
    compare.add_argument(
        "--fold", metavar="N,M", help="with --folds: these folds alone, from 0, as on one of several machines"
    )
    compare.add_argument(
        "--updates",
        choices=("equal", "epochs"),
        default="equal",
        help="every arm gets the optimiser steps of uniform order (equal, the default), or the recipe's epochs",
    )
    compare.add_argument("--epochs", type=int, metavar="N", help="in place of those of the task's CL recipe")
    compare.add_argument("--data-root", type=path, metavar="DIR", help="the data set's folder")
    compare.add_argument(
        "--sample", action="store_true", help="compare on a small generated data set, in sample-data beside OUT"
    )
    compare.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be trained, and from a few timed steps for how long; train and write nothing",
    )
    compare.add_argument("--jobs", type=processes, default=1, metavar="N", help="runs at a time (default 1)")
    compare.add_argument(
        "--device", default="auto", metavar="NAME", help="auto (default): all GPUs in turn; cpu; cuda:1"
    )
    compare.add_argument(
        "--workers",
        type=processes,
        metavar="N",
        help="processes per run that load data (default: the cores, shared; none for data in memory)",
    )
    add_recipe_flag(compare)
    compare.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="override a field of the task's CL recipe"
    )

    compare.add_argument(
        "--tune",
        action="append",
        default=[],
        metavar="FIELD=VALUE,VALUE",
        help="before the comparison, let every arm choose one of these values by validation accuracy, all with as many "
        "runs; again and again for more fields: --tune lr=1e-3,1e-2 --tune method.alpha=0.3,0.8",
    )
    compare.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="a difference within it does not matter: arms are equivalent inside of it (default: that of the plan in "
        "OUT, or 1.0)",
    )
    compare.add_argument(
        "--looks",
        type=between(0, 10_000),
        metavar="N",
        help="how often the verdict is taken while seeds come in, at equal steps; each gets its share of the 5 %% "
        "(default: as of the plan in OUT, or 1)",
    )

    report = commands.add_parser(
        "report",
        help="make the page of runs that exist",
        description="Make the tables and the page of runs that exist. Exit status: 0, 1 if some were left out or are\n"
        "missing, 2 if the runs cannot be compared.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    report.set_defaults(run=_report, interrupted="stopped")
    report.add_argument(
        "runs",
        nargs="+",
        type=path,
        metavar="RUN",
        help="run folders, or folders that hold some; what evaluate wrote beside them adds its curves",
    )
    report.add_argument(
        "--data-root", type=path, metavar="DIR", help="the data set's folder, to show samples; without, none is read"
    )
    report.add_argument(
        "--task", type=path_text, metavar="FILE.py", help="the task's file, if it is one of your own, to show samples"
    )

    for command in (compare, report):
        command.add_argument("--out", type=path, required=True, metavar="DIR", help="where the files go")
        command.add_argument(
            "--control",
            default="",
            metavar="A,B",
            help="arms to compare with: the first with all, others with the arms whose epochs have their sizes "
            "(default: uniform order, then random pacing)",
        )
        command.add_argument(
            "--metric",
            metavar="NAME",
            help="accuracy, macro_f1 or map (default: that of the plan, or accuracy)",
        )
        command.add_argument(
            "--format", choices=["latex"], help="also write the table of a paper: latex = table.tex, beside md and csv"
        )


def _add_reproduction(commands: Any) -> None:
    reproduce = commands.add_parser(
        "reproduce",
        help="put the claimed table of a data set to the test",
        description="Train the rows of the authors' claimed table, and arms that tell the order from the rest, from\n"
        "one recipe at equal updates, and write report.html with what is claimed beside what was measured. Before\n"
        "that it says what it costs on this device. The same command goes on where it was stopped, and trains\n"
        "nothing twice.\n"
        "OUT/contribution gets the two files to send back: the plan, and the raw values of all runs.\n"
        "Exit status: 0, 1 if runs failed, 2 if it cannot be done at all, 130 after Ctrl-C, 75 after SIGTERM.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    # What a comparison may choose and a reproduction may not.
    reproduce.set_defaults(run=_reproduce, interrupted=f"stopped; {_AGAIN}", control="", metric=None, format=None)
    reproduce.add_argument("task", metavar="DATA SET", help=", ".join(CLAIMS))
    reproduce.add_argument(
        "--seeds", default="3", metavar="N", help="3 (default): seeds 0 to 2; 3,7: these two; 0-9: these ten"
    )
    reproduce.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="deal the data set into K parts by its speakers, each the test part of some runs (cremad; default: the "
        "published test list)",
    )
    reproduce.add_argument("--data-root", type=path, metavar="DIR", help="the data set's folder")
    reproduce.add_argument(
        "--sample",
        action="store_true",
        help="two epochs on a small generated data set, in sample-data beside OUT: shows that all of it works",
    )
    reproduce.add_argument("--dry-run", action="store_true", help="say what it costs; train and write nothing")
    reproduce.add_argument("--jobs", type=processes, default=1, metavar="N", help="runs at a time (default 1)")
    reproduce.add_argument(
        "--device", default="auto", metavar="NAME", help="auto (default): all GPUs in turn; cpu; cuda:1"
    )
    reproduce.add_argument(
        "--workers",
        type=processes,
        metavar="N",
        help="processes per run that load data (default: the cores, shared; none for data in memory)",
    )
    reproduce.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="what this machine or copy of the data needs: missing=drop, cache=DIR, precision=bf16; the report says so",
    )
    reproduce.add_argument("--out", type=path, required=True, metavar="DIR", help="where the runs and the files go")
