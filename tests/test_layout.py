"""The shape of the project: imports point one way, scripts are wiring, nothing names a machine."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "bss").rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*/train-*.py"))
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
STEMS = sorted({script.parent.name.lower() for script in SCRIPTS})

ROOMS = {"cli", "compare", "training", "integrations", "tasks", "methods", "samplers"}
ROOMS |= {"scoring", "models", "data", "recipes", "pacing", "utils"}


def imports_of(path):
    """Every module of bss that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.startswith("bss."))


def test_the_scripts_are_found():
    assert len(SCRIPTS) >= 2


def test_the_root_of_the_library_has_thirteen_rooms_and_contributing_says_what_each_admits():
    entries = {path.stem for path in (ROOT / "bss").iterdir() if path.suffix in ("", ".py")}
    assert {entry for entry in entries if not entry.startswith("_")} == ROOMS
    admitted = re.findall(r"^- `(\w+)(?:/|\.py)`: \w.+\.$", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    assert len(admitted) == len(ROOMS) and set(admitted) == ROOMS


def test_imports_point_one_way_by_the_contracts_in_pyproject():
    """As .ci/run does; a new file at the root of bss/ breaks the first contract."""
    done = subprocess.run([sys.executable, "-c", LINT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and " 0 broken" in done.stdout, done.stdout


def test_nothing_in_the_library_imports_a_task_but_by_the_name_that_a_user_typed():
    tasks = {path.stem for path in (ROOT / "bss" / "tasks").glob("[a-z]*.py")}
    for path in LIBRARY:
        named = {name.split(".")[2] for name in imports_of(path) if name.startswith("bss.tasks.")}
        assert path.parent.name == "tasks" or not named & tasks, path


def test_the_template_of_a_task_imports_public_paths_only():
    """What README tells users to copy must not break when an inner module moves."""
    public = re.findall(r"^- `(bss[\w.]*)`", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    assert "bss.models" in public
    for name in ("mfeat", "digits"):
        tree = ast.parse((ROOT / "benchmarks" / "study" / f"{name}.py").read_text())
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {module for module in modules if module.split(".")[0] == "bss"} <= set(public)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_is_wiring_only(script):
    tree = ast.parse(script.read_text())
    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While, ast.Lambda, ast.ListComp, ast.Try)
    assert not [node for node in ast.walk(tree) if isinstance(node, logic)]
    statements = script.read_text().replace(ast.get_docstring(tree, clean=False), "").splitlines()
    assert len([line for line in statements if line.strip()]) <= 17


@pytest.mark.parametrize("stem", STEMS)
def test_every_folder_has_its_task_data_set_both_scripts_and_readme(stem):
    folder = next(script.parent for script in SCRIPTS if script.parent.name.lower() == stem)
    assert {"train-CL.py", "train-SPL.py", "README.md"} <= {path.name for path in folder.iterdir()}
    task = importlib.import_module(f"bss.tasks.{stem}")
    importlib.import_module(f"bss.recipes.{stem}")
    importlib.import_module(f"bss.data.datasets.{stem}")
    importlib.import_module(f"bss.data.prepare.{stem}")
    importlib.import_module(f"bss.data.synthetic.{stem}")
    for name in (
        "CL",
        "SPL",
        "CL_OFFICIAL",
        "SPL_OFFICIAL",
        "build_data",
        "build_model",
        "sample_recipe",
        "write_sample",
    ):
        assert hasattr(task, name), f"bss/tasks/{stem}.py lacks {name}"


def test_no_file_names_a_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    pattern = re.compile(r"['\"\s(]/(?:home|root|workspace|work|mnt|data\d*)/\w")
    files = [ROOT / name for name in listed if name.endswith((".py", ".md", ".toml", ".txt", "run"))]
    assert files
    assert not [str(path) for path in files if path.exists() and pattern.search(path.read_text())]


def test_importing_the_library_loads_nothing_heavy():
    heavy = ("librosa", "sklearn", "scipy", "torchaudio", "soundfile", "soxr", "transformers", "cv2", "av", "pandas")
    heavy += ("matplotlib", "numba", "lightning", "accelerate", "torchdata")
    modules = ", ".join(f"bss.tasks.{stem}" for stem in STEMS)
    code = f"import sys, bss.data.doctor, bss.data.prepare, {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [*SCRIPTS, "-m"], ids=lambda path: "bss" if path == "-m" else path.parent.name)
def test_help_does_not_wait_for_pytorch(command):
    words = [sys.executable, "-X", "importtime", *(["-m", "bss"] if command == "-m" else [str(command)]), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--help" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported and not imported & {"torch", "numpy"}


def test_every_public_name_is_exported_and_documented():
    import bss

    for name in bss.__all__:
        assert getattr(bss, name).__doc__, name
