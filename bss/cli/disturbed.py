"""``--drop`` and ``--noise`` of ``python -m bss evaluate``: what is typed becomes what is asked for."""

import math
from collections.abc import Sequence

from bss.compare.robustness import Drops, Noise
from bss.utils.errors import RecipeError, shown


def parsed_drops(texts: Sequence[str]) -> list[Drops]:
    """Read ``audio:0,0.2,0.5,1``; ``audio+visual:0.5`` lets both go missing, each by itself.

    Raises:
        RecipeError: another form, or a share outside [0, 1].
    """
    return [_drops(text) for text in texts]


def _drops(text: str) -> Drops:
    what, _, after = text.partition(":")
    modalities = tuple(name.strip() for name in what.split("+"))
    if not all(modalities) or not after.strip() or len(set(modalities)) < len(modalities):
        raise RecipeError(f"--drop {shown(text)} is not of the form MODALITY:SHARE,SHARE, as audio:0,0.2,0.5,1")
    return Drops(modalities, tuple(sorted({_share(each, text) for each in after.split(",")})))


def _share(word: str, text: str) -> float:
    try:
        share = float(word)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise RecipeError(
            f"--drop {shown(text)}: {word.strip() or 'nothing'} is no share of the samples; give numbers from 0 (none "
            "lacks the modality) to 1 (all do)"
        )
    return share


def parsed_noise(texts: Sequence[str]) -> list[Noise]:
    """Read ``visual:1..5``, ``audio:20,0`` or ``visual.blur:all``; which levels there are, the input's kind says.

    Raises:
        RecipeError: another form.
    """
    return [_noise(text) for text in texts]


def _noise(text: str) -> Noise:
    what, _, after = text.partition(":")
    modality, dot, corruption = (word.strip() for word in what.partition("."))
    levels = tuple(word.strip() for word in after.split(","))
    if not modality or (dot and not corruption) or not all(levels):
        raise RecipeError(
            f"--noise {shown(text)} is not of the form MODALITY:LEVEL,LEVEL or MODALITY.NOISE:LEVEL, as visual:1..5, "
            "visual.blur:3 or audio:20,0"
        )
    return Noise(modality, levels, corruption or None)
