"""The benchmarks on speed: what they write, how they reckon, and both sides on networks of a few channels."""

import importlib
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
SMALL = ["width=2", "image_size=32", "seconds=0.2", "cache=none"]

SCRIPT = """
import argparse
import torch.optim as optim
import torch
from torch.utils.data import DataLoader
from torchvision.models.utils import load_state_dict_from_url
from dataset.KS import VADataset
from models.basic_model import AVNet
from utils.utils import setup_seed, weight_init

def get_arguments():
    parser = argparse.ArgumentParser()
    for flag in ("--data_root", "--batch_size", "--learning_rate"):
        parser.add_argument(flag)
    args = parser.parse_args()
    args.batch_size, args.learning_rate = int(args.batch_size), float(args.learning_rate)
    args.random_seed, args.lr_decay_step, args.lr_decay_ratio = 0, 70, 0.1
    return args

def train(args, epoch, net, device, loader, optimizer, scheduler, steps):
    for sounds, images, labels in loader:
        net(sounds, images).sum().backward()
        optimizer.step()
    print("trained")

def assign_weights(net, dataset, device):
    for sounds, images, labels in DataLoader(dataset, batch_size=args.batch_size, num_workers=32):
        net(sounds, images)
    return torch.ones(len(dataset))
"""
DATA = """
from pathlib import Path
import torch

class VADataset(torch.utils.data.Dataset):
    def __init__(self, args, mode):
        self.names = (Path(args.data_root) / "annotations" / f"{mode}.csv").read_text().splitlines()[1:]

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return torch.zeros(257, 10), torch.zeros(3, 3, 8, 8), 0
"""
NETWORK = """
import torch

class AVNet(torch.nn.Linear):
    def __init__(self, args):
        super().__init__(1, 1)

    def forward(self, sounds, images):
        return super().forward(sounds.mean((1, 2)).unsqueeze(1))
"""


@pytest.fixture(scope="module")
def sides() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("released_vs_ours")


@pytest.fixture
def script(sides, request):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module(request.param)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Something with the released code's names that can run."""
    files = {
        "train-SPL.py": SCRIPT,
        "dataset/KS.py": DATA,
        "models/basic_model.py": NETWORK,
        "utils/utils.py": "setup_seed = weight_init = lambda *arguments: None",
    }
    for name, text in files.items():
        path = tmp_path / "checkout" / "KS" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "checkout"


def test_a_package_that_the_released_code_needs_is_named(sides, checkout, tmp_path):
    (checkout / "KS" / "dataset" / "KS.py").write_text("import no_such_package", encoding="utf-8")
    with pytest.raises(sides.UserError, match=r"train-SPL\.py needs the package no_such_package: pip install"):
        sides.Released(checkout, "ks", tmp_path / "data", 2, CPU, 0)


# ---- the files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rate", "seconds", "wavs", "frames", "shape"),
    [
        ("cremad", 16000, (2, 3), "AudioWAV", "Image-01-FPS", (3, 3, 360, 480)),
        ("ks", 44100, (10, 10), "train_wav", "train_img/Image-01-FPS", (10, 3, 256, 340)),
    ],
)
def test_the_files_have_the_sizes_of_the_data_set(sides, tmp_path, name, rate, seconds, wavs, frames, shape):
    import soundfile
    from torchvision.io import decode_image

    root = tmp_path / name
    sides.write_files(name, root, 2)
    clip = (root / "annotations" / "train.csv").read_text().splitlines()[-1].split(",")[0]
    sound = soundfile.info(root / wavs / f"{clip}.wav")
    pictures = [decode_image(str(path)) for path in sorted((root / frames / clip).iterdir())]
    assert sound.samplerate == rate and seconds[0] <= sound.duration <= seconds[1]
    assert (len(pictures), *pictures[0].shape) == shape
    assert 5_000 < next((root / frames / clip).iterdir()).stat().st_size < 60_000  # as a video frame


def test_our_loader_finds_every_clip_that_was_written(sides, tmp_path):
    sides.write_files("cremad", tmp_path / "data", 4)
    ours = sides.Ours("cremad", tmp_path / "data", 2, CPU, 0, SMALL)
    assert len(ours.data.train) == 4 and len(ours.data.test) == 2 and ours.batches == 2


def test_more_clips_than_are_made_are_links_that_both_sides_find(sides, tmp_path, monkeypatch):
    monkeypatch.setattr(sides, "DISTINCT", 3)
    sides.write_files("cremad", tmp_path / "data", 8)
    ours = sides.Ours("cremad", tmp_path / "data", 2, CPU, 0, SMALL)
    assert len(ours.data.train) == 8
    rows = (tmp_path / "data" / "annotations" / "train.csv").read_text().splitlines()
    wavs = [tmp_path / "data" / "AudioWAV" / f"{row.split(',')[0]}.wav" for row in rows]
    assert [wav.stat().st_nlink for wav in wavs] == [3, 3, 2, 3, 3, 2, 3, 3]


# ---- the arithmetic ------------------------------------------------------------------------------------------------


def test_parts_are_summed_over_the_passes_and_make_up_the_whole(sides):
    clock = sides.Clock(CPU)
    clock.seconds.update(
        {
            ("scoring", "loading"): 1.0,
            ("training", "loading"): 2.0,
            ("scoring", "forward"): 4.0,
            ("training", "forward"): 8.0,
            ("training", "backward"): 16.0,
            ("training", "step"): 32.0,
            ("scoring", "rest"): 64.0,
        }
    )
    epoch = sides.summed(clock)
    assert epoch.parts == {"loading": 3, "transfer": 0, "views": 0, "training": 56, "scoring": 4, "rest": 64}
    assert epoch.whole == 127


def test_calibration_counts_at_the_share_that_it_has_in_the_whole_data_set(sides):
    # Forwards of 2 s (calibration) and four times 1 s; in the data set 5 of 100 batches calibrate, so here 0.2 of 4.
    assert sides.with_calibration_at(0.05, [2.0, 3.0, 4.0, 5.0, 6.0], 1) == pytest.approx(4 + 0.2 * 2)


def test_a_clock_charges_time_to_the_part_that_ends_and_to_nobody_outside_of_a_phase(sides, monkeypatch):
    times = iter([1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr(sides.time, "perf_counter", lambda: next(times))
    clock = sides.Clock(CPU)
    clock.mark("loading")  # before any phase
    clock.start("training")
    clock.mark("forward")
    clock.stop()
    clock.mark("loading")
    assert clock.seconds == {("training", "forward"): 3, ("training", "rest"): 4}


def test_a_spread_is_median_smallest_and_largest(sides):
    assert sides.spread([3.0, 1.0, 2.0]) == "2.00 (1.00 - 3.00)"
    assert sides.ratios([6, 4], [3, 1]) == [2, 4]


def test_sides_take_turns_and_the_first_round_is_thrown_away(sides):
    calls = []

    def side(name):
        return lambda: calls.append(name) or len(calls)

    measured = sides.interleaved({"a": side("a"), "b": side("b")}, 2, "test")
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert measured == {"a": [3, 5], "b": [4, 6]}


# ---- both sides ----------------------------------------------------------------------------------------------------


def test_the_released_functions_run_from_a_checkout_and_leave_no_module_behind(sides, checkout, tmp_path, capsys):
    sides.write_files("ks", tmp_path / "data", 4)
    before = set(sys.modules), list(sys.path)
    released = sides.Released(checkout, "ks", tmp_path / "data", 2, CPU, 0)
    left = {name.partition(".")[0] for name in set(sys.modules) - before[0]}
    assert not left & {"dataset", "models", "utils", "timm"} and sys.path == before[1]
    assert "torchvision.models.utils" not in sys.modules
    epoch, alone = released.epoch(), released.network_alone(2)
    assert min(epoch.parts[part] for part in ("loading", "training", "scoring")) > 0
    assert alone.parts["loading"] == 0 < min(alone.parts["training"], alone.parts["scoring"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("online", [True, False])
def test_our_epoch_is_measured_by_part(sides, tmp_path, online):
    sides.write_files("cremad", tmp_path / "data", 4)
    ours = sides.Ours("cremad", tmp_path / "data", 2, CPU, 0, [*SMALL, f"rescore={'online' if online else 'pass'}"])
    epoch = ours.epoch()
    assert min(epoch.parts[part] for part in ("loading", "views", "training")) > 0
    assert (epoch.parts["scoring"] == 0) == (ours.calibration_batches == 0) == online
    assert torch.utils.data.dataloader._BaseDataLoaderIter.__next__.__name__ == "__next__"


def test_an_epoch_in_uniform_order_scores_nothing(sides, tmp_path):
    sides.write_files("cremad", tmp_path / "data", 4)
    ours = sides.Ours("cremad", tmp_path / "data", 2, CPU, 0, SMALL, uniform=True)
    parts = ours.epoch().parts
    assert parts["scoring"] == 0 == ours.calibration_batches and parts["training"] > 0


def test_our_network_alone_loads_nothing(sides, tmp_path):
    sides.write_files("cremad", tmp_path / "data", 4)
    parts = sides.Ours("cremad", tmp_path / "data", 2, CPU, 0, SMALL).network_alone().parts
    assert parts["loading"] == 0 < parts["training"]


@pytest.mark.parametrize("script", ["gpu"], indirect=True)
def test_formats_and_orders_are_measured_on_any_device(script, monkeypatch, capsys):
    flags = ["--task", "cremad", "--device", "cpu", "--samples", "4", "--batch-size", "2", "--workers", "0"]
    flags += ["--threads", "1", "--epochs", "1", "--blocks", "1", "--repeats", "1", "--matrix", "16"]
    longer = [setting.replace("=0.2", "=0.6") for setting in SMALL]  # see bss/bf16.py
    settings = [part for setting in longer for part in ("--set", setting)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *flags, *settings, "--formats", "fp32;bf16, channels-last"])
    flags_before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark
    script.main()
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark) == flags_before
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    tables = {
        row[0].strip(): [] for row in rows if row[1].strip().startswith(("samples/s", "steps", "median", "share"))
    }
    name = ""
    for row in rows:
        if row[0].strip() in tables:
            name = row[0].strip()
        else:
            tables[name].append((row[0].strip(), float(row[1].split()[0])))
    (profile, profiled), *others = tables.items()
    assert profile == "operation, bf16, channels-last" and 100 >= sum(share for _, share in profiled) > 50
    (*others, (_, gradients)) = others
    assert gradients[0] == ("fp32", 0.0)  # of the CPU, against themselves
    assert gradients[1][0] == "bf16, channels-last" and 0 < gradients[1][1] < 1
    tables = dict(others)
    assert [[row for row, _ in table] for table in tables.values()] == [
        ["fp32", "bf16, channels-last"],
        ["fp32", "bf16, channels-last"],
        ["bf16, channels-last", "bf16, channels-last, scoring pass"],
    ]
    assert all(figure > 0 for table in tables.values() for _, figure in table)


@pytest.mark.parametrize("script", ["gpu"], indirect=True)
def test_what_a_part_has_no_time_for_is_said_to_be_not_run(script, monkeypatch, capsys):
    flags = ["--task", "cremad", "--device", "cpu", "--samples", "2", "--batch-size", "2", "--matrix", "4"]
    flags += [part for setting in SMALL for part in ("--set", setting)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *flags, "--formats", "fp32", "--part", "gradients", "--minutes", "0"])
    script.main()
    assert "| fp32 | not run: out of time |" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["gpu"], indirect=True)
def test_the_operations_of_a_step_are_three_forwards(script, sides, tmp_path):
    sides.write_files("cremad", tmp_path / "data", 2)
    ours = sides.Ours("cremad", tmp_path / "data", 2, CPU, 0, ["cache=none", "image_size=224", "seconds=1"])
    # ResNet-18 on 224 x 224: 1.81 G multiply-adds (torchvision's table), on 257 x 63 about 0.34 of that; two
    # operations each; backward costs twice the forward, but for the first layer's inputs.
    frames = 1 + 22050 // 353
    expected = 3 * 2 * 1.81e9 * (1 + 257 * frames / 224**2) / 1e12
    assert script.operations(ours) == pytest.approx(expected, rel=0.1)


# ---- what a user may get wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["versus_released", "ceiling"], indirect=True)
def test_a_folder_without_the_released_code_is_named_with_the_way_out(sides, script, tmp_path, monkeypatch):
    flags = ["--released", f"{tmp_path}", "--task", "ks", "--samples", "2", "--batch-size", "2", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *flags])
    with pytest.raises(sides.UserError, match=r"no KS/train-SPL.py: give a checkout of https://github.com/njustkmg"):
        script.main()


def test_samples_that_do_not_fill_whole_batches_are_refused(sides, checkout):
    flags = ["--released", f"{checkout}", "--task", "ks", "--samples", "10", "--batch-size", "4"]
    with pytest.raises(sides.UserError, match="--samples 10 is no multiple of --batch-size 4"):
        sides.checked(sides.parser_of("", samples=8, repeats=1).parse_args(flags))


def test_a_number_below_the_least_is_refused(sides, capsys):
    with pytest.raises(SystemExit):
        sides.parser_of("", samples=8, repeats=1).parse_args(["--released", "x", "--task", "ks", "--repeats", "0"])
    assert "at least 1 is needed" in capsys.readouterr().err


@pytest.mark.parametrize(("end", "status"), [(KeyboardInterrupt, 130), ("no files", 2)])
def test_a_benchmark_ends_with_a_line_and_leaves_the_signals_as_they_were(sides, capsys, end, status):
    def main():
        raise sides.UserError(end) if isinstance(end, str) else end

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        sides.run_main(main)
    assert ended.value.code == status and signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr().err == ("error: no files\n" if status == 2 else "\ninterrupted\n")
