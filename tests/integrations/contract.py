"""What every framework must do with an order: one training of three epochs, stopped in the middle of the second one.

The set has 21 samples, which neither two ranks nor their batches divide; the curriculum's epochs grow from 7 to 14 and
21. The network does not learn (its rate is 0), so the score of every sample is known. Each function trains in one
framework, up to the stop, and goes on with new objects from what a checkpoint would hold.
"""

import copy
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

import bss
from tests.plugins import BATCH, HEADS, Net, Record, Samples, lightning_trainer, stop_at, trainer

ROOT = Path(__file__).resolve().parents[2]
N = 21
EPOCHS = 3
STOP = 1, 1  # after the first step of epoch 1


class Rows(Samples):
    def __len__(self):
        return N


@dataclass
class Contract(Record):
    """Also which samples have a score of the epoch before, at the first step of each."""

    scored: list[list[int]] = field(default_factory=list)

    def step(self, sampler, index):
        if sampler.epoch >= len(self.orders):
            self.scored.append((sampler.table.age == 0).nonzero().squeeze(1).tolist())
        super().step(sampler, index)


def no_learning(model):
    return torch.optim.SGD(model.parameters(), lr=0.0)


def pacing(epoch):
    return min(1.0, (epoch + 1) / 3 + 1e-9)


def make(kind, **options):
    """The sampler of an arm, with a table that a scoring pass has filled."""
    table = bss.ScoreTable(N)
    similarity, loss = torch.rand(2, N, generator=torch.Generator().manual_seed(4))
    table.update(range(N), similarity=similarity, loss=loss)
    table.synchronize(scoring_pass=True)
    if kind == "SPL":
        return bss.SelfPacedSampler(N, table=table, seed=1, **options)
    return bss.CurriculumSampler(N, table=table, pacing=pacing, seed=1, **options)


def losses():
    """Of every sample, (N,), by the network that does not change."""
    rows, model = Rows(), Net()
    logits = [model.heads["a"](rows.a), model.heads["b"](rows.b)]
    fused = model.fusion(torch.cat(logits, 1))
    return bss.sample_loss(fused, logits, torch.arange(len(rows.a)) % 3).detach()[:N]


def state_of(sampler, position):
    return copy.deepcopy(
        {"table": sampler.table.state_dict(), "sampler": sampler.state_dict(), "position": position, "epoch": STOP[0]}
    )


def restored(sampler, state):
    """The sampler, which goes on from a state where there is one."""
    if state is not None:
        sampler.table.load_state_dict(state["table"])
        sampler.load_state_dict(state["sampler"], position=state["position"])
    return sampler


def loop(record, sampler, model, optimizer, batches, *, backward=torch.Tensor.backward, net=None, state=None):
    """The loop where it is the user's own; without a state, up to the stop.

    Args:
        batches: epoch -> what the loader gives in it.
    """
    scores = bss.attach(net or model, sampler.table, heads=HEADS, fused="fusion")
    for epoch in range(0 if state is None else state["epoch"], EPOCHS):
        for step, batch in enumerate(batches(epoch), start=1):
            record.step(sampler, batch["bss_index"])
            with scores.batch(batch["bss_index"], batch["label"]):
                backward(model(batch["a"], batch["b"], batch["label"])["loss"])
            optimizer.step()
            if state is None and (epoch, step) == STOP:
                return state_of(sampler, BATCH)
        sampler.table.synchronize()
    return record.end(sampler, net or model)


# ---- the frameworks: (sampler's kind, world, folder) -> Contract ----


def torchrun(kind, world, folder):
    record, state = Contract(), None
    for _ in range(2):
        sampler, net = restored(make(kind), state), Net()
        loader = DataLoader(bss.IndexedDataset(Rows()), batch_size=BATCH // world, sampler=sampler)

        def batches(epoch, sampler=sampler, loader=loader):
            sampler.set_epoch(epoch)
            return loader

        model = torch.nn.parallel.DistributedDataParallel(net)
        state = loop(record, sampler, model, no_learning(net), batches, net=net, state=state)
    return record


def fabric(kind, world, folder, *, explicit=True):
    from lightning.fabric import Fabric

    record, state = Contract(), None
    for _ in range(2):
        ours = Fabric(accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto")
        ours.launch()
        sampler, net = restored(make(kind), state), Net()
        model, optimizer = ours.setup(net, no_learning(net))
        loader = ours.setup_dataloaders(
            DataLoader(bss.IndexedDataset(Rows()), batch_size=BATCH // world, sampler=sampler)
        )

        def batches(epoch, sampler=sampler, loader=loader):
            if explicit:
                sampler.set_epoch(epoch)
            return loader

        state = loop(record, sampler, model, optimizer, batches, backward=ours.backward, net=net, state=state)
    return record


def accelerate(kind, world, folder):
    from accelerate import Accelerator, skip_first_batches

    record, state = Contract(), None
    for _ in range(2):
        ours = Accelerator(cpu=True)
        if state is not None:
            state["position"] = 0  # Accelerate skips what was trained on
        sampler, net = restored(make(kind, num_replicas=1, rank=0), state), Net()
        loader = DataLoader(bss.IndexedDataset(Rows()), batch_size=BATCH // world, sampler=sampler)
        model, optimizer, loader = ours.prepare(net, no_learning(net), loader)

        def batches(epoch, loader=loader, state=state):
            loader.set_epoch(epoch)
            return loader if state is None or epoch != state["epoch"] else skip_first_batches(loader, STOP[1])

        state = loop(record, sampler, model, optimizer, batches, backward=ours.backward, net=net, state=state)
    return record


def ignite(kind, world, folder):
    import ignite.distributed as idist
    from ignite.engine import Engine, Events

    record, state = Contract(), None
    for _ in range(2):
        sampler, net = restored(make(kind), state), Net()
        loader = idist.auto_dataloader(bss.IndexedDataset(Rows()), batch_size=BATCH, sampler=sampler)
        model = torch.nn.parallel.DistributedDataParallel(net)
        optimizer, scores = no_learning(net), bss.attach(net, sampler.table, heads=HEADS, fused="fusion")

        def step(engine, batch, sampler=sampler, scores=scores, model=model, optimizer=optimizer):
            record.step(sampler, batch["bss_index"])
            with scores.batch(batch["bss_index"], batch["label"]):
                model(batch["a"], batch["b"], batch["label"])["loss"].backward()
            optimizer.step()

        engine = Engine(step)

        @engine.on(Events.EPOCH_STARTED)
        def begin(engine, sampler=sampler, loader=loader):
            sampler.set_epoch(engine.state.epoch - 1)
            engine.state.epoch_length = len(loader)  # Ignite asks once, and would cut growing epochs

        @engine.on(Events.EPOCH_COMPLETED)
        def close(engine, sampler=sampler):
            sampler.table.synchronize()

        if state is None:
            engine.add_event_handler(
                Events.ITERATION_COMPLETED(event_filter=lambda engine, _: len(record.seen) == 2), Engine.terminate
            )
            engine.run(loader, max_epochs=EPOCHS)
            state = state_of(sampler, BATCH)
        else:
            # Ignite divides this number by the length to tell the epoch and the steps that were done of it.
            done = STOP[0] * len(loader) + STOP[1]
            engine.load_state_dict({"iteration": done, "max_epochs": EPOCHS, "epoch_length": len(loader)})
            engine.run(loader)
            record.end(sampler, net)
    return record


def lightning(kind, world, folder):
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint

    from bss.integrations.lightning import BalanceCallback

    record, path = Contract(), None

    class Module(pl.LightningModule):
        def __init__(self, sampler):
            super().__init__()
            self.net, self.sampler = Net(), sampler

        def training_step(self, batch, batch_idx):
            record.step(self.sampler, batch["bss_index"])
            return self.net(batch["a"], batch["b"], batch["label"])["loss"]

        def configure_optimizers(self):
            return no_learning(self)

        def train_dataloader(self):
            return DataLoader(bss.IndexedDataset(Rows()), batch_size=BATCH // world, sampler=self.sampler)

    heads = {name: f"net.{module}" for name, module in HEADS.items()}
    for _ in range(2):
        sampler = make(kind)
        before = 1 if kind == "CL" else 3  # steps of epoch 0
        options = {"devices": world, "strategy": "ddp", "max_epochs": EPOCHS}
        if path is None:
            saving = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=before + STOP[1])
            options |= {"callbacks": [saving], "enable_checkpointing": True, "max_steps": before + STOP[1]}
        module = Module(sampler)
        lightning_trainer(BalanceCallback(sampler, heads=heads, fused="net.fusion"), **options).fit(
            module, ckpt_path=path
        )
        path = saving.best_model_path
    return record.end(sampler, module.net)


def transformers(kind, world, folder):
    record, before = Contract(), 1 if kind == "CL" else 3
    options = {"folder": folder, "record": record, "data": Rows(), "optimizer": no_learning, "num_train_epochs": EPOCHS}
    stop = before + STOP[1]
    first = make(kind, num_replicas=1, rank=0)
    trainer(world, sampler=first, save_strategy="steps", save_steps=stop, callbacks=[stop_at(stop)], **options)
    trainer(world, sampler=make(kind, num_replicas=1, rank=0), resume=f"{folder}/checkpoint-{stop}", **options)
    return record


def skorch(kind, world, folder, *, cloned=False):
    """One process: skorch has no DDP. The sampler is the one that the net has, which a clone copies."""
    from sklearn.base import clone
    from skorch import NeuralNet
    from skorch.callbacks import Callback

    record, state = Contract(), None

    class Epochs(Callback):
        def on_epoch_begin(self, net, **_):
            net.iterator_train__sampler.set_epoch(net.first + len(net.history) - 1)

        def on_epoch_end(self, net, **_):
            net.iterator_train__sampler.table.synchronize()

    class Ours(NeuralNet):
        first = 0

        def train_step_single(self, batch, **_):
            sampler = self.iterator_train__sampler
            record.step(sampler, batch["bss_index"])
            scores = bss.attach(self.module_, sampler.table, heads=HEADS, fused="fusion")
            with scores.batch(batch["bss_index"], batch["label"]):
                result = self.module_(batch["a"], batch["b"], batch["label"])
                result["loss"].backward()
            scores.detach()
            return {"loss": result["loss"], "y_pred": result["logits"]}

        def on_batch_end(self, net, batch=None, training=False, **_):
            if state is None and training and len(record.seen) == STOP[0] + 1:
                raise KeyboardInterrupt  # from here on as if the user had pressed Ctrl-C

    for _ in range(2):
        net = Ours(
            Net, torch.nn.CrossEntropyLoss, optimizer=torch.optim.SGD, lr=0.0, batch_size=BATCH, train_split=None,
            iterator_train__sampler=make(kind), callbacks=[Epochs()], max_epochs=EPOCHS, verbose=0,
        )  # fmt: skip
        net = clone(net) if cloned else net
        sampler = restored(net.iterator_train__sampler, state)
        net.first = 0 if state is None else STOP[0]
        net.set_params(max_epochs=EPOCHS - net.first)
        net.fit(bss.IndexedDataset(Rows()), y=None)
        state = state_of(sampler, BATCH)
    return record.end(sampler, net.module_)


FRAMEWORKS = {  # name -> what it needs, and the function
    "torchrun": (None, torchrun),
    "Fabric": ("lightning", fabric),
    "Lightning": ("lightning", lightning),
    "Accelerate": ("accelerate", accelerate),
    "HF Trainer": ("accelerate", transformers),
    "Ignite": ("ignite", ignite),
}
"""Those that two processes run; skorch has no DDP."""

KINDS = "SPL", "CL"
ALARMS = r"(the table|epoch \d|a second pass|a pass that|\d+ epochs)"
"""How our warnings begin: what follows the contract raises none."""


def run_all(installed, folder: Path) -> dict[str, Contract]:
    """On every process: "framework kind" -> what happened."""
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    results = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=ALARMS)
        for name, (package, run) in FRAMEWORKS.items():
            for kind in KINDS:
                if package is None or installed(package):
                    results[f"{name} {kind}"] = run(kind, 2, folder / f"{name} {kind}")
    return results
