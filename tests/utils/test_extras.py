"""What is not installed is said in a line, with the extra that brings it, before anything begins."""

import importlib.util
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import bss
from bss.cli import commands, endings
from bss.utils import extras
from bss.utils.errors import MissingExtraError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = {"torch", "numpy", "tqdm", "lazy_loader"}


def names_of(requirements):
    return {requirement.partition(">=")[0].partition("[")[0] for requirement in requirements}


@pytest.fixture
def without(monkeypatch):
    """Take modules away, as if they were not installed."""

    def take(*modules):
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else found(name))

    return take


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_the_table_of_extras_is_that_of_the_package(extra):
    assert set(extras.EXTRAS[extra].values()) <= names_of(PROJECT["optional-dependencies"][extra])
    assert PROJECT["name"] == extras.DISTRIBUTION


def test_all_is_every_extra_of_a_user():
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert set(everything.partition("[")[2].rstrip("]").split(",")) == set(extras.EXTRAS)
    assert {name.replace("-", "_") for name in names_of(PROJECT["dependencies"])} == CORE


def test_what_is_there_is_no_reason_to_stop(monkeypatch):
    asked = []
    monkeypatch.setattr(extras, "_found", lambda module: asked.append(module) or True)
    extras.need("training", "train", "video")
    assert asked == [*extras.EXTRAS["train"], *extras.EXTRAS["video"]]


def test_a_missing_package_is_named_with_the_command_that_brings_it(without):
    without("scipy", "sklearn", "cv2")
    with pytest.raises(MissingExtraError) as caught:
        extras.need("a run", "train", "text", "video")
    assert str(caught.value) == (
        "a run needs packages that are not installed (scipy, scikit-learn, opencv-python-headless): "
        "pip install 'bss-multimodal[train,video]'"
    )
    assert isinstance(caught.value, ImportError)


def test_an_import_that_fails_ends_a_command_in_one_line(capsys):
    assert endings.status_of(ModuleNotFoundError("no", name="PIL.Image")) == 2
    assert capsys.readouterr().err == "error: PIL.Image is not installed: pip install 'bss-multimodal[train]'\n"


def test_an_import_that_fails_by_a_bug_keeps_its_traceback():
    with pytest.raises(ModuleNotFoundError):
        endings.status_of(ModuleNotFoundError("no", name="bss.nothing"))


def test_another_projects_package_in_the_same_folder_is_named(tmp_path, monkeypatch):
    """The distribution bss on the index holds a bss/__init__.py of its own."""
    ours = tmp_path / "bss" / "__init__.py"
    ours.parent.mkdir()
    ours.touch()
    info = tmp_path / "bss-0.9.4.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bss\nVersion: 0.9.4\n")
    (info / "RECORD").write_text("bss/__init__.py,,\n")
    monkeypatch.setattr(metadata, "distribution", lambda name: metadata.PathDistribution(info))
    with pytest.raises(MissingExtraError, match=r"bss 0\.9\.4, has written into the same folder .*pip uninstall bss"):
        extras.refuse_other_distribution(ours)
    extras.refuse_other_distribution(tmp_path / "elsewhere" / "bss" / "__init__.py")
    ours_once = f"Metadata-Version: 2.1\nName: bss\nVersion: 0.1.0\nSummary: {PROJECT['description']}\n"
    (info / "METADATA").write_text(ours_once)
    extras.refuse_other_distribution(ours)  # our own former name, in a clone that was installed by it


@pytest.fixture
def installed(monkeypatch):
    """Versions as an environment would have them, of what the package requires."""
    requires = ["torch>=2.6", "numpy >=1.26", "scipy>=1.11; extra == 'train'", 'av>=14.1 ; extra == "video"', "x[y]; z"]
    versions = {"torch": "2.6.0+cpu", "numpy": "2.4.6", "scipy": "1.11", "av": "14.1.0"}
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    extras.refuse_old.cache_clear()  # what was found before is not asked for again
    yield versions
    extras.refuse_old.cache_clear()


def test_a_package_that_is_too_old_is_named_with_both_versions(installed):
    extras.refuse_old("train", "video")  # the oldest are old enough
    installed |= {"torch": "2.5.1+cu124", "scipy": "1.9.3", "av": "9"}
    with pytest.raises(MissingExtraError) as caught:
        extras.refuse_old("train")
    assert str(caught.value) == (
        "too old for bss-multimodal (torch 2.5.1+cu124 is installed, 2.6 is the oldest, scipy 1.9.3 is installed, "
        "1.11 is the oldest): pip install 'torch>=2.6' 'scipy>=1.11'"
    )
    with pytest.raises(MissingExtraError, match=r"\(torch 2\.5\.1\+cu124 is installed, 2\.6 is the oldest\)"):
        extras.refuse_old()


def test_a_command_ends_in_a_line_where_a_package_of_the_core_is_too_old(installed, capsys):
    installed["torch"] = "2.5.1"
    assert commands.main(["prepare", "--help"]) == 2
    assert capsys.readouterr().err.startswith("error: too old for bss-multimodal (torch 2.5.1 is")


@pytest.mark.parametrize("lacking", ["requires", "version"])
def test_what_says_no_version_is_not_too_old(installed, monkeypatch, lacking):
    def not_found(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, lacking, not_found)
    extras.refuse_old("train")


def test_an_older_python_is_told_so_at_the_import(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    monkeypatch.setattr(sys, "version", "3.10.13 (main)")
    spec = importlib.util.spec_from_file_location("older", ROOT / "bss" / "__init__.py")
    with pytest.raises(ImportError, match=r"needs Python 3\.11 or newer, and this is 3\.10\.13"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_a_sampler_loop_imports_nothing_beyond_the_core():
    """Every module that a loop with scores loads belongs to the core, to what PyTorch itself brings, or to Python."""
    beyond = {name for modules in extras.EXTRAS.values() for name in modules} - {"typing_extensions"}
    program = f"""
import sys
import torch
from torch.utils.data import DataLoader, TensorDataset
import bss
data = TensorDataset(torch.randn(12, 3), torch.arange(12) % 3)
table = bss.ScoreTable(12)
sampler = bss.SelfPacedSampler(12, table=table, seed=0)
for epoch in range(2):
    sampler.set_epoch(epoch)
    for index, (x, y) in DataLoader(bss.IndexedDataset(data), batch_size=4, sampler=sampler):
        table.update(index, unimodal=[x, -x], fused=x, target=y)
    table.synchronize()
for name in bss.__all__:
    getattr(bss, name)
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {beyond!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_version_is_in_one_place():
    assert PROJECT["dynamic"] == ["version"] and bss.__version__.count(".") == 2
