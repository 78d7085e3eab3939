"""A trained network for somebody who has not this package: weights, what they mean, and a card, in one folder.

The folder can be put on a model hub as it is. It says nothing of the machine that trained, of its paths or of the
command: what a number needs to be judged is there, and the rest stays in the run folder.
"""

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bss
from bss.data.transforms.text import write_text_model
from bss.recipes.fields import flatten, plain, with_values
from bss.tasks import Task, title
from bss.training.environment import environment
from bss.training.export_file import TEXT_MODEL, is_exported, own_tensors, write_export
from bss.training.load import Checkpoint, SavedRun, read_saved
from bss.utils.errors import DataNotFoundError, RunFolderError, told_in_python
from bss.utils.filesystem import whole_folder

if TYPE_CHECKING:  # it reads pictures, and bss.export_run is importable with the core alone
    from bss.data.datasets.data_set import DataSet

KEPT = (
    *("task", "task_hash", "title", "arm", "seed", "fold", "tested_groups", "sampler", "method", "method_settings"),
    *("modalities", "samples", "lists", "corrupted", "generated", "versions", "commit"),
)
"""Fields of a run's ``config.json`` that an export keeps under their names; what a run does not tell is absent."""


@told_in_python("bss.export_run", ("out", "checkpoint", "task", "data_root"))
def export_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    checkpoint: Checkpoint = "best",
    task: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
) -> Path:
    """Write ``model.safetensors``, ``config.json`` and ``README.md`` of a run's trained network.

    ``bss.load_run(out)`` gives the same network again. A text model's shape and tokenizer come along, in
    ``text-model/``, since nothing can be read without them.

    Args:
        run: its folder.
        out: the folder to write, whole or not at all; it must not be there, or be empty.
        checkpoint: whose weights, see :data:`bss.training.load.Checkpoint`.
        task: see :func:`bss.load_run`.
        data_root: see :func:`bss.load_run`.

    Returns:
        ``out``.

    Raises:
        RunFolderError: as :func:`bss.load_run`; also for a folder that is exported already, and for an ``out`` that
            holds something or cannot be written.
        RecipeError, DataNotFoundError: as :func:`bss.load_run`.
    """
    out = Path(out)
    if is_exported(Path(run)):
        raise RunFolderError(f"{run} is an exported run already: copy the folder")
    _refuse_taken(out)
    saved = read_saved(run, checkpoint=checkpoint, task=task)
    root = saved.root(data_root)
    tensors, aliases = own_tensors(saved.build(root))
    config = _meaning(saved, saved.classes(root), checkpoint) | {"aliases": aliases}
    try:
        with whole_folder(out, replace=False) as folder:
            write_export(folder, tensors, config)
            if "text_model" in flatten(saved.recipe):
                write_text_model(str(flatten(saved.recipe)["text_model"]), root or Path.cwd(), folder / TEXT_MODEL)
            (folder / "README.md").write_text(_card(config, saved.task), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        if isinstance(error, DataNotFoundError):
            raise
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            _refuse_taken(out)
        raise RunFolderError(f"--out {out} cannot be written: {error.strerror or error}") from error
    return out


def _refuse_taken(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        what = "holds something" if out.is_dir() else "is a file"
        raise RunFolderError(f"--out {out} {what} already, and stays as it is: name another folder, or delete it")


def _meaning(saved: SavedRun, classes: tuple[str, ...], checkpoint: Checkpoint) -> dict[str, Any]:
    """What is needed to use the weights and to judge them, without the machine and its paths."""
    config, summary = saved.config, saved.summary
    task = config.get("task")
    recipe = with_values(
        saved.recipe,
        # A path outside of the data root is of use on one machine alone: its last part says what it was.
        {
            name: Path(v).name
            for name, v in flatten(saved.recipe).items()
            if isinstance(v, str) and Path(v).is_absolute()
        },
    )
    kept = {name: config[name] for name in KEPT if config.get(name) is not None}
    result = None if summary is None else summary["test"]["last" if saved.file.stem == "last" else "chosen"]
    return {
        **kept,
        "task": Path(task).name if isinstance(task, str) else None,
        "title": config.get("title") or title(saved.task, saved.recipe),
        "classes": list(classes),
        "recipe": plain(recipe),
        "checkpoint": checkpoint,
        "epoch": saved.epoch,
        "test": result,
        "chosen_on": None if summary is None else summary.get("chosen_on"),
        "exported_by": {"bss": bss.__version__, "commit": environment()["commit"]},
    }


# ---- the card ------------------------------------------------------------------------------------------------------


def _card(config: Mapping[str, Any], task: Task) -> str:
    """The README of the folder. Names from the run are escaped: the folder may come from anybody."""
    data_set: DataSet[Any] | None = getattr(task, "DATA_SET", None)
    name = _plain(config["title"])
    facts = {
        "Task": ", arm ".join(str(config[name]) for name in ("task", "arm") if config.get(name)),
        "Seed": config.get("seed"),
        "Weights": f"of epoch {config['epoch'] + 1}"
        + (
            " (chosen on the validation split)"
            if config.get("chosen_on") == "val" and config["checkpoint"] == "best"
            else ""
        ),
        "Versions": ", ".join(f"{key} {value}" for key, value in config.get("versions", {}).items() if value),
        "Commit": config.get("commit"),
        "Licence of the data": data_set.licence if data_set else "not known to the program that wrote this card",
    }
    listed = "\n".join(f"- {key}: {_plain(value)}" for key, value in facts.items() if value not in (None, ""))
    return f"""---
library_name: bss-multimodal
tags:
- multimodal
---
# {name}

A multimodal network of {len(config["classes"])} classes: {", ".join(_plain(each) for each in config["modalities"])}.
It was trained by `bss-multimodal`. `config.json` holds the class names in the order of the logits, kind and shape of
every modality, and the whole recipe. `model.safetensors` has the same text in its metadata, under `bss`.

{listed}

{"**The samples were generated: its numbers say nothing of real data.**" if config.get("generated") else ""}

## Data

{_lists(config)}

## Test

{_results(config)}

## Loading

With `safetensors` alone:

```python
import json
from safetensors import safe_open

with safe_open("model.safetensors", framework="pt") as file:
    meaning = json.loads(file.metadata()["bss"])
    tensors = {{name: file.get_tensor(name) for name in file.keys()}}
tensors |= {{name: tensors[known] for name, known in meaning["aliases"].items()}}  # what is shared is kept once
print(meaning["classes"], meaning["modalities"], meaning["recipe"])
```

With `bss-multimodal`:

```python
import bss

model, recipe, classes = bss.load_run("FOLDER"{', task="FILE.py"' if config.get("task_hash") else ""})
```

The network maps a batch, one entry per modality, to the logits of the fused head and of each modality's own head. The
prediction of the run sums the logits of the heads that `recipe.prediction` names.
"""


def _lists(config: Mapping[str, Any]) -> str:
    """The lists with their sizes and hashes, as a table."""
    lists = config.get("lists") or {name: {"count": count} for name, count in config.get("samples", {}).items()}
    rows = [
        f"| {_plain(name)} | {each.get('count')} | {each.get('hash', 'not known')} |" for name, each in lists.items()
    ]
    return "\n".join(["| split | samples | SHA-256 of names and labels |", "|---|---|---|", *rows])


def _results(config: Mapping[str, Any]) -> str:
    """The metrics of every head on the test set, as a table."""
    if config["test"] is None:
        return "The run is unfinished: its test set was not measured."
    heads = list(config["test"]["accuracy"])
    rows = [
        "| " + " | ".join([_plain(head), *(f"{values[head]:.4f}" for values in config["test"].values())]) + " |"
        for head in heads
    ]
    names = ["head", *(_plain(name) for name in config["test"])]
    count = config.get("samples", {}).get("test", "an unknown number of")
    return "\n".join(
        [f"n = {count} samples; one seed.", "", f"| {' | '.join(names)} |", "|---" * len(names) + "|", *rows]
    )


def _plain(value: object) -> str:
    """A value as a piece of a line of Markdown: no line ends, and nothing in it is markup."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>#|])", lambda found: f"&#{ord(found[0])};", text)
