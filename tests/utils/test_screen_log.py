"""What is said on the screen is in a file as it is said."""

import contextlib
import io
import sys

import pytest
from tqdm import tqdm

from bss.utils.errors import DataError, RunHeldError
from bss.utils.interrupts import Interrupted
from bss.utils.screen_log import kept


class Terminal(io.StringIO):
    def isatty(self):
        return True


@contextlib.contextmanager
def on_terminals():
    """Output and errors of the block; no fixture: pytest puts its own streams back between a fixture and the test."""
    with contextlib.redirect_stdout(Terminal()) as out, contextlib.redirect_stderr(Terminal()) as err:
        yield out, err


def test_lines_are_in_the_file_as_they_are_said_and_on_the_screen(tmp_path, capsys):
    path = tmp_path / "log.txt"
    path.write_text("before\n")
    with kept(path, screen=True):
        print("epoch 1")
        assert path.read_text() == "before\nepoch 1\n"
        print("half", end="")
        print("one", file=sys.stderr)
        print(" a line")
    assert path.read_text().splitlines()[:4] == ["before", "epoch 1", "one", "half a line"]
    said = capsys.readouterr()
    assert said.out == "epoch 1\nhalf a line\n" and said.err == "one\n"


def test_a_progress_bar_is_on_the_screen_alone(tmp_path):
    with on_terminals() as (out, err), kept(tmp_path / "log.txt", screen=True):
        for step in tqdm(range(3), desc="steps", leave=False, mininterval=0):
            tqdm.write(f"step {step}")
        print("\x1b[31mred\x1b[0m")
    assert (tmp_path / "log.txt").read_text() == "step 0\nstep 1\nstep 2\nred\n"
    assert "steps:" in err.getvalue() and "step 2" in out.getvalue()


def test_without_a_screen_nothing_is_printed_and_nothing_is_a_terminal(tmp_path):
    with on_terminals() as (out, _), kept(tmp_path / "log.txt", screen=False):
        assert not sys.stderr.isatty()
        print("epoch 1")
        sys.stdout.flush()
    assert (out.getvalue(), (tmp_path / "log.txt").read_text()) == ("", "epoch 1\n")


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (DataError("clip.wav: broken"), "bss.utils.errors.DataError: clip.wav: broken\n"),
        (Interrupted(15), "bss.utils.interrupts.Interrupted: SIGTERM\n"),
        (RunHeldError("taken over"), ""),
        (ZeroDivisionError("odd"), "Traceback (most recent call last):\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_why_it_ended_is_the_last_word(tmp_path, error, logged):
    with pytest.raises(type(error)), kept(tmp_path / "log.txt", screen=True):
        print("epoch 1")
        raise error
    first, rest = (tmp_path / "log.txt").read_text().split("\n", 1)
    assert first == "epoch 1" and (rest.startswith(logged) if "Traceback" in logged else rest == logged)


def test_an_error_before_anything_was_said_leaves_no_file(tmp_path):
    with pytest.raises(DataError), kept(tmp_path / "log.txt", screen=True):
        raise DataError("no data")
    assert not (tmp_path / "log.txt").exists()


def test_a_full_disk_ends_nothing_by_its_log(tmp_path, capsys):
    with kept(tmp_path / "none" / "log.txt", screen=True):
        print("epoch 1")
    assert capsys.readouterr().out == "epoch 1\n"


def test_what_a_note_says_to_python_is_not_in_the_file(tmp_path):
    error = DataError("pass another --out")
    error.add_note("In Python: ...")
    with pytest.raises(DataError), kept(tmp_path / "log.txt", screen=True):
        print("begun")
        raise error
    assert (tmp_path / "log.txt").read_text() == "begun\nbss.utils.errors.DataError: pass another --out\n"
