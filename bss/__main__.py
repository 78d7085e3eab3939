"""``python -m bss prepare`` makes a data root out of what was published, ``python -m bss doctor`` checks one.

``python -m bss train`` trains one arm, ``python -m bss compare`` arms against each other, and ``python -m bss report``
makes the page of runs that exist.
"""

import sys


def run() -> None:
    """The command ``bss``, which is ``python -m bss``."""
    from bss.cli.commands import main

    sys.exit(main())


if __name__ == "__main__":
    run()
