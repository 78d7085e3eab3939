"""bss.attach: the table that hooks fill is the table that explicit updates fill, and the training does not notice."""

import copy
import io
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import bss
from bss.scoring.hooks import attach

HEADS = {"audio": "audio_head", "image": "vision.head"}
N = 24


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Dropout(0.3))
        self.head = nn.Linear(6, 3)

    def forward(self, image):
        features = self.encoder(image)
        return features, self.head(features)


class Net(nn.Module):
    """Somebody's model: it returns the fused logits only, and no head is in an obvious place."""

    def __init__(self, *, recompute=None):
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
        self.audio_head = nn.Linear(6, 3)
        self.vision = Vision()
        self.head = nn.Linear(12, 3)
        self.recompute = recompute
        self.unimodal = None

    def forward(self, audio, image):
        if self.recompute is None:
            return self.all_of_it(audio, image)
        # The reentrant form needs an input with a gradient.
        return checkpoint(self.all_of_it, audio.requires_grad_(), image, use_reentrant=self.recompute == "reentrant")

    def all_of_it(self, audio, image):
        features = self.audio(audio)
        audio_logits = self.audio_head(features)
        image_features, image_logits = self.vision(image)
        self.unimodal = {"audio": audio_logits, "image": image_logits}
        return self.head(torch.cat((features, image_features), dim=1)) + 0 * (audio_logits + image_logits)


class SumFusion(nn.Module):
    """No module returns the fused logits."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(5, 3)

    def forward(self, audio, image):
        return self.a(audio) + self.b(image)


class SharedHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(5, 6)
        self.shared = nn.Linear(6, 3)
        self.head = nn.Linear(12, 3)

    def forward(self, audio, image):
        a, b = self.a(audio), self.b(image)
        self.unimodal = {"audio": self.shared(a), "image": self.shared(b)}
        return self.head(torch.cat((a, b), dim=1))


def data(n=N):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(n, 4, generator=generator),
        torch.randn(n, 5, generator=generator),
        torch.arange(n) % 3,
    )


def build(kind=Net, **options):
    torch.manual_seed(0)
    return kind(**options)


def close(table):
    table.synchronize()
    return torch.stack((table.similarity, table.loss))


def train(model, *, way, heads=HEADS, fused="head", epochs=2):
    """Two epochs of SGD; the table is filled by hooks, by hand, or not at all. Returns (table rows, parameters)."""
    torch.manual_seed(7)
    table = bss.ScoreTable(N)
    scores = attach(model, table, heads=heads, fused=fused) if way == "hooks" else None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(bss.IndexedDataset(TensorDataset(*data())), batch_size=8, shuffle=True)
    rows = None
    for _ in range(epochs):
        for index, (audio, image, target) in loader:
            optimizer.zero_grad()
            if scores:
                with scores.batch(index, target):
                    cross_entropy(model(audio, image), target).backward()
            else:
                logits = model(audio, image)
                if way == "hand":
                    table.update(index, unimodal=model.unimodal, fused=logits, target=target)
                cross_entropy(logits, target).backward()
            optimizer.step()
        if way != "none":
            rows = close(table)
    if scores:
        scores.detach()
    return rows, [p.detach().clone() for p in model.parameters()]


# ---- what it records ----


@pytest.mark.parametrize("kind", [Net, SharedHead])
def test_hooks_fill_the_table_as_explicit_updates_do(kind):
    heads = HEADS if kind is Net else {"audio": "shared", "image": "shared"}
    by_hand, _ = train(build(kind), way="hand")
    hooked, _ = train(build(kind), way="hooks", heads=heads)
    assert torch.equal(hooked, by_hand)


def test_a_training_is_bit_identical_with_and_without_hooks(untouched_rngs):
    state = torch.get_rng_state()
    _, plain = train(build(), way="none")
    after_plain = torch.get_rng_state()
    _, hooked = train(build(), way="hooks")
    assert all(map(torch.equal, plain, hooked))
    assert torch.equal(after_plain, torch.get_rng_state())
    torch.set_rng_state(state)


@pytest.mark.parametrize("recompute", ["reentrant", "not reentrant"])
def test_activation_checkpointing_counts_once(recompute):
    by_hand, plain = train(build(), way="hand")
    hooked, checkpointed = train(build(recompute=recompute), way="hooks")
    assert torch.equal(hooked, by_hand)
    assert all(map(torch.equal, plain, checkpointed))


def test_backward_may_come_after_the_block():
    audio, image, target = data()
    tables = []
    for inside in (True, False):
        model, table = build(recompute="not reentrant"), bss.ScoreTable(N)
        scores = attach(model, table, heads=HEADS, fused="head")
        with scores.batch(range(N), target):
            loss = cross_entropy(model(audio.clone(), image), target)
            if inside:
                loss.backward()
        if not inside:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # the recomputation is not mistaken for an unscored batch
                loss.backward()
        tables.append(close(table))
    assert torch.equal(*tables)


def test_fused_logits_may_be_a_function_of_the_unimodal_ones_or_the_model_s_own_output():
    audio, image, target = data()
    rows = []
    for fused in (lambda unimodal: unimodal["audio"] + unimodal["image"], ""):
        model, table = build(SumFusion), bss.ScoreTable(N)
        with attach(model, table, heads={"audio": "a", "image": "b"}, fused=fused) as scores:
            with scores.batch(range(N), target):
                model(audio, image)
        rows.append(close(table))
    assert torch.equal(*rows)


def test_outputs_that_are_objects_mappings_or_tuples():
    class Output:
        def __init__(self, logits):
            self.logits = logits

    audio, image, target = data()
    rows = []
    for wrap, select in (
        (lambda x: x, None),
        (Output, None),
        (lambda x: {"logits": x, "hidden": None}, None),
        (lambda x: (x, None), {name: lambda output: output[0] for name in ("audio", "image", "fused")}),
    ):
        model, table = build(SumFusion), bss.ScoreTable(N)
        for part in (model.a, model.b):
            part.register_forward_hook(lambda module, args, output, wrap=wrap: wrap(output))
        model.forward = lambda a, b, model=model, wrap=wrap: (
            (model.a(a), model.b(b)) and wrap(nn.functional.linear(a, model.a.weight, model.a.bias))
        )
        with attach(model, table, heads={"audio": "a", "image": "b"}, fused="", select=select) as scores:
            with scores.batch(range(N), target):
                model(audio, image)
        rows.append(close(table))
    assert all(torch.equal(rows[0], other) for other in rows[1:])


def test_what_the_model_does_to_the_logits_afterwards_is_not_seen():
    class InPlace(SumFusion):
        def forward(self, audio, image):
            a, b = self.a(audio), self.b(image)
            fused = a + b
            with torch.no_grad():
                a.zero_(), b.zero_()
            return fused

    audio, image, target = data()
    rows = []
    for kind in (SumFusion, InPlace):
        model, table = build(kind), bss.ScoreTable(N)
        scores = attach(model, table, heads={"audio": "a", "image": "b"}, fused="")
        with scores.batch(range(N), target):
            model(audio, image)
        rows.append(close(table))
    assert torch.equal(*rows)


def test_nothing_is_read_back_from_the_device(monkeypatch):
    class NoReads(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            assert function is not torch.ops.aten._local_scalar_dense.default
            return function(*args, **(kwargs or {}))

    model, table = build(), bss.ScoreTable(N)
    audio, image, target = data()
    scores = attach(model, table, heads=HEADS, fused="head")
    updates = []
    monkeypatch.setattr(table, "update", lambda index, **logits: updates.append(logits))
    with NoReads(), scores.batch(torch.arange(N), target):
        model(audio, image)
    assert not any(values.requires_grad for values in (*updates[0]["unimodal"].values(), updates[0]["fused"]))


def test_only_training_is_recorded():
    model, table = build(), bss.ScoreTable(N)
    audio, image, target = data()
    scores = attach(model, table, heads=HEADS, fused="head")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.eval()(audio, image)
        with torch.no_grad():
            model.train()(audio, image)  # statistics being collected, say
    assert not table.is_open
    with pytest.raises(ValueError, match="eval mode, and only training is scored"), scores.batch(range(N), target):
        model.eval()(audio, image)


def test_a_forgotten_block_is_warned_of():
    model, table = build(), bss.ScoreTable(N)
    audio, image, _ = data()
    attach(model, table, heads=HEADS, fused="head")
    with pytest.warns(UserWarning, match=r"outside `with scores\.batch"):
        model(audio, image)


def test_detached_hooks_are_gone_and_say_so():
    model = build()
    audio, image, target = data()
    with attach(model, bss.ScoreTable(N), heads=HEADS, fused="head") as scores:
        assert sum(len(module._forward_hooks) for module in model.modules()) == 3
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match=r"call bss\.attach again"), scores.batch(range(N), target):
        model(audio, image)


def test_copies_of_the_model_are_not_attached():
    model, table = build(), bss.ScoreTable(N)
    audio, image, target = data()
    scores = attach(model, table, heads=HEADS, fused="head")
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        with scores.batch(range(N), target):
            model(audio, image)
            other(audio, image)  # not a second call
    assert table.is_open


def test_a_block_that_raises_records_nothing_and_the_next_one_works():
    model, table = build(), bss.ScoreTable(N)
    audio, image, target = data()
    scores = attach(model, table, heads=HEADS, fused="head")
    with pytest.raises(RuntimeError, match="out of memory"), scores.batch(range(N), target):
        model(audio, image)
        raise RuntimeError("out of memory")
    assert not table.is_open
    with scores.batch(range(N), target):
        model(audio, image)
    assert table.is_open


# ---- wrapped models ----


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_compiled_model_is_one_graph_and_scored(when):
    torch._dynamo.reset()
    model, table = build(), bss.ScoreTable(N)
    model.vision.encoder[2].p = 0.0
    audio, image, target = data()
    reference = copy.deepcopy(model)
    compiled = torch.compile(model, backend="eager", fullgraph=True) if when == "before" else model
    scores = attach(compiled, table, heads=HEADS, fused="head")
    compiled = torch.compile(model, backend="eager", fullgraph=True) if when == "after" else compiled
    for part in (slice(0, 12), slice(12, 24)):
        with scores.batch(range(N)[part], target[part]):
            compiled(audio[part], image[part]).sum().backward()
    logits = reference(audio, image)
    expected = bss.ScoreTable(N)
    expected.update(range(N), unimodal=reference.unimodal, fused=logits, target=target)
    torch.testing.assert_close(close(table), close(expected))


@pytest.mark.parametrize("when", ["before", "after"])
def test_distributed_data_parallel_may_come_before_or_after(when, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/world", rank=0, world_size=1)
    try:
        model, table = build(), bss.ScoreTable(N)
        audio, image, target = data()
        wrapped = nn.parallel.DistributedDataParallel(model) if when == "before" else model
        scores = attach(wrapped, table, heads=HEADS, fused="head")
        wrapped = nn.parallel.DistributedDataParallel(model) if when == "after" else wrapped
        with scores.batch(range(N), target):
            cross_entropy(wrapped(audio, image), target).backward()
        assert not close(table).isnan().any()
    finally:
        torch.distributed.destroy_process_group()


def test_data_parallel_is_refused_at_once_and_when_it_comes_later():
    model = build()
    with pytest.raises(ValueError, match=r"DataParallel.*use DistributedDataParallel"):
        attach(nn.DataParallel(model), bss.ScoreTable(N), heads=HEADS, fused="module.head")
    scores = attach(model, bss.ScoreTable(N), heads=HEADS, fused="head")
    _, _, target = data()
    replica = model.head._replicate_for_data_parallel()  # what DataParallel's threads call
    replica.weight, replica.bias = model.head.weight, model.head.bias
    with pytest.raises(ValueError, match="replicas in threads"), scores.batch(range(N), target):
        replica(torch.zeros(N, 12))


# ---- wrong use, by name ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": {"audio": "audio_head"}}, "two or more modalities"),
        ({"heads": {"audio": "audio_head", "fused": "head"}}, "none of them called 'fused'"),
        ({"heads": HEADS | {"image": "head_image"}}, "no module 'head_image' for the image head; .*audio_head"),
        ({"fused": "fusion"}, "no module 'fusion' for the fused head"),
        ({"fused": "audio_head"}, "is the fused head and a modality's"),
        ({"select": {"text": len}}, "select names 'text'"),
    ],
)
def test_a_wrong_attachment_is_refused_by_name_and_leaves_no_hooks(options, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        attach(model, bss.ScoreTable(N), **({"heads": HEADS, "fused": "head"} | options))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("names", "asked", "shown"),
    [
        ("pqrstu", "abcde", "p, q, r, s, t"),  # none is like it: the first five
        (["p", "q", "r", "s", "t", "u", "abxyz"], "abcde", "abxyz"),  # two of five letters
        (["head1", "head2"], "head", "head2, head1"),
        ([f"head{number}" for number in range(7)], "head", "head6, head5, head4, head3, head2"),
    ],
)
def test_at_most_five_modules_are_shown_in_place_of_one_that_there_is_not(names, asked, shown):
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in names})
    with pytest.raises(ValueError, match=f"no module '{asked}' for the a head; there are, for example, {shown}$"):
        attach(model, bss.ScoreTable(2), heads={"a": asked, "b": names[0]}, fused=names[1])


def test_a_head_that_a_step_does_not_use_is_named():
    model = build()
    audio, _, target = data()
    scores = attach(model, bss.ScoreTable(N), heads=HEADS, fused="head")
    with (
        pytest.raises(ValueError, match=r"the image head \(vision\.head\) was not called"),
        scores.batch(range(N), target),
    ):
        model.audio_head(model.audio(audio))


@pytest.mark.parametrize(("kind", "calls"), [(Net, "2 times in this step, not 1"), (SharedHead, "4 times .* not 2")])
def test_two_forward_passes_in_one_block_are_refused(kind, calls):
    model, table = build(kind), bss.ScoreTable(N)
    audio, image, target = data()
    heads = HEADS if kind is Net else {"audio": "shared", "image": "shared"}
    scores = attach(model, table, heads=heads, fused="head")
    with pytest.raises(ValueError, match=f"was called {calls}"), scores.batch(range(N), target):
        model(audio, image)
        model(audio, image)
    assert not table.is_open


def test_a_shared_head_that_is_named_once_only_is_refused():
    model = build(SharedHead)
    audio, image, target = data()
    scores = attach(model, bss.ScoreTable(N), heads={"audio": "shared", "image": "b"}, fused="head")
    with (
        pytest.raises(ValueError, match=r"the audio head \(shared\) was called 2 times"),
        scores.batch(range(N), target),
    ):
        model(audio, image)


def test_outputs_that_are_no_logits_name_the_head_and_the_way_out():
    model = build()
    audio, image, target = data()
    scores = attach(model, bss.ScoreTable(N), heads=HEADS | {"image": "vision"}, fused="head")
    with (
        pytest.raises(ValueError, match=r"the image head \(vision\) returned a tuple: select=\{'image'"),
        scores.batch(range(N), target),
    ):
        model(audio, image)
    scores = attach(build(), bss.ScoreTable(N), heads=HEADS, fused="head")
    with pytest.raises(ValueError, match=r"must return logits \(5, C\) for 5 samples, got \(24, 3\)"):
        with scores.batch(range(5), target[:5]):
            scores._model(audio, image)


def test_blocks_cannot_be_nested():
    model = build()
    _, _, target = data()
    scores = attach(model, bss.ScoreTable(N), heads=HEADS, fused="head")
    with pytest.raises(ValueError, match="cannot be nested"), scores.batch([0], target[:1]):
        with scores.batch([0], target[:1]):
            pass
    with pytest.raises(ValueError, match="begin"):
        scores.end()


# ---- heads that change after the call ----


class Scaled(nn.Module):
    """Whatever wraps a head and changes its output: LoRA, a temperature, a cosine head."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, features):
        return 5 * self.inner(features)


class SameOutput(nn.Module):
    """What activation checkpointing and FSDP make of a module."""

    def __init__(self, inner, name):
        super().__init__()
        setattr(self, name, inner)

    def forward(self, features):
        return next(self.children())(features)


def change(model, kind):
    parent, name = (model, "audio_head") if kind[0] == "audio" else (model.vision, "head")
    head = getattr(parent, name)
    if kind[1] == "deleted":
        delattr(parent, name)
    else:
        setattr(parent, name, {"wrapped": Scaled(head), "replaced": nn.Linear(6, 3)}[kind[1]])


@pytest.mark.parametrize(
    "kind", [("audio", "wrapped"), ("image", "wrapped"), ("audio", "replaced"), ("image", "deleted")]
)
def test_a_head_that_changed_after_attaching_is_refused_before_the_forward_pass(kind):
    model, table = build(), bss.ScoreTable(N)
    scores = attach(model, table, heads=HEADS, fused="head")
    change(model, kind)
    _audio, _image, target = data()
    with (
        pytest.raises(ValueError, match=rf"the {kind[0]} head .*attach after wrapping or replacing it"),
        scores.batch(range(N), target),
    ):
        pytest.fail("the block began")
    assert not table.is_open


def test_a_fused_head_that_changed_is_refused_too_and_attaching_anew_scores_what_the_model_uses():
    model, table = build(SharedHead), bss.ScoreTable(N)
    audio, image, target = data()
    heads = {"audio": "shared", "image": "shared"}
    old = attach(model, table, heads=heads, fused="head")
    model.head = Scaled(model.head)
    with pytest.raises(ValueError, match=r"the fused head .*is another module by now, a Scaled"):
        old.begin(range(N), target)
    old.detach()
    with attach(model, table, heads=heads, fused="head") as scores, scores.batch(range(N), target):
        fused = model(audio, image)
    expected = bss.sample_loss(fused.detach(), {n: z.detach() for n, z in model.unimodal.items()}, target)
    assert torch.equal(close(table)[1], expected)


@pytest.mark.parametrize("name", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_wrappers_that_leave_the_output_alone_may_come_later(name):
    model, table = build(), bss.ScoreTable(N)
    audio, image, target = data()
    scores = attach(model, table, heads=HEADS, fused="head")
    model.audio_head = SameOutput(model.audio_head, name)
    with scores.batch(range(N), target):
        model(audio, image)
    assert table.is_open


def test_a_hook_that_comes_later_and_changes_the_output_is_seen():
    model, table = build(), bss.ScoreTable(N)
    audio, image, target = data()
    scores = attach(model, table, heads=HEADS, fused="head")
    model.audio_head.register_forward_hook(lambda module, inputs, output: output / 0.1)
    with scores.batch(range(N), target):
        fused = model(audio, image)
    expected = bss.sample_loss(fused.detach(), {n: z.detach() for n, z in model.unimodal.items()}, target)
    assert torch.equal(close(table)[1], expected)


# ---- scores of one's own ----


def bce(fused, unimodal, target):
    return sum(
        functional.binary_cross_entropy_with_logits(z, target, reduction="none").mean(1)
        for z in (fused, *unimodal.values())
    )


def test_several_labels_are_scored_by_a_loss_of_ones_own():
    model, table = build(), bss.ScoreTable(N)
    audio, image, target = data()
    several = torch.nn.functional.one_hot(target, 3).float()
    several[::3, 0] = 1
    scores = attach(model, table, heads=HEADS, fused="head", loss=bce)
    with scores.batch(range(N), several):
        fused = model(audio, image)
    unimodal = {n: z.detach() for n, z in model.unimodal.items()}
    similarity, loss = close(table)
    assert torch.equal(loss, bce(fused.detach(), unimodal, several))
    assert torch.equal(similarity, bss.prediction_similarity(unimodal))


class OneLogit(SumFusion):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 1), nn.Linear(5, 1)


def test_one_logit_needs_a_similarity_of_ones_own_as_well():
    model, table = build(OneLogit), bss.ScoreTable(N)
    audio, image, _target = data()
    options = {"heads": {"audio": "a", "image": "b"}, "fused": "", "loss": bce}
    number = torch.rand(N, 1)
    with pytest.raises(ValueError, match=r"the audio head \(a\) returned \(\d+, 1\).*pass similarity="):
        with attach(model, table, **options) as scores, scores.batch(range(N), number):
            model(audio, image)
    near = lambda unimodal: -(unimodal["audio"] - unimodal["image"]).abs().squeeze(1)  # noqa: E731
    with attach(model, table, **options, similarity=near) as scores, scores.batch(range(N), number):
        model(audio, image)
    unimodal = {"audio": model.a(audio).detach(), "image": model.b(image).detach()}
    assert torch.equal(close(table)[0], near(unimodal))


def test_one_logit_without_a_loss_of_ones_own_is_refused_with_the_way_out():
    model, table = build(OneLogit), bss.ScoreTable(N)
    audio, image, target = data()
    scores = attach(model, table, heads={"audio": "a", "image": "b"}, fused="")
    with pytest.raises(ValueError, match=r"one for each sample.*torch\.cat\(\[torch\.zeros_like\(z\), z\], 1\)"):
        with scores.batch(range(N), target % 2):
            model(audio, image)
    two = lambda z: torch.cat([torch.zeros_like(z), z], 1)  # noqa: E731
    scores.detach()
    select = dict.fromkeys(("audio", "image", "fused"), two)
    with attach(model, table, heads={"audio": "a", "image": "b"}, fused="", select=select) as scores:
        with scores.batch(range(N), target % 2):
            fused = model(audio, image)
    heads = (fused.squeeze(1).detach(), model.a(audio).squeeze(1).detach(), model.b(image).squeeze(1).detach())
    expected = sum(
        functional.binary_cross_entropy_with_logits(z, (target % 2).float(), reduction="none") for z in heads
    )
    assert torch.allclose(close(table)[1], expected, atol=1e-6)


def test_a_loss_that_is_no_number_for_each_sample_is_refused():
    model, table = build(), bss.ScoreTable(N)
    audio, image, target = data()
    scores = attach(model, table, heads=HEADS, fused="head", loss=lambda *parts: bce(*parts).mean())
    with pytest.raises(ValueError, match=r"one number for each of \d+ samples, got \(\): reduction="):
        with scores.batch(range(N), torch.nn.functional.one_hot(target, 3).float()):
            model(audio, image)
    with pytest.raises(ValueError, match="similarity= goes with loss="):
        attach(model, table, heads=HEADS, fused="head", similarity=lambda unimodal: None)


def test_a_head_that_sees_some_of_the_samples_only_is_told_what_to_do():
    model, table = build(), bss.ScoreTable(N)
    audio, image, target = data()
    scores = attach(model, table, heads=HEADS, fused="head")
    with pytest.raises(ValueError, match="only some of a batch's samples"):
        with scores.batch(range(N), target):
            model(audio[:-1], image[:-1])
    with pytest.raises(ValueError, match=r"several rows of a sample index\.repeat\(K\)"):
        with scores.batch(range(N), target):
            model(torch.cat((audio, audio)), torch.cat((image, image)))


# ---- one linear head on concatenated features ----


class OneHead(nn.Module):
    """The field's usual network."""

    def __init__(self):
        super().__init__()
        self.audio, self.image = nn.Linear(4, 6), nn.Linear(5, 3)
        self.fc_out = nn.Linear(9, 3)

    def forward(self, audio, image):
        self.features = {"audio": self.audio(audio), "image": self.image(image)}
        return self.fc_out(torch.cat(list(self.features.values()), dim=1))


def test_slices_of_one_head_fill_the_table_as_explicit_updates_do():
    model, (audio, image, target) = build(OneHead), data()
    logits_of = bss.slices(model.fc_out, {"audio": 6, "image": 3})
    by_hand, by_hooks = bss.ScoreTable(N), bss.ScoreTable(N)
    with attach(model, by_hooks, heads=logits_of, fused="fc_out") as scores, scores.batch(torch.arange(N), target):
        fused = model(audio, image)
    by_hand.update(torch.arange(N), unimodal=logits_of(model.features), fused=fused, target=target)
    torch.testing.assert_close(close(by_hooks), close(by_hand))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fused": "audio"}, "fused='fc_out'"),
        ({"fused": lambda unimodal: sum(unimodal.values())}, "fused='fc_out'"),
        ({"heads": bss.slices(nn.Linear(9, 3), {"audio": 6, "image": 3})}, "no module of this model"),
        ({"select": {"audio": lambda features: features}}, r"none of the heads \['fused'\]"),
        ({"heads": {}}, r"heads=bss\.slices\(layer"),
        ({"heads": {"audio": "audio", "image": "fc_out"}}, r"heads=bss\.slices\(layer"),
    ],
    ids=["another", "function", "foreign", "select", "none", "fused twice"],
)
def test_a_head_that_is_not_the_sliced_one_is_refused(options, said):
    model = build(OneHead)
    heads = bss.slices(model.fc_out, {"audio": 6, "image": 3})
    with pytest.raises(ValueError, match=said):
        attach(model, bss.ScoreTable(N), **{"heads": heads, "fused": "fc_out", **options})


def test_features_in_place_of_logits_are_told_of_slices():
    model, (audio, image, target) = build(OneHead), data()
    scores = attach(model, bss.ScoreTable(N), heads={"audio": "audio", "image": "image"}, fused="fc_out")
    with pytest.raises(ValueError, match=r"bss\.slices\(head"), scores.batch(torch.arange(N), target):
        model(audio, image)


def test_a_sliced_head_that_runs_twice_in_a_step_is_refused():
    model, (audio, image, target) = build(OneHead), data()
    heads = bss.slices(model.fc_out, {"audio": 6, "image": 3})
    scores = attach(model, bss.ScoreTable(N), heads=heads, fused="fc_out")
    said = r"the fused head \(fc_out\) was called 2 times in this step, not 1"
    with pytest.raises(ValueError, match=said), scores.batch(torch.arange(N), target):
        model(audio, image)
        model(audio, image)


# ---- torch.func ----


def called_functionally(model, table, how):
    audio, image, target = data()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def loss(weights, audio, image, target):
        return cross_entropy(torch.func.functional_call(model, weights, (audio, image)), target)

    def of_one(weights, audio, image, target):
        return loss(weights, audio[None], image[None], target[None])

    scores = attach(model, table, heads=bss.slices(model.fc_out, {"audio": 6, "image": 3}), fused="fc_out")
    with scores.batch(torch.arange(N), target):
        if how == "functional_call":
            loss(weights, audio, image, target)
        elif how == "grad":
            torch.func.grad(loss)(weights, audio, image, target)
        elif how == "per sample":
            torch.func.vmap(torch.func.grad(of_one), in_dims=(None, 0, 0, 0))(weights, audio, image, target)
        else:
            stacked = {name: torch.stack([weight, weight]) for name, weight in weights.items()}
            torch.func.vmap(loss, in_dims=(0, None, None, None))(stacked, audio, image, target)


@pytest.mark.parametrize("how", ["functional_call", "grad"])
def test_functional_training_is_scored(how):
    model, table = build(OneHead), bss.ScoreTable(N)
    called_functionally(model, table, how)
    assert close(table).isfinite().all()


@pytest.mark.parametrize("how", ["per sample", "ensemble"])
def test_under_vmap_the_way_out_is_an_update_of_one_s_own(how):
    table = bss.ScoreTable(N)
    with pytest.raises(ValueError, match=r"under torch\.func\.vmap, .* call table\.update yourself"):
        called_functionally(build(OneHead), table, how)
    assert not table.is_open
