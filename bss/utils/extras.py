"""What of the package's requirements is not installed: the core needs little, and each extra is for a part of the rest.

``pip install bss-multimodal`` brings the formulas, samplers, table, hooks and adapters. Training, data sets and reports
need an extra, and say so in one line before they begin.
"""

import importlib.util
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
        "typing_extensions": "typing-extensions",
    },
    "text": {"transformers": "transformers"},
    "video": {"cv2": "opencv-python-headless", "av": "av"},
    "report": {"matplotlib": "matplotlib", "librosa": "librosa"},
    "frameworks": {"lightning": "lightning", "accelerate": "accelerate", "torchdata": "torchdata"},
}
"""Extra -> what it brings: name in an import -> name of the distribution."""


def need(what: str, *extras: str) -> None:
    """Refuse to begin where a package of an extra is missing; nothing is imported.

    Args:
        what: begins the line: ``"training"``.
        extras: names in :data:`EXTRAS`.

    Raises:
        MissingExtraError: naming the packages, and the command that installs them.
    """
    missing = {extra: [name for module, name in EXTRAS[extra].items() if not _found(module)] for extra in extras}
    lacking = [extra for extra in extras if missing[extra]]
    if lacking:
        names = ", ".join(name for extra in lacking for name in missing[extra])
        raise MissingExtraError(f"{what} needs packages that are not installed ({names}): {_command(lacking)}")


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
