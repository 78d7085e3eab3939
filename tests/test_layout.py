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
STEMS = sorted({script.parent.name.lower() for script in SCRIPTS})

# Module of bss (first part after "bss.") -> what it must not import.
FORBIDDEN = {
    "scoring": {"scores", "samplers", "engine", "datasets", "tasks", "models"},
    "pacing": {"scores", "samplers", "engine", "datasets", "tasks", "models"},
    "samplers": {"engine", "datasets", "models", "encoders", "tasks", "recipe"},
    "models": {"engine", "samplers", "datasets", "tasks", "recipe"},
    "encoders": {"engine", "samplers", "datasets", "tasks", "recipe"},
    "fusion": {"engine", "samplers", "datasets", "tasks", "recipe"},
    "transforms": {"engine", "samplers", "models", "tasks", "recipe", "datasets"},
    "datasets": {"engine", "samplers", "models", "encoders", "tasks", "recipe", "prepare", "doctor"},
    "prepare": {"engine", "samplers", "models", "encoders", "tasks", "recipe", "doctor"},
    "integrations": {"engine", "tasks", "recipe", "datasets", "cli"},
    "hooks": {"engine", "tasks", "recipe", "datasets", "cli", "integrations"},
    "doctor": {"engine", "samplers", "models", "encoders", "tasks", "recipe"},
    "engine": {"datasets", "tasks", "encoders", "cli"},
    "loaders": {"engine", "datasets", "tasks", "encoders", "cli"},
    "loops": {"engine", "datasets", "tasks", "encoders", "cli"},
    "optimizers": {"engine", "datasets", "tasks", "encoders", "cli"},
    "order_log": {"engine", "datasets", "tasks", "encoders", "cli"},
    "recipe": {"engine", "datasets", "tasks", "samplers", "recipes"},
    "recipes": {"engine", "datasets", "tasks", "samplers", "loops", "models"},
}


def imports_of(path):
    """Every module of bss that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.split(".")[0] == "bss")


def test_the_scripts_are_found():
    assert len(SCRIPTS) >= 2


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    part = path.relative_to(ROOT / "bss").with_suffix("").parts[0]
    imported = {name.split(".")[1] for name in imports_of(path) if "." in name}
    assert not imported & FORBIDDEN.get(part, set())
    if part != "tasks":
        assert "tasks" not in imported


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
    importlib.import_module(f"bss.datasets.{stem}")
    importlib.import_module(f"bss.prepare.{stem}")
    for name in (
        "CL",
        "SPL",
        "CL_OFFICIAL",
        "SPL_OFFICIAL",
        "RELEASED_KEYS",
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
    heavy += ("lightning", "accelerate", "torchdata")
    modules = ", ".join(f"bss.tasks.{stem}" for stem in STEMS)
    code = f"import sys, bss, bss.doctor, bss.prepare, {modules}; print([m for m in {heavy} if m in sys.modules])"
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
