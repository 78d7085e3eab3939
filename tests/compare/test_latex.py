"""A paper's table: its cells by hand, names that mean something in LaTeX, and braces and columns that come out even."""

import re
import shutil
import subprocess

import pytest

from bss.cli.commands import main
from bss.compare import figures
from bss.compare.latex import as_latex, escaped
from bss.compare.runs import find_folders, read_runs
from bss.compare.tables import results_of
from tests.compare.comparing import fail_run, write_run

LISTS = {"test": {"hash": "a" * 16, "count": 30, "commonest_class_accuracy": 0.1}}
ODD = '50%_of $a^2$ & {b} \\x #1 ~<|>"[c]'


def table_of(folder):
    runs, failed, left_out = read_runs(find_folders([folder]))
    return as_latex(results_of(runs, failed=failed, left_out=left_out))


@pytest.fixture
def folder(tmp_path):
    """An odd arm that is 1, 2 and 3 points above uniform order."""
    for arm, values in {"uniform": (0.5, 0.6, 0.7), ODD: (0.51, 0.62, 0.73)}.items():
        for seed, accuracy in enumerate(values):
            name = "odd" if arm == ODD else arm
            write_run(tmp_path / name / f"seed{seed}", arm=arm, seed=seed, accuracy=accuracy, lists=LISTS)
    return tmp_path


def test_a_row_has_number_mean_and_paired_difference_of_both_epochs(folder):
    rows = [line for line in table_of(folder).splitlines() if line.startswith(("uniform", "50"))]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)&", row.removesuffix(r"\\"))] for row in rows]
    own = ["3", r"60.0 $\pm$ 10.0", ""]
    assert cells[0] == ["uniform", *own, *own]
    assert cells[1][1:] == ["3", r"62.0 $\pm$ 11.0", "+2.0 {[}$-$0.5, +4.5{]}"] * 2


def test_every_character_that_means_something_stands_for_itself():
    assert escaped(r"50%_of $a^2$ & {b} \x #1") == (r"50\%\_of \$a\textasciicircum{}2\$ \& \{b\} \textbackslash{}x \#1")
    assert escaped('~<|>"[c]') == r"\textasciitilde{}\textless{}\textbar{}\textgreater{}''{[}c{]}"
    assert escaped("\u22121.2 \u00b1 3") == r"$-$1.2 $\pm$ 3"


def test_braces_dollars_environments_and_columns_come_out_even(folder):
    text = table_of(folder)
    bare = re.sub(r"\\[\\&%$#_{}]", lambda found: "\n" if found.group() == r"\\" else " ", text)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1] == ["table", "tabular"]
    body = [line for line in bare.split(r"\midrule")[1].split(r"\bottomrule")[0].splitlines() if line.strip()]
    assert len(body) == 2 and {line.count("&") for line in body} == {6}
    assert "%" not in bare.partition("\n")[2]  # a comment would swallow the rest of its line


def test_the_caption_says_how_it_was_come_by(folder):
    assert "Exploratory: no plan was written before the runs." in table_of(folder)
    fail_run(folder / "odd" / "seed2")
    text = table_of(folder)
    assert "1 failed run at the accuracy of the training set's commonest class included." in text
    assert r"41.0 $\pm$" in text  # 51, 62 and 10


@pytest.mark.parametrize("flags", [[], ["--format", "latex"]], ids=["as usual", "latex"])
def test_report_writes_it_where_it_is_asked_for(folder, tmp_path, capsys, monkeypatch, flags):
    monkeypatch.setattr(figures, "_svg", lambda figure, name: "<svg></svg>")
    assert main(["report", str(folder), "--out", str(tmp_path / "page"), *flags]) == 0
    names = ["table.md", "table.csv", *(["table.tex"] if flags else []), "report.html"]
    assert {path.name for path in (tmp_path / "page").iterdir()} == set(names)
    lines = capsys.readouterr().out.splitlines()
    assert ", ".join(str(tmp_path / "page" / name) for name in names) in lines
    assert lines[-1].startswith(ODD)  # the table comes last
    if flags:
        assert (tmp_path / "page" / "table.tex").read_text() == table_of(folder)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_reads_it(folder, tmp_path):
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}\begin{document}"
    (tmp_path / "paper.tex").write_text(head + table_of(folder) + r"\end{document}")
    subprocess.run(["pdflatex", "-halt-on-error", "paper.tex"], cwd=tmp_path, check=True, capture_output=True)
