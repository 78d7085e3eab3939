"""One tiny training in several frameworks, on one process or two, for the tests of the integrations.

Every function trains the same network on the same 24 samples in the order of the same curriculum (8, 16, 24, 24 of
them) and returns what happened. Run as a script it starts two processes that train in every installed framework.
"""

import functools
import importlib
import importlib.util
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

import bss

N = 24
BATCH = 8  # of all processes together
EPOCHS = 4
HEADS = {"a": "heads.a", "b": "heads.b"}


@dataclass
class Record:
    """What a training did: the order that the sampler reports, and what this process's steps saw, epoch by epoch."""

    orders: list[list[int]] = field(default_factory=list)
    seen: list[list[list[int]]] = field(default_factory=list)
    similarity: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def step(self, sampler, index):
        """Note one step, at the moment when the model sees the batch."""
        order = sampler.global_order().tolist()
        while len(self.orders) <= sampler.epoch:
            self.orders.append([])
            self.seen.append([])
        self.orders[sampler.epoch] = self.orders[sampler.epoch] or order
        assert self.orders[sampler.epoch] == order  # frozen
        self.seen[sampler.epoch].append(index.tolist())

    def end(self, sampler, model):
        self.similarity = sampler.table.similarity.tolist()
        self.loss = sampler.table.loss.tolist()
        self.weights = torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()
        return self


class Samples(Dataset):
    def __init__(self, label="label"):
        generator = torch.Generator().manual_seed(3)
        self.a, self.b = torch.randn(N, 4, generator=generator), torch.randn(N, 3, generator=generator)
        self.label = label

    def __len__(self):
        return N

    def __getitem__(self, index):
        return {"a": self.a[index], "b": self.b[index], self.label: index % 3}


class Net(nn.Module):
    """Takes the views by name; returns the mean loss and the fused logits if it gets labels."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Linear(3, 3)})
        self.fusion = nn.Linear(6, 3)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) / 2)

    def forward(self, a, b, labels):
        logits = [self.heads["a"](a), self.heads["b"](b)]
        fused = self.fusion(torch.cat(logits, dim=1))
        return {"loss": sum(cross_entropy(z, labels) for z in (fused, *logits)), "logits": fused}


def pacing(epoch):
    return min(1.0, (epoch + 1) / 3 + 1e-9)


def curriculum(*, pacing=pacing, **options):
    """Its table has scores, so that the first epoch is a curriculum's."""
    table = bss.ScoreTable(N)
    similarity, loss = torch.rand(2, N, generator=torch.Generator().manual_seed(4))
    table.update(range(N), similarity=similarity, loss=loss)
    table.synchronize()
    return bss.CurriculumSampler(N, table=table, pacing=pacing, seed=1, **options)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def plain():
    """The loop that the frameworks must equal."""
    sampler, model, record = curriculum(), Net(), Record()
    loader, optimizer = DataLoader(bss.IndexedDataset(Samples()), batch_size=BATCH, sampler=sampler), sgd(model)
    scores = bss.attach(model, sampler.table, heads=HEADS, fused="fusion")
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for batch in loader:
            record.step(sampler, batch["bss_index"])
            optimizer.zero_grad()
            with scores.batch(batch["bss_index"], batch["label"]):
                model(batch["a"], batch["b"], batch["label"])["loss"].backward()
            optimizer.step()
        sampler.table.synchronize()
    return record.end(sampler, model)


# ---- Lightning ----


def lightning_parts(record=None, **sampler_options):
    """(sampler, callback, module) with the module's own loader."""
    import lightning.pytorch as pl

    from bss.integrations.lightning import BalanceCallback

    class Module(pl.LightningModule):
        def __init__(self, sampler):
            super().__init__()
            self.net = Net()
            self.sampler = sampler
            self.stop_after = None

        def training_step(self, batch, batch_idx):
            if record is not None:
                record.step(self.sampler, batch["bss_index"])
            return self.net(batch["a"], batch["b"], batch["label"])["loss"]

        def configure_optimizers(self):
            return sgd(self)

        def train_dataloader(self):
            size = BATCH // self.trainer.world_size
            return DataLoader(bss.IndexedDataset(Samples()), batch_size=size, sampler=self.sampler)

    sampler = curriculum(**sampler_options)
    heads = {name: f"net.{module}" for name, module in HEADS.items()}
    return sampler, BalanceCallback(sampler, heads=heads, fused="net.fusion"), Module(sampler)


def lightning_trainer(callback, **options):
    import lightning.pytorch as pl

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"max_epochs": EPOCHS, "reload_dataloaders_every_n_epochs": 1, "enable_checkpointing": False} | options
    callbacks = [callback, *options.pop("callbacks", [])]
    return pl.Trainer(accelerator="cpu", callbacks=callbacks, **({"devices": 1} | quiet | options))


def lightning(world=1):
    record = Record()
    sampler, callback, module = lightning_parts(record)
    lightning_trainer(callback, devices=world, strategy="ddp" if world > 1 else "auto").fit(module)
    return record.end(sampler, module.net)


# ---- Accelerate ----


def accelerate(world=1, **options):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    sampler, model, record = curriculum(**({"num_replicas": 1, "rank": 0} | options)), Net(), Record()
    loader = DataLoader(bss.IndexedDataset(Samples()), batch_size=BATCH // world, sampler=sampler)
    wrapped, optimizer, loader = accelerator.prepare(model, sgd(model), loader)
    scores = bss.attach(wrapped, sampler.table, heads=HEADS, fused="fusion")
    for epoch in range(EPOCHS):
        loader.set_epoch(epoch)
        for batch in loader:
            record.step(sampler, batch["bss_index"])
            optimizer.zero_grad()
            with scores.batch(batch["bss_index"], batch["label"]):
                accelerator.backward(wrapped(batch["a"], batch["b"], batch["label"])["loss"])
            optimizer.step()
        sampler.table.synchronize()
    return record.end(sampler, model)


# ---- Trainer ----


def trainer(
    world=1, *, folder=None, record=None, resume=None, callbacks=(), sampler=None, heads=HEADS, data=None,
    optimizer=sgd, **options,
):  # fmt: skip
    """(record, the Trainer) of a training with checkpoints in the folder."""
    from transformers import Trainer, TrainingArguments

    from bss.integrations.transformers import BalanceTrainerMixin

    record = record or Record()

    class RecordingTrainer(BalanceTrainerMixin, Trainer):
        def training_step(self, model, inputs, *args, **kwargs):
            record.step(self.sampler, inputs["bss_index"])
            return super().training_step(model, inputs, *args, **kwargs)

    sampler = sampler or curriculum(num_replicas=1, rank=0)
    with tempfile.TemporaryDirectory() as scratch:
        defaults = {
            "num_train_epochs": EPOCHS,
            "per_device_train_batch_size": BATCH // world,
            "lr_scheduler_type": "constant",
            "max_grad_norm": 0.0,
            "use_cpu": True,
            "save_strategy": "no",
            "logging_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
        }
        arguments = TrainingArguments(str(folder or scratch), **(defaults | options))
        model = Net()
        ours = RecordingTrainer(
            model,
            arguments,
            train_dataset=bss.IndexedDataset(data or Samples()),
            optimizers=(optimizer(model), None),
            callbacks=list(callbacks),
            sampler=sampler,
            heads=heads,
            fused=None if heads is None else "",
        )
        ours.train(resume_from_checkpoint=resume)
    return record.end(sampler, model), ours


# ---- two processes ----


def frameworks():
    """Name -> function that trains with `world` processes, of the frameworks that are installed."""
    known = {
        "lightning": lightning,
        "accelerate": accelerate,
        "transformers": lambda world: trainer(world)[0],
    }
    installed = {name: run for name, run in known.items() if importlib.util.find_spec(name)}
    return installed if "accelerate" in installed else {n: r for n, r in installed.items() if n != "transformers"}


@functools.cache
def two_processes():
    """Framework -> the records of rank 0 and rank 1; and "twice": how a sampler that is sharded twice ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.plugins", folder],
            cwd=root,
            env=os.environ | shared,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout[-4000:]
        ranks = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(2)]
    plain = ("messages", "contract")
    return {
        name: [value if name in plain else Record(**value) for value in (rank[name] for rank in ranks)]
        for name in ranks[0]
    }


def resumed_lightning(folder):
    """Two processes stop at step 4 of 9, in the middle of epoch 2, and two go on from the checkpoint."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    options = {"devices": 2, "strategy": "ddp"}
    _, callback, module = lightning_parts()
    saving = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=4)
    trainer = lightning_trainer(callback, callbacks=[saving], enable_checkpointing=True, max_steps=4, **options)
    trainer.fit(module)
    sampler, callback, module = lightning_parts()
    lightning_trainer(callback, **options).fit(module, ckpt_path=saving.best_model_path)
    return Record().end(sampler, module.net)


def resumed_trainer(folder):
    """Two processes stop at step 4 of 9, in the middle of epoch 2, and two go on from the checkpoint."""
    trainer(2, folder=folder, save_strategy="steps", save_steps=4, callbacks=[stop_at(4)])
    return trainer(2, folder=folder, resume=f"{folder}/checkpoint-4")[0]


def stop_at(step):
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == step

    return Stop()


WHAT_TRAINS = {"lightning": "lightning.pytorch", "accelerate": "accelerate", "transformers": "transformers.trainer"}


def main(folder):
    """Start the two ranks as copies of this process: importing the frameworks takes seconds, and is done once."""
    for name in frameworks():
        importlib.import_module(WHAT_TRAINS[name])
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=train_in_all, args=(rank, Path(folder))) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(100)  # seconds: one whose peer has died would wait for ever
    ended_well = all(rank.exitcode == 0 for rank in ranks)
    for rank in ranks:
        rank.kill()
    sys.exit(not ended_well)


def train_in_all(rank, shared_folder):
    """One of two ranks: it writes what happened in every installed framework."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    results = {name: asdict(run(2)) for name, run in frameworks().items()}
    if "lightning" in results:
        results["resumed lightning"] = asdict(resumed_lightning(shared_folder / "lightning"))
    if "transformers" in results:
        results["resumed transformers"] = asdict(resumed_trainer(shared_folder / "transformers"))
    messages = {}
    if "accelerate" in results:
        try:
            accelerate(2, num_replicas=None, rank=None)
        except ValueError as error:
            messages["sharded twice"] = str(error)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            list(DataLoader(Samples(), sampler=curriculum(num_replicas=1, rank=0)))
        messages["not sharded"] = " ".join(str(warning.message) for warning in caught)
    contract = importlib.import_module("tests.integrations.contract").run_all(importlib.util.find_spec, shared_folder)
    contract = {name: asdict(record) for name, record in contract.items()}
    text = json.dumps(results | {"messages": messages, "contract": contract})
    (shared_folder / f"{rank}.json").write_text(text)
    torch.distributed.destroy_process_group()


def check(records, *, interleaved):
    """Of the ranks' records: every step over all ranks is one window of the order that was reported.

    Args:
        records: one for each rank.
        interleaved: whether rank r's step has every W-th sample of its window (our own sharding), or the r-th part of
            it (Accelerate's).
    """
    sizes = [8, 16, 24, 24]
    for record in records:
        assert [len(order) for order in record.orders] == sizes
        assert record.orders == records[0].orders
    for epoch, order in enumerate(records[0].orders):
        steps = zip(*(record.seen[epoch] for record in records), strict=True)
        seen = []
        for step in steps:
            pairs = zip(*step, strict=True) if interleaved else step
            seen += [index for part in pairs for index in part]
        assert seen == order


if __name__ == "__main__":
    main(sys.argv[1])
