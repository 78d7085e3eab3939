"""Real processes that start in a moment: forked from one that has imported everything, each can be killed alone."""

import contextlib
import multiprocessing
import os
import sys
import traceback
from pathlib import Path

PRELOADED = [
    "tests.training.ddp_worker",
    "tests.training.kill_worker",
    "sklearn.metrics",
    "sklearn.model_selection",
    "scipy.stats",
]


def start(function, *arguments, environment=None, said=None):
    """A process that runs ``function(*arguments)``, with variables set and what it prints in the file ``said``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_run, args=(function, arguments, environment or {}, said))
    process.start()
    return process


def _run(function, arguments, environment, said):
    multiprocessing.set_start_method("fork", force=True)  # for loaders: what a script's are started with
    os.environ.update(environment)
    if said is not None:
        Path(said).parent.mkdir(parents=True, exist_ok=True)
        sys.stdout = sys.stderr = open(said, "w", buffering=1)
    with contextlib.ExitStack() as stack:
        if said is not None:
            stack.callback(sys.stdout.flush)
        try:
            function(*arguments)
        except Exception:
            traceback.print_exc()
            sys.stdout.flush()
            os._exit(1)
