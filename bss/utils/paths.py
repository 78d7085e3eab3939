"""Paths as people type them: a shell expands ``~`` and ``$VAR``, but not behind a ``=``, and not in a file."""

import os
import re

from bss.utils.errors import RecipeError

_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


def expanded(text: str) -> str:
    """A path with ``~`` and ``~NAME`` at its beginning, ``$VAR`` and ``${VAR}`` replaced by what they stand for.

    Args:
        text: a path, or a name that may be one.

    Raises:
        RecipeError: a variable that is not set, or a user who is not known here: it is named.
    """

    def value_of(found: re.Match[str]) -> str:
        name = found[1] or found[2] or ""
        if name not in os.environ:
            raise RecipeError(
                f"{text}: the environment variable {name or found[0]} is not set: set it, or write it out"
            )
        return os.environ[name]

    path = _VARIABLE.sub(value_of, text) if "$" in text else text
    if not path.startswith("~"):
        return path
    home = os.path.expanduser(path)
    if home == path:
        user = re.split(r"[/\\]", path)[0]
        raise RecipeError(
            f"{text}: no home folder is known of {user}: write it out, or ./{user} for a folder of that name"
        )
    return home
