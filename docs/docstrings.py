"""Makes Markdown of our docstrings for the site: they are read in editors and by help() first."""

import re
from typing import Any

import griffe


class AsMarkdown(griffe.Extension):
    """Roles become plain code, and a text that begins with ``>`` no quotation."""

    def on_object(self, *, obj: griffe.Object, **others: Any) -> None:
        """Change the docstring of whatever was read."""
        if obj.docstring is not None:
            text = re.sub(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`", r"`\1`", obj.docstring.value)
            obj.docstring.value = re.sub(r"(?m)^( *\w+: )>", r"\1\\>", text)
