"""The shape of the project: imports point one way, scripts are wiring, nothing names a machine."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import conftest

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
        "CL_PAPER",
        "SPL_PAPER",
        "build_data",
        "build_list",
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


def test_files_whose_tests_stay_together_are_where_the_list_says():
    """One that had moved was split over two processes, each of which made what is expensive."""
    places = [ROOT / "tests" / place for place in conftest.LONG]
    assert places and not [place for place in places if not place.exists()]


def test_every_public_name_is_exported_and_documented():
    import bss

    for name in bss.__all__:
        assert getattr(bss, name).__doc__, name


def test_a_commit_is_checked_by_the_commands_of_ci():
    yaml = pytest.importorskip("yaml")
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    checks = [line for line in lines if line.split(maxsplit=1)[:1] in (["ruff"], ["lint-imports"], ["mypy"])]
    assert local["repo"] == "local" and len(checks) == 4
    assert [hook["entry"] for hook in local["hooks"]] == checks
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in local["hooks"])


# ---- types ---------------------------------------------------------------------------------------------------------

GATE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
MAY_SAY_ANY = {
    "bss/training": "the whole room: JSON, checkpoints and other people's batches pass through it",
    "batch": "a user's collate decides what a batch holds",
    "loader": "it yields such batches",
    "calibration": "so does it",
    "before_forward": "returns such a batch",
    "state_dict": "what a user's own method keeps, as of torch's modules",
    "load_state_dict": "takes it back",
    "sampler_options": "keyword arguments of every type, which the samplers check",
    "released": "fields of every type, which the recipe checks",
    "recipe": "fields of every type, as config.json holds them",
    "opened": "makes the recipe of it",
}
"""Rooms, arguments and functions whose types may be Any, and why."""


def public_functions(body):
    """The functions and methods that a user calls, or replaces in a class of their own."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, ast.FunctionDef) and (node.name.startswith("__") or not node.name.startswith("_")):
            yield node


def says_any(annotation):
    """Whether an annotation, or a part of it, is Any; one in quotes is read as well."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval")
    return annotation is not None and any(
        "Any" in (getattr(node, "id", None), getattr(node, "attr", None)) for node in ast.walk(annotation)
    )


def signatures_with_any(source):
    """Names of the public functions whose result is Any, or made of it, and of such arguments."""
    for function in public_functions(ast.parse(source).body):
        given = function.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        named = [(argument.arg, argument.annotation) for argument in arguments if argument is not None]
        for name, annotation in [*named, (function.name, function.returns)]:
            if function.name not in MAY_SAY_ANY and name not in MAY_SAY_ANY and says_any(annotation):
                yield f"{function.name}: {name}"


def test_the_package_says_that_it_has_types_and_what_the_gate_names_exists():
    assert (ROOT / "bss" / "py.typed").is_file() and '"py.typed"' in (ROOT / "pyproject.toml").read_text()
    assert GATE and not [name for name in GATE if not (ROOT / name).exists()]
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "mypy"


def test_few_complaints_about_types_are_passed_over():
    lines = [line for path in LIBRARY for line in path.read_text().splitlines() if "# type: ignore" in line]
    assert len(lines) <= 10


def test_a_gated_room_says_what_each_of_its_public_functions_takes_and_returns():
    private = "class A:\n def m(self) -> 'dict[str, Any]': ...\n def _n(self, c: Any): ..."
    assert list(signatures_with_any(f"def of(a: int, *b: Any): ...\n{private}")) == ["of: b", "m: m"]
    rooms = [ROOT / name for name in GATE if name not in MAY_SAY_ANY]
    files = [path for room in rooms for path in (room.rglob("*.py") if room.is_dir() else [room])]
    found = {str(path): names for path in files if (names := list(signatures_with_any(path.read_text())))}
    assert found == {}


def test_every_text_file_is_opened_with_an_encoding():
    """Windows and the C locale have others; ruff's PLW1514 sees only what it knows to be a path."""
    without = []
    for path in LIBRARY + SCRIPTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            mode = next((word.value for word in node.keywords if word.arg == "mode"), None)
            mode = node.args[1] if name == "open" and isinstance(node.func, ast.Name) and len(node.args) > 1 else mode
            binary = isinstance(mode, ast.Constant) and "b" in mode.value
            of_path = isinstance(node.func, ast.Attribute)
            text = (name == "open" and not of_path) or (name in ("read_text", "write_text") and of_path)
            if text and not binary and not any(word.arg == "encoding" for word in node.keywords):
                without.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not without


def test_a_checkout_has_the_same_bytes_on_every_system():
    """A Windows one would end lines in CRLF: bash runs no such script, and golden files would differ."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        described, _, name = line.partition("\t")
        stored, _, attributes = described.split(maxsplit=2)
        binary = name.endswith((".pt", ".npz", ".gz", ".raw", ".png", ".jpg", ".wav"))
        assert stored in (("i/-text", "i/none") if binary else ("i/lf", "i/none")), line
        assert attributes.strip() == ("attr/-text" if binary else "attr/text=auto eol=lf"), line
