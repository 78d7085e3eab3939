"""The examples run as they stand, on real data, and learn something."""

import ast
import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MFEAT = Path(__file__).resolve().parents[2] / "shared" / "data" / "mfeat.npz"
NEEDS = {
    "plain_pytorch": None,
    "attach_hooks": None,
    "concat_head": None,
    "stateful_dataloader": "torchdata",
    "lightning_module": "lightning",
    "fabric_loop": "lightning",
    "accelerate_loop": "accelerate",
    "hf_trainer": "accelerate",
}


@pytest.fixture
def example(monkeypatch, request):
    """The module of the example, imported in this process: starting the frameworks again takes seconds each."""
    name = request.param
    if NEEDS[name]:
        pytest.importorskip(NEEDS[name])
    monkeypatch.syspath_prepend(EXAMPLES)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    state = torch.get_rng_state()
    spec.loader.exec_module(module)
    yield module
    torch.set_rng_state(state)
    sys.modules.pop("data", None)


def accuracy(output):
    return {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+) %", output)}


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")
@pytest.mark.parametrize(
    ("example", "alone"),  # percent that each modality reaches; slices of one head are trained by their sum alone
    [(name, 25 if name == "concat_head" else 65) for name in NEEDS],
    indirect=["example"],
)
def test_an_example_learns_and_reports_every_head_and_epoch(example, alone, capsys):
    example.main()
    output = capsys.readouterr().out
    heads = accuracy(output)
    assert set(heads) == {"fused", "top", "bottom"}
    assert heads["fused"] > 88 and min(heads.values()) > alone  # chance is 10
    epochs = [int(number) for number in re.findall(r"^epoch (\d+): \d+ of 1297 samples", output, flags=re.MULTILINE)]
    assert sorted(set(epochs)) == list(range(max(epochs) + 1)) and len(epochs) >= 5


@pytest.mark.parametrize("example", ["stateful_dataloader"], indirect=True)
def test_the_resumed_training_is_identical_with_workers_too(example, capsys):
    example.main(workers=2)
    assert "identical to the training that was never stopped: True" in capsys.readouterr().out


@pytest.mark.skipif(not MFEAT.exists(), reason="the mfeat data set is not beside this checkout")
@pytest.mark.parametrize("example", ["attach_hooks"], indirect=True)
def test_six_views(example, capsys):
    example.main(MFEAT, epochs=5)
    heads = accuracy(capsys.readouterr().out)
    assert set(heads) == {"fused", "fac", "fou", "kar", "mor", "pix", "zer"}
    assert heads["fused"] > 95


def test_an_example_runs_as_a_script():
    done = subprocess.run([sys.executable, EXAMPLES / "plain_pytorch.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert accuracy(done.stdout)["fused"] > 88


@pytest.mark.parametrize(
    ("name", "flags", "said"),
    [
        ("attach_hooks", ["--mfeat", "/nope.npz"], "error: Multiple features: there is no nope.npz under /.\n"),
        ("attach_hooks", ["--mfeat", __file__], "not a .npz file of arrays"),
        ("stateful_dataloader", ["--workers", "-1"], "error: --workers must be >= 0, got -1"),
        ("lightning_module", ["--devices", "0"], "error: --devices must be >= 1, got 0"),
        ("fabric_loop", ["--devices", "0"], "error: --devices must be >= 1, got 0"),
    ],
)
def test_a_wrong_flag_is_two_lines(name, flags, said, monkeypatch, capsys):
    if NEEDS[name]:
        pytest.importorskip(NEEDS[name])
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", [name, *flags])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    sys.modules.pop("data", None)
    # argparse prints its message, sys.exit leaves its own to Python
    message = capsys.readouterr().err if ended.value.code == 2 else f"{ended.value.code}\n"
    assert said in message and len(message.splitlines()) == 2


def test_the_plain_loop_is_an_ordinary_one_without_its_marked_lines():
    text = (EXAMPLES / "plain_pytorch.py").read_text()
    marked = [line for line in text.splitlines() if "  # BSS" in line]
    assert 7 <= len(marked) <= 10
    rest = text.replace('"""', "", 2).splitlines()
    rest = [line for line in rest if "  # BSS" not in line and "print_order" not in line]
    code = "\n".join(rest[rest.index("import torch") :])
    assert "bss" not in code and "sampler" not in code
    ast.parse(code)


def test_the_lines_that_go_into_a_fork_are_lines_of_the_program():
    _, diff, program = (EXAMPLES / "concat_head.py").read_text().split('"""', 2)
    added = re.findall(r"^    \+ *(\S.*)$", diff, flags=re.MULTILINE)
    alike = [line for line in added if not re.search(r"args\.|\(args|step, |hasattr|512", line)]
    assert 7 <= len(alike) <= len(added) <= 14
    assert [line for line in alike if line not in program] == []
    added += re.findall(r"batch_size=args\.batch_size, (sampler=sampler)", diff)
    assert all(word in "\n".join(added) for word in ("train_epoch(", "bss.slices(head", "sampler=sampler"))


@pytest.mark.parametrize("name", NEEDS)
def test_every_example_is_in_the_table(name):
    assert f"[{name}.py]({name}.py)" in (EXAMPLES / "README.md").read_text()
