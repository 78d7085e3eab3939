"""Progress where somebody looks: on a terminal, and in a notebook, which is none."""

import io
import sys
from types import SimpleNamespace

import pytest

from bss.utils.progress import ProgressBar


def in_a(monkeypatch, shell):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_a_notebook_shows_it_in_its_output(monkeypatch):
    in_a(monkeypatch, SimpleNamespace(kernel=object()))
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    with ProgressBar(range(3), "epoch 1") as bar:
        assert list(bar) == [0, 1, 2]
    assert "epoch 1: " in out.getvalue()


@pytest.mark.parametrize("shell", [None, SimpleNamespace()], ids=["a script", "IPython on a terminal"])
def test_what_is_neither_shows_nothing(monkeypatch, shell, capsys):
    in_a(monkeypatch, shell)
    with ProgressBar(range(3), "epoch 1") as bar:
        assert list(bar) == [0, 1, 2]
    assert "epoch 1" not in "".join(capsys.readouterr())


def test_without_a_label_there_is_none_in_a_notebook_either(monkeypatch, capsys):
    in_a(monkeypatch, SimpleNamespace(kernel=object()))
    with ProgressBar(range(3), None) as bar:
        assert list(bar) == [0, 1, 2]
    assert "".join(capsys.readouterr()) == ""
