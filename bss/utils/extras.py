"""What of the package's requirements is not installed: the core needs little, and each extra is for a part of the rest.

``pip install bss-multimodal`` brings the formulas, samplers, table, hooks and adapters. Training, data sets and reports
need an extra, and say so in one line before they begin.
"""

import functools
import importlib.util
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from bss.utils.errors import MissingExtraError

DISTRIBUTION = "bss-multimodal"
"""What pip knows the package by; ``bss`` is another project's name there."""


EXTRAS: Mapping[str, Mapping[str, str]] = {
    "train": {
        "scipy": "scipy",
        "sklearn": "scikit-learn",
        "pandas": "pandas",
        "torchvision": "torchvision",
        "soundfile": "soundfile",
        "soxr": "soxr",
        "PIL": "pillow",
        "simplejpeg": "simplejpeg",
        "safetensors": "safetensors",
        "typing_extensions": "typing-extensions",
    },
    "text": {"transformers": "transformers"},
    "video": {"cv2": "opencv-python-headless", "av": "av"},
    "report": {"matplotlib": "matplotlib", "librosa": "librosa", "jinja2": "jinja2"},
    "frameworks": {"lightning": "lightning", "accelerate": "accelerate", "torchdata": "torchdata"},
}
"""Extra -> what it brings: name in an import -> name of the distribution."""


def need(what: str, *extras: str) -> None:
    """Refuse to begin where a package of an extra is missing; nothing is imported.

    Args:
        what: begins the line: ``"training"``.
        extras: names in :data:`EXTRAS`.

    Raises:
        MissingExtraError: naming the packages, and the command that installs them; also those that are too old.
    """
    missing = {extra: [name for module, name in EXTRAS[extra].items() if not _found(module)] for extra in extras}
    lacking = [extra for extra in extras if missing[extra]]
    if lacking:
        names = ", ".join(name for extra in lacking for name in missing[extra])
        raise MissingExtraError(f"{what} needs packages that are not installed ({names}): {_command(lacking)}")
    refuse_old(*extras)


@functools.cache  # a comparison asks for every run; a refusal is made anew
def refuse_old(*extras: str) -> None:
    """Refuse to run with a package that is older than the oldest that this one was tested with.

    pip sees to that when it installs this package, but not when something older is installed later. Nothing is
    imported; a clone that is not installed says nothing of what it needs, and passes.

    Args:
        extras: names in :data:`EXTRAS`, whose packages are looked at beside those of the core.

    Raises:
        MissingExtraError: naming the packages with both versions, and the command that brings newer ones.
    """
    old = []
    try:
        requirements = metadata.requires(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:
        return
    for requirement in requirements:
        found = re.match(r"([\w.-]+)>=([\d.]+)(?:; extra == [\"']([\w-]+)[\"'])?$", requirement.replace(" ;", ";"))
        if found is None or (found[3] and found[3] not in extras):
            continue
        try:
            installed = metadata.version(found[1])
        except metadata.PackageNotFoundError:
            continue  # another distribution may bring the module: opencv-python for opencv-python-headless
        if _release(installed) < _release(found[2]):
            old.append((found[1], installed, found[2]))
    if old:
        names = ", ".join(f"{name} {installed} is installed, {least} is the oldest" for name, installed, least in old)
        command = " ".join(f"'{name}>={least}'" for name, _, least in old)
        raise MissingExtraError(f"too old for {DISTRIBUTION} ({names}): pip install {command}")


def _release(version: str) -> tuple[int, ...]:
    """The numbers with which a version begins, without zeros at the end: (2, 6) for ``"2.6.0+cpu"``."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    release = [int(number) for number in numbers[0].split(".")] if numbers else []
    while release and release[-1] == 0:
        release.pop()
    return tuple(release)


def advice(module: str | None) -> str:
    """The command that installs a module that an import did not find; empty where no extra brings it."""
    lacking = [extra for extra, modules in EXTRAS.items() if module and module.partition(".")[0] in modules]
    return _command(lacking[:1]) if lacking else ""


def _command(extras: Iterable[str]) -> str:
    return f"pip install '{DISTRIBUTION}[{','.join(extras)}]'"


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a module without a spec is there: a test's, or a notebook's
        return True


def refuse_other_distribution(init: Path) -> None:
    """Refuse to run where another project's package of this name has written into our folder.

    The distribution ``bss`` on the index is another project (statistics of brain images). Its files lie in the same
    folder ``bss`` of an environment, and whichever is installed last has the ``__init__.py``.

    Args:
        init: our ``bss/__init__.py``.

    Raises:
        MissingExtraError: it is installed in the same place.
    """
    try:
        other = metadata.distribution("bss")
    except metadata.PackageNotFoundError:
        return
    if "Balance-aware" in (other.metadata["Summary"] or ""):
        return  # what this package was called before, whose bss.egg-info still lies in a clone
    files = other.files or ()
    if any(Path(str(other.locate_file(file))).resolve() == init.resolve() for file in files):
        raise MissingExtraError(
            f"another project's package, bss {other.version}, has written into the same folder {init.parent}: "
            f"pip uninstall bss, then pip install --force-reinstall --no-deps {DISTRIBUTION}"
        )
