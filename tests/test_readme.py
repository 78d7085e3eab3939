"""The README says what is true: its code runs, its commands and links exist."""

import importlib
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("[A-Z]*/README.md"))]
GUIDES = [ROOT / "examples" / "README.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
TEXT = (ROOT / "README.md").read_text()


def test_the_quickstart_runs_as_it_stands(tmp_path):
    loop, curriculum = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    check = "sampler.set_epoch(0)\nassert len(sampler) == 32"  # floor(256 * 0.186) = 47, in whole batches
    code = f"{loop}\n{curriculum}\n{check}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stem", ["ks", "cremad", "sarcasm", "twitter15", "nvgesture"])
def test_the_table_of_presets_is_what_the_recipes_say(stem):
    from bss.recipes.fields import flatten
    from bss.recipes.recipe import Recipe, SelfPacedSchedule

    presets = importlib.import_module(f"bss.recipes.{stem}").SPL_PRESETS
    lines = re.search(r"\| of SPL \|.*?\n\n", TEXT, re.DOTALL)[0].strip().splitlines()
    head, _, *rows = [line.strip("|").split("|") for line in lines]
    columns = [next(name for name in presets if name in cell) for cell in head[1:]]
    assert sorted(columns) == sorted(presets)
    compared, told = 0, set()
    for row in rows:
        told |= set(re.findall(r"`(\w+)=", "".join(row)))
        otherwise = "twitter15" if "Twitter15 as released" in row[0] else None
        if stem == otherwise or ("CREMA-D's loss" in row[0] and stem != "cremad"):
            continue
        for name, cell in zip(columns, row[1:], strict=True):
            known = {path.rpartition(".")[2]: str(value) for path, value in flatten(presets[name]).items()}
            for field, value in re.findall(r"`(\w+)=([^`]+)`", cell):
                compared += 1
                assert known[field] == value, (row[0], field)
    assert compared >= 18
    # Of what every data set has, nothing else differs but what the sentence above the table names.
    shared = {each.name for kind in (Recipe, SelfPacedSchedule) for each in fields(kind)}
    flat = [flatten(preset) for preset in presets.values()]
    differing = {path.rpartition(".")[2] for path in flat[0] if any(each[path] != flat[0][path] for each in flat)}
    assert differing & shared - told == {"twitter15": {"order"}, "nvgesture": {"floor"}}.get(stem, set())


def test_the_two_set_up_commands_are_the_ones_that_ci_takes():
    commands = [line for line in TEXT.splitlines() if line.startswith("pip install ")]
    assert len(commands) == 2
    assert commands[0].endswith("python CREMAD/train-CL.py --sample")
    assert commands[1].endswith("python -m pytest")
    assert "^pip install " in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("page", PAGES + GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_scripts_of_a_page_exist(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)]+)\)", prose) if not link.startswith("http")]
    scripts = re.findall(r"^(?:.*&& )?python (\S+\.py)", page.read_text(), flags=re.MULTILINE)
    for name in (link.partition("#")[0] for link in links):
        assert (page.parent / name).exists(), name
    for name in scripts:
        assert any((folder / name).exists() for folder in (page.parent, ROOT / "CREMAD", ROOT)), name


def test_a_page_that_stands_in_the_site_as_well_has_no_link_that_holds_in_one_place_only():
    taken = [
        ROOT / name for page in ROOT.glob("docs/**/*.md") for name in re.findall(r'--8<-- "(.+)"', page.read_text())
    ]
    assert len(taken) == 5
    for page in taken:
        links = re.findall(r"\]\(([^)]+)\)", page.read_text())
        assert all(link.startswith("http") for link in links), (page, links)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_recipe_fields_that_a_page_sets_exist(page):
    from bss.recipes.fields import flatten, override

    stem = "cremad" if page.parent == ROOT else page.parent.name.lower()
    task = importlib.import_module(f"bss.tasks.{stem}")
    text = page.read_text()
    fields = re.findall(r"--set (\w[\w.]*=[\w./-]*\w)", text) + re.findall(r"`(\w[\w.]*=[\w./-]+)`", text)
    assert fields
    known = {**flatten(task.SPL), **flatten(task.CL)}
    for field in fields:
        name = field.partition("=")[0]
        names = [path for path in known if name in (path, path.rpartition(".")[2])]
        assert len(names) == 1, field
        recipe = task.SPL if names[0] in flatten(task.SPL) else task.CL
        override(recipe, [field])  # a value that is not allowed raises


@pytest.mark.parametrize("page", PAGES + GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_flags_and_arms_of_commands_exist(page):
    from bss.cli import commands
    from bss.compare.arms import find

    for line in re.findall(r"^python -m bss (\w.*)", page.read_text(), flags=re.MULTILINE):
        flags = commands._parser().parse_args(shlex.split(line, comments=True))
        find(flags.arms.split(",") if flags.command == "compare" else [flags.arm] if flags.command == "train" else [])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_data_sets_that_a_page_prepares_exist(page):
    commands = re.findall(r"^python -m bss (prepare|doctor) (\S+)", page.read_text(), flags=re.MULTILINE)
    assert page.parent == ROOT or {command for command, _ in commands} == {"prepare", "doctor"}
    for _, stem in commands:
        for room in ("prepare", "datasets"):
            assert (ROOT / "bss" / "data" / room / f"{stem}.py").exists()
