"""What the flags of all commands share: how a wrong one is refused, and kinds of value that argparse does not know."""

import argparse
import sys
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses a flag's value in two lines: what is wrong with it, and where the help is."""

    def error(self, message: str) -> NoReturn:
        """End the program with status 2."""
        if not message.startswith("argument "):  # a flag that is unknown or missing: the usage lists what there is
            super().error(message)
        print(f"error: {message}\nsee {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def count(text: str) -> int:
    """A whole number of at least 0, as ``type`` of an argument."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text}") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value
