"""Damage files by a seed, read them, and count what came of it.

``python tests/fuzz.py folders|checkpoints|caches|lists --cases 500 --seed 0`` ends with ``0 tracebacks, 0 accepted with
other results``, or with exit status 1. ``--only 17`` repeats case 17 alone, with its whole message.
"""

import argparse
import importlib
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fuzzing.outcome import Outcome

KINDS = ("folders", "checkpoints", "caches", "lists")
BAD = ("traceback", "other results")


def outcomes(kind: str, folder: Path, seed: int, numbers: range) -> list[tuple[int, Outcome]]:
    """The cases of these numbers, each from its own generator: a case does not depend on those before it."""
    subject = importlib.import_module(f"tests.fuzzing.{kind}").Subject(folder)
    ended = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in tqdm(numbers, desc=kind, disable=None):
            outcome = subject.case(np.random.default_rng((seed, number)))
            ended.append((number, outcome))
            if outcome.ending in BAD:
                tqdm.write(f"case {number}: {outcome.ending}: {outcome.mutation}\n{outcome.detail}")
    return ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="N", help="this case alone")
    args = parser.parse_args()
    numbers = range(args.cases) if args.only is None else range(args.only, args.only + 1)
    with tempfile.TemporaryDirectory() as folder:
        ended = outcomes(args.kind, Path(folder), args.seed, numbers)
    if args.only is not None:
        print(*ended[0][1], sep="\n")
    counts = Counter(outcome.ending for _, outcome in ended)
    print(f"{len(ended)} cases of {args.kind}, seed {args.seed}: {counts['same']} same, {counts['refused']} refused")
    print(f"{counts['traceback']} tracebacks, {counts['other results']} accepted with other results")
    return int(any(counts[ending] for ending in BAD))


if __name__ == "__main__":
    sys.exit(main())
