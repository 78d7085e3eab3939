"""Both sides of the benchmarks on speed: the released code, from a checkout that the user has, and ours.

Each side can run one SPL epoch (scores and training) on files, with the wall time by part, or its network alone on
tensors that are there already. Nothing of the released code is copied here: its functions are imported from the
checkout and called. It cannot start as it is (today's torchvision lacks a module that it imports and does not use, its
paths and its 32 loader processes are fixed), so the import gets empty modules for what is missing, and the loaders and
paths are changed at run time; what it computes is left alone.
"""

import argparse
import builtins
import contextlib
import functools
import importlib
import importlib.util
import io
import itertools
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim import optimizer as optim_hooks
from torch.utils.data import DataLoader, Dataset
from torch.utils.data import dataloader as torch_loading
from tqdm import tqdm

from bss import ScoreTable, SelfPacedSampler
from bss.data.datasets import cremad as cremad_files
from bss.data.datasets import ks as ks_files
from bss.data.indexed import INDEX_KEY
from bss.data.splits import Splits
from bss.data.synthetic.signals import write_clip
from bss.methods import Method
from bss.models.compiling import compile_network
from bss.recipes.audiovisual import AudioVisualRecipe
from bss.recipes.fields import override
from bss.recipes.recipe import Schedule
from bss.tasks import cremad, ks
from bss.training.build import optimizer_of
from bss.training.engine import fit
from bss.training.environment import environment
from bss.training.loaders import Loaders
from bss.training.loops import Step, train_epoch
from bss.training.run import Run
from bss.utils.errors import BssError
from bss.utils.interrupts import Interrupted
from bss.utils.seeding import generator, mixed_seed

LEARNING_RATE = 1e-4
"""Of both sides. No time depends on it, and no weight leaves the finite numbers in a handful of steps."""


class UserError(Exception):
    """Something that the user can change; the message is all that is shown."""


# ---- the data ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A data set's sizes, and where each side has it.

    Attributes:
        task: ours.
        folder: of the released scripts.
        full_size: training samples of the published lists, which the share of calibration is reckoned for.
        classes: names as the lists have them.
        rate: of the sound files, in Hz.
        seconds: shortest and longest sound.
        frames: JPEG files of a clip.
        frame_size: height and width in pixels.
    """

    task: Any
    folder: str
    full_size: int
    classes: tuple[str, ...]
    rate: int
    seconds: tuple[float, float]
    frames: int
    frame_size: tuple[int, int]


KINDS = {
    "cremad": Kind(cremad, "CREMA-D", 6698, cremad_files.CLASSES, 16000, (2.0, 3.0), 3, (360, 480)),
    "ks": Kind(ks, "KS", 14799, ks_files.CLASSES, 44100, (10.0, 10.0), 10, (256, 340)),
}


DISTINCT = 256
"""Clips of a part that are made; further ones are links to them, which cost as much to read and to decode."""


def write_files(name: str, root: Path, samples: int) -> None:
    """Write ``samples`` training clips and two test clips in the layout that both sides read.

    Args:
        name: of :data:`KINDS`.
        root: folder to make.
        samples: training clips, 2 or more.
    """
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train", samples), ("test", 2)):
        clips = [_place(name, root, split, number) for number in range(count)]
        clips[0].wav.parent.mkdir(parents=True, exist_ok=True)
        made, linked = range(min(count, DISTINCT)), range(DISTINCT, count)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            making = pool.map(functools.partial(_write_clip, KINDS[name], split), clips[: len(made)], made)
            list(tqdm(making, f"making {name} {split} clips", len(made), disable=None, leave=False, unit="clip"))
        for number in linked:
            _link(clips[number % DISTINCT], clips[number])
        labels = itertools.cycle(KINDS[name].classes)
        rows = [f"{clip.frames.name},{label}\n" for clip, label in zip(clips, labels, strict=False)]
        if name == "ks":
            rows.insert(0, "youtube_id,label\n")
        (root / "annotations" / f"{split}.csv").write_text("".join(rows), encoding="utf-8")
    if name == "ks":  # a list that the released loader opens and does not use
        text = (root / "annotations" / "train.csv").read_text(encoding="utf-8")
        (root / "annotations" / "weight.csv").write_text(text, encoding="utf-8")


class _Place(NamedTuple):
    """Where a clip lies: its sound, and the folder of its frames, which has its name."""

    wav: Path
    frames: Path


def _place(name: str, root: Path, split: str, number: int) -> _Place:
    if name == "ks":
        clip = f"{split}{number:06d}"
        return _Place(root / f"{split}_wav" / f"{clip}.wav", root / f"{split}_img" / "Image-01-FPS" / clip)
    classes = KINDS[name].classes
    actor = 2001 + number // len(classes) if split == "train" else 1001
    clip = f"{actor}_DFA_{classes[number % len(classes)]}_XX"
    return _Place(root / "AudioWAV" / f"{clip}.wav", root / "Image-01-FPS" / clip)


def _write_clip(kind: Kind, split: str, place: _Place, number: int) -> None:
    rng = np.random.default_rng(mixed_seed("benchmark files", number, split == "test"))
    sound = 0.1 * rng.standard_normal(round(kind.rate * rng.uniform(*kind.seconds)))
    pictures = [picture(rng, *kind.frame_size) for _ in range(kind.frames)]
    write_clip(place.wav, place.frames, sound, kind.rate, pictures)


def _link(old: _Place, new: _Place) -> None:
    os.link(old.wav, new.wav)
    new.frames.mkdir()
    for frame in old.frames.iterdir():
        os.link(frame, new.frames / frame.name)


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Soft coloured clouds with a little grain: (height, width, 3) uint8, as JPEG about as large as a video frame."""
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 9, 12)))
    clouds = nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()
    return np.clip(clouds + 3 * rng.standard_normal(clouds.shape), 0, 255).astype(np.uint8)


# ---- the clock -----------------------------------------------------------------------------------------------------


class Clock:
    """Wall time by part: the time from one mark to the next belongs to the part that the later mark names.

    On a GPU every mark waits for the device, so that a part is charged with what it started.

    Attributes:
        seconds: phase and part -> seconds; phases are ``"scoring"`` and ``"training"``.
        scored: seconds of scoring's forwards so far, after each of them.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: Counter[tuple[str, str]] = Counter()
        self.scored: list[float] = []
        self.phase: str | None = None  # None = the time is nobody's
        self._last = 0.0

    def start(self, phase: str) -> None:
        """What follows belongs to this phase."""
        self._last, self.phase = self._now(), phase

    def mark(self, part: str) -> None:
        """Charge the time since the last mark."""
        now = self._now()
        if self.phase is not None:
            self.seconds[self.phase, part] += now - self._last
        self._last = now

    def stop(self) -> None:
        """The rest belongs to the phase so far, what follows to nobody."""
        self.mark("rest")
        self.phase = None

    def _end_forward(self) -> None:
        self.mark("forward")
        if self.phase == "scoring":
            self.scored.append(self.seconds["scoring", "forward"])

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextlib.contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Mark loading, transfer, forward, backward and step of whatever trains or scores this network."""
        batch = torch_loading._BaseDataLoaderIter.__next__

        def timed_batch(iterator: Any) -> Any:
            self.mark("rest")
            try:
                return batch(iterator)
            finally:
                self.mark("loading")

        views = [part for part in model.modules() if type(part).__module__ == "bss.models.frontends"]
        hooks = [
            model.register_forward_pre_hook(lambda *_: self.mark("transfer")),
            *(part.register_forward_pre_hook(lambda *_: self.mark("forward")) for part in views),
            *(part.register_forward_hook(lambda *_: self.mark("views")) for part in views),
            model.register_forward_hook(lambda *_: self._end_forward()),
            optim_hooks.register_optimizer_step_pre_hook(lambda *_: self.mark("backward")),
            optim_hooks.register_optimizer_step_post_hook(lambda *_: self.mark("step")),
        ]
        torch_loading._BaseDataLoaderIter.__next__ = timed_batch
        try:
            yield
        finally:
            torch_loading._BaseDataLoaderIter.__next__ = batch
            for hook in hooks:
                hook.remove()


PARTS = ("loading", "transfer", "views", "training", "scoring", "rest")


@dataclass(frozen=True)
class Epoch:
    """Seconds of one SPL epoch.

    Attributes:
        parts: ``"loading"`` and ``"transfer"`` of both passes; ``"views"``: what our networks make of a sound and of
            pictures before their first layer (the released code does it while it loads); ``"training"``: forward, loss,
            backward and step; ``"scoring"``: its forwards; ``"rest"``: scores, order, logs.
    """

    parts: Mapping[str, float]

    @property
    def whole(self) -> float:
        return sum(self.parts.values())


def summed(clock: Clock) -> Epoch:
    """The clock's parts, as :class:`Epoch` has them."""
    parts = dict.fromkeys(PARTS, 0.0)
    for (phase, part), seconds in clock.seconds.items():
        if part in parts:
            parts[part] += seconds
        elif phase == "training" or part == "forward":
            parts[phase] += seconds
        else:
            parts["rest"] += seconds
    return Epoch(parts)


def with_calibration_at(full_share: float, scored: Sequence[float], calibration_batches: int) -> float:
    """Seconds of a pass's forwards, with calibration at the share that it has of the whole data set's batches.

    A pass calibrates on a fixed number of batches: much of a few files, little of a data set.

    Args:
        full_share: batches that calibrate, of those that a pass scores, in the whole data set.
        scored: seconds so far after each forward; those that calibrate come first.
        calibration_batches: how many do, of ``scored``; 1 or more.
    """
    calibration, batches = scored[calibration_batches - 1], len(scored) - calibration_batches
    return scored[-1] - calibration + calibration / calibration_batches * batches * full_share


def random_batch(kind: Kind, recipe: AudioVisualRecipe, size: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Spectrograms and normalised frames in the shapes of a recipe, ready for the first layers."""
    draw = generator("resident", 0)
    steps = 1 + round(recipe.sample_rate * recipe.seconds) // recipe.hop_length
    batch = {
        "audio": torch.randn(size, recipe.n_fft // 2 + 1, steps, generator=draw),
        "visual": torch.randn(size, 3, recipe.num_frames, recipe.image_size, recipe.image_size, generator=draw),
        "label": torch.randint(len(kind.classes), (size,), generator=draw),
        INDEX_KEY: torch.arange(size),
    }
    return {name: tensor.to(device) for name, tensor in batch.items()}


# ---- the released code ---------------------------------------------------------------------------------------------


class Released:
    """``train-SPL.py`` of one data set, as it stands in a checkout.

    Args:
        checkout: of github.com/njustkmg/IJCAI25-BSS.
        name: of :data:`KINDS`.
        root: the files.
        batch_size: samples a batch.
        device: where its network lives.
        workers: processes that load data, in place of its 32.
    """

    def __init__(self, checkout: Path, name: str, root: Path, batch_size: int, device: torch.device, workers: int):
        self.kind, self.device, self.workers = KINDS[name], device, workers
        self.script = _imported(checkout, self.kind.folder, root)
        paths = ["--data_root", f"{root}"] if name == "ks" else ["--audio_path", f"{root}/AudioWAV"]
        paths += [] if name == "ks" else ["--visual_path", f"{root}"]
        numbers = ["--batch_size", f"{batch_size}", "--learning_rate", f"{LEARNING_RATE}"]
        with _arguments([*paths, *numbers]):
            self.args = self.script.args = self.script.get_arguments()
        kind_of_data = self.script.VADataset if name == "ks" else self.script.CramedDataset
        self.dataset: Dataset = kind_of_data(self.args, mode="train")
        self.script.DataLoader = self.loader

    def loader(self, dataset: Dataset, **options: Any) -> DataLoader:
        """A loader as its scripts make them, with this machine's number of processes."""
        pinned = self.device.type == "cuda"
        return DataLoader(dataset, **{**options, "num_workers": self.workers, "pin_memory": pinned})

    def network(self) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
        """A new network with what trains it, as ``__main__`` makes them."""
        script, args = self.script, self.args
        script.setup_seed(args.random_seed)
        with quiet():
            network = script.AVNet(args)
        network.apply(script.weight_init)
        network.to(self.device)
        optimizer = script.optim.SGD(network.parameters(), lr=args.learning_rate, momentum=0.9, weight_decay=1e-4)
        return network, optimizer, script.optim.lr_scheduler.StepLR(optimizer, args.lr_decay_step, args.lr_decay_ratio)

    def epoch(self) -> Epoch:
        """Score, draw an order, train on it."""
        network, optimizer, scheduler = self.network()
        clock = Clock(self.device)
        with clock.watching(network), quiet():
            clock.start("scoring")
            chances = self.script.assign_weights(network, self.dataset, self.device)
            order = torch.multinomial(chances, num_samples=len(self.dataset), replacement=False)
            clock.mark("rest")
            clock.start("training")
            members = self.script.torch.utils.data.Subset(self.dataset, order)
            options = {"batch_size": self.args.batch_size, "shuffle": False, "drop_last": True}
            steps = len(self.dataset) // self.args.batch_size
            loader = self.script.DataLoader(members, **options)
            self.script.train(self.args, 0, network, self.device, loader, optimizer, scheduler, steps)
            clock.stop()
        return summed(clock)

    def network_alone(self, batches: int) -> Epoch:
        """The same functions on one batch of random tensors, given again and again."""
        network, optimizer, scheduler = self.network()
        batch = random_batch(self.kind, self.kind.task.SPL, self.args.batch_size, self.device)
        resident = [(batch["audio"], batch["visual"], batch["label"])] * batches
        clock = Clock(self.device)
        self.script.DataLoader = lambda dataset, **options: resident
        try:
            with clock.watching(network), quiet():
                clock.start("scoring")
                self.script.assign_weights(network, self.dataset, self.device)
                clock.mark("rest")
                clock.start("training")
                self.script.train(self.args, 0, network, self.device, resident, optimizer, scheduler, batches)
                clock.stop()
        finally:
            self.script.DataLoader = self.loader
        return summed(clock)


def _imported(checkout: Path, folder: str, root: Path) -> ModuleType:
    """The module of ``train-SPL.py``, which leaves no trace in the import system."""
    path = checkout / folder / "train-SPL.py"
    missing = [name for name in ("torchvision.models.utils", "timm") if importlib.util.find_spec(name) is None]
    for name in missing:  # imported, never used
        sys.modules[name] = ModuleType(name)
        sys.modules[name].load_state_dict_from_url = None
    own = ("dataset", "models", "utils")
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in own}
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"released_{folder.replace('-', '')}", path)
        script = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(script)
        except ModuleNotFoundError as error:
            raise UserError(f"{path} needs the package {error.name}: pip install {error.name}") from error
        if folder == "CREMA-D":  # its lists have a fixed place
            place = os.sep + "data/php_code/data_processing/CREMA/annotations"
            here = str(root / "annotations")
            files = sys.modules["dataset.CramedDataset"]
            files.open = lambda file, *rest, **options: builtins.open(file.replace(place, here), *rest, **options)
    finally:
        sys.path.remove(str(path.parent))
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            del sys.modules[name]
        sys.modules.update(before)
        for name in missing:
            del sys.modules[name]
    return script


@contextlib.contextmanager
def _arguments(arguments: Sequence[str]) -> Iterator[None]:
    before, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before


# ---- ours ----------------------------------------------------------------------------------------------------------


class Marked(Dataset):
    """A data set that tells when it is read."""

    def __init__(self, dataset: Dataset, read: Callable[[], None]):
        self.dataset, self.read = dataset, read

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        self.read()
        return self.dataset[index]


class Begins(Method):
    """Joint training that tells when an epoch's order is made and its training begins."""

    def __init__(self, begin: Callable[[], None]):
        self.begin = begin

    def begin_epoch(self, epoch: int) -> None:
        self.begin()


class Ours:
    """One epoch of :func:`bss.training.engine.fit` with the SPL recipe and some settings.

    Args:
        name: of :data:`KINDS`.
        root: the files.
        batch_size: samples a batch.
        device: where the network lives.
        workers: processes that load data.
        settings: ``field=value``, as ``--set`` takes them.
        uniform: uniform order instead, without any scores.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        batch_size: int,
        device: torch.device,
        workers: int,
        settings: Sequence[str],
        *,
        uniform: bool = False,
    ):
        self.kind, self.root, self.device, self.workers = KINDS[name], root, device, workers
        numbers = {"epochs": 1, "batch_size": batch_size, "lr": LEARNING_RATE, "val_fraction": 0.0}
        if uniform:
            numbers["schedule"] = Schedule(start=1.0)
        self.recipe = override(replace(self.kind.task.SPL, **numbers), ["calibration_batches=1", *settings])
        self.data: Splits = self.kind.task.build_data(self.recipe, root)

    @property
    def batches(self) -> int:
        """In the training files."""
        return len(self.data.train) // self.recipe.batch_size

    @property
    def calibration_batches(self) -> int:
        """Forwards of a pass that only re-estimate BatchNorm's statistics."""
        schedule = self.recipe.schedule
        calibrates = schedule.uses_scores and schedule.mode == "calibrated" and schedule.needs_pass(0)
        return min(schedule.calibration_batches, self.batches) if calibrates else 0

    def prepare(self) -> float:
        """Decode the files into the cache beside them, or open it where it is; seconds."""
        began = time.perf_counter()
        self.data.cache.build(workers=self.workers)
        return time.perf_counter() - began

    def loaders(self) -> tuple[DataLoader, DataLoader]:
        """New loaders of training and of scoring batches, as the engine makes them, in this process."""
        recipe, run = self.recipe, Run(out=self.root, data_root=self.root, device=self.device)
        size = len(self.data.train)
        sampler = SelfPacedSampler(size, difficulty=torch.zeros(size), seed=recipe.seed)
        sampler.set_epoch(0)
        made = Loaders(run, recipe.batch_size, recipe.seed)
        scoring, _ = made.scoring(self.data.score, shuffled=True, calibration_batches=1)
        return made.training(self.data.train, sampler, Method(), drop_last=True), scoring

    def epoch(self) -> Epoch:
        """What a user's run does in an epoch, without its validation and without its checkpoint.

        Calibration counts at its share of the whole data set, see :func:`with_calibration_at`.
        """
        clock = Clock(self.device)
        model = self.kind.task.build_model(self.recipe, self.root)
        trained = False

        def begin() -> None:
            nonlocal trained
            clock.mark("rest")
            clock.start("training")
            trained = True

        def read_test() -> None:
            # The test files are read twice: to check them just before the epoch, and to measure just after it.
            clock.stop() if trained else clock.start("scoring")

        data = replace(self.data, test=Marked(self.data.test, read_test))
        with tempfile.TemporaryDirectory() as folder, clock.watching(model), quiet():
            run = Run(out=Path(folder) / "run", data_root=self.root, device=self.device, workers=self.workers)
            fit(model, data, self.recipe, run, method=Begins(begin))
        epoch = summed(clock)
        if self.calibration_batches:
            published = self.kind.task.SPL
            share = published.schedule.calibration_batches / (self.kind.full_size // published.batch_size)
            scoring = with_calibration_at(share, clock.scored, self.calibration_batches)
            epoch = Epoch({**epoch.parts, "scoring": scoring})
        return epoch

    def steps_on_resident_tensors(self, steps: int) -> tuple[nn.Module, Callable[[], None]]:
        """A new network as a run trains it, and what makes so many steps of it with online scores on one batch."""
        recipe = self.recipe
        layout = torch.channels_last if recipe.channels_last else torch.preserve_format
        model = self.kind.task.build_model(recipe, self.root).to(self.device, memory_format=layout)
        if recipe.compile:
            compile_network(model)
        resident = [random_batch(self.kind, recipe, recipe.batch_size, self.device)] * steps
        weights = {"fused_weight": recipe.fused_weight, "unimodal_weight": recipe.unimodal_weight}
        table = ScoreTable(recipe.batch_size).to(self.device)
        sgd = {"lr": recipe.lr, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        optimizer = optimizer_of(model, recipe.optimizer, **sgd)
        step = Step(model, optimizer, **weights, table=table, precision=recipe.precision)
        return model, functools.partial(train_epoch, step, resident)

    def network_alone(self) -> Epoch:
        """As many training steps as an epoch has, with online scores, on one batch of random tensors."""
        model, train = self.steps_on_resident_tensors(self.batches)
        clock = Clock(self.device)
        with clock.watching(model), quiet():
            clock.start("training")
            train()
            clock.stop()
        return summed(clock)


# ---- running and telling -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing of what either side prints is shown."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def interleaved(sides: Mapping[str, Callable[[], Any]], repeats: int, title: str) -> dict[str, list[Any]]:
    """Call every side in turn, again and again; the first round warms up and is thrown away.

    Other work on the machine then falls on all sides alike, and ratios within a round say more than times do.
    """
    results: dict[str, list[Any]] = {name: [] for name in sides}
    total = (repeats + 1) * len(sides)
    with tqdm(total=total, desc=title, disable=None, leave=False, unit="epoch", file=sys.__stderr__) as bar:
        for repeat in range(repeats + 1):
            for name, run in sides.items():
                result = run()
                if repeat:
                    results[name].append(result)
                bar.update()
    return results


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median (smallest - largest)."""
    low, middle, high = min(values), float(np.median(values)), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} - {high:.{digits}f})"


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Of each round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def machine(flags: argparse.Namespace) -> str:
    """Two lines of Markdown: the run, and what it ran on."""
    found = environment()
    versions = ", ".join(f"{name} {found['versions'][name]}" for name in ("python", "torch", "torchvision"))
    processor = torch.cpu.get_capabilities().get("cpu_name", found["machine"]["processor"])
    gpu = f", {torch.cuda.get_device_name(flags.device)}" if flags.device.type == "cuda" else ""
    settings = "".join(f" --set {setting}" for setting in flags.set)
    return (
        f"`{Path(sys.argv[0]).name} --task {flags.task} --samples {flags.samples} --batch-size {flags.batch_size} "
        f"--repeats {flags.repeats}{settings}`, commit {found['commit']},\n{versions}, {processor}{gpu}, "
        f"{flags.threads} threads of {found['machine']['cores']} cores, {flags.workers} loader processes, "
        f"load {os.getloadavg()[0]:.1f} at the start"
    )


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; a CPU that does not is slower with it than without."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(there for name, there in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def parser_of(description: str, *, samples: int, repeats: int, alone: bool = False) -> argparse.ArgumentParser:
    """The flags that the benchmarks share; one that runs ``alone`` can do without the released code."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--released", type=Path, required=not alone, metavar="PATH", help="checkout of the released code"
    )
    parser.add_argument("--task", choices=list(KINDS), required=True, help="whose files and recipe")
    parser.add_argument("--repeats", type=at_least(1), default=repeats, help="measured rounds, after one to warm up")
    parser.add_argument("--samples", type=at_least(2), default=samples, help="training clips to write")
    parser.add_argument("--batch-size", type=at_least(2), default=4, help="of both sides")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of our recipe")
    parser.add_argument("--device", type=torch.device, default="cpu", help="of both sides' networks")
    parser.add_argument("--workers", type=at_least(0), default=0, help="processes that load data, of both sides")
    parser.add_argument("--threads", type=at_least(1), default=2, help="of the CPU, for arithmetic")
    return parser


def checked(flags: argparse.Namespace) -> argparse.Namespace:
    """Refuse flags that cannot be followed."""
    folder = KINDS[flags.task].folder
    if flags.released and not (flags.released / folder / "train-SPL.py").is_file():
        raise UserError(
            f"--released {flags.released} holds no {folder}/train-SPL.py: "
            "give a checkout of https://github.com/njustkmg/IJCAI25-BSS"
        )
    if flags.samples % flags.batch_size:
        raise UserError(
            f"--samples {flags.samples} is no multiple of --batch-size {flags.batch_size}: "
            "each side would leave out what does not fill a batch, and not the same"
        )
    if flags.device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda, but this PyTorch sees no GPU; leave it out")
    return flags


def at_least(least: int) -> Callable[[str], int]:
    """A whole number of the command line, for argparse."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value}, but at least {least} is needed")
        return value

    return whole_number


def run_main(main: Callable[[], None]) -> None:
    """Run a benchmark; Ctrl-C and what the user can change end it with a line."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was written is deleted
    try:
        main()
    except (UserError, BssError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (KeyboardInterrupt, Interrupted):
        print("\ninterrupted", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
