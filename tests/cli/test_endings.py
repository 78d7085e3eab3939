"""What a command says arrives, whatever the terminal can show."""

import os
import subprocess
import sys
from contextlib import redirect_stdout

import pytest

from bss.cli import commands, endings


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_a_terminal_cannot_show_is_escaped_and_ends_nothing(encoding, tmp_path):
    """A minus sign (U+2212) of a significant difference ended a report after all its work."""
    program = """
import sys
from bss.cli import endings
endings.let_output_pass()
print("difference \u2212 1.5, folder \u03a9")
print("done \u2212", file=sys.stderr)
"""
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=env, check=True)
    assert done.stdout.decode(encoding).strip() == "difference \\u2212 1.5, folder \\u03a9"
    assert done.stderr.decode(encoding).strip() == "done \\u2212"


def test_a_folder_that_the_locale_cannot_write_is_named_by_an_escape(tmp_path):
    folder = tmp_path / "\u03a9"
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-m", "bss", "doctor", "cremad", str(folder)]
    done = subprocess.run(command, capture_output=True, env=env)
    assert done.returncode == 2 and b"\\u03a9" in done.stderr and b"Traceback" not in done.stderr


@pytest.fixture
def unread():
    """An output whose reader has closed it."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        yield stream


@pytest.mark.parametrize("ending", [None, SystemExit(0), SystemExit(2)], ids=["returned", "help", "error"])
@pytest.mark.parametrize("text", ["a line\n", "a page\n" * 10_000], ids=["line", "page"])
def test_a_command_ends_quietly_when_the_reader_of_its_output_has_closed_it(unread, text, ending):
    with redirect_stdout(unread), pytest.raises(SystemExit) as ended, endings.quiet_if_unread():
        print(text)
        if ending is not None:
            raise ending
    assert ended.value.code == 141
    print("what Python writes at its end goes nowhere", file=unread, flush=True)


@pytest.mark.parametrize("flags", [["train", "--help"], ["clean", "cache", "."]], ids=["help", "clean"])
def test_every_command_does(unread, flags):
    with redirect_stdout(unread), pytest.raises(SystemExit) as ended:
        commands.main(flags)
    assert ended.value.code == 141


def test_another_broken_pipe_is_an_error_like_any(capsys):
    with pytest.raises(BrokenPipeError), endings.quiet_if_unread():
        raise BrokenPipeError("to a loader")
