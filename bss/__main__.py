"""``python -m bss prepare`` makes a data root out of what was published, ``python -m bss doctor`` checks one.

``python -m bss train`` trains one arm, ``python -m bss compare`` arms against each other, and ``python -m bss report``
makes the page of runs that exist. ``python -m bss evaluate`` measures a trained network, ``python -m bss predict``
names the classes of raw files, and ``python -m bss export`` hands the network on.
"""

import sys

from bss.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
