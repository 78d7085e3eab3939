"""Every method's formulas by hand, then what all of them must do in a run: compose, resume, and agree on processes."""

import json
import math
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import bss
from bss.data.indexed import IndexedDataset, Key, SeededViews, Variants
from bss.methods import (
    AGM,
    MLA,
    MSLR,
    OGMGE,
    Alternating,
    Arranging,
    DataRemixing,
    Masking,
    Method,
    MMPareto,
    ModalityDropout,
    ReconBoost,
    SampleValuation,
)
from bss.methods import METHODS as CLASSES
from bss.methods.agm import coefficients
from bss.methods.mla import absorbed
from bss.methods.mmpareto import pareto_weights
from bss.methods.modality_dropout import kept_modalities
from bss.methods.mslr import progress_ratio
from bss.methods.ogm_ge import modulate, modulation
from bss.methods.reconboost import boosting_loss
from bss.methods.sample_valuation import extra_copies
from bss.models.fusion import ConcatFusion
from bss.models.late_fusion import KEEP_KEY, LateFusion, Logits
from bss.recipes.recipe import Schedule
from bss.samplers import UniformSampler
from bss.scoring.formulas import head_losses
from bss.scoring.metrics import certainty
from bss.training.build import optimizer_of
from bss.training.engine import fit
from bss.training.loops import Step
from bss.training.run import Run
from bss.training.run_folder import read_checkpoint
from bss.utils.errors import RecipeError, RunFolderError
from bss.utils.interrupts import Interrupted
from tests import tiny
from tests.training import ddp_worker
from tests.training.ddp_worker import METHODS, SPL, recipe_for
from tests.training.test_distributed import assert_equal_runs, launch
from tests.training.test_resume import assert_identical

CPU = torch.device("cpu")
BOTH = {"fused": 1.0, "audio": 1.0, "visual": 1.0}


def begun(method, model=None, num_samples=60):
    """The method at the start of a run."""
    method.begin_run(bss.ScoreTable(num_samples), model or tiny.model())
    return method


def batch_of(index, data=None):
    data = data or tiny.features(60)
    samples = [data[i] for i in index]
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in tiny.DIMS}
    label = torch.tensor([sample["label"] for sample in samples])
    return {**batch, "label": label, "bss_index": torch.tensor(index)}


def losses_of(model, batch):
    logits = model(batch)
    return head_losses({"fused": logits.fused, **logits.unimodal}, batch["label"])


def tensors(**values):
    return {name: torch.tensor(float(value)) for name, value in values.items()}


# ---- OGM-GE --------------------------------------------------------------------------------------------------------


def test_the_modality_that_leads_is_slowed_down_by_its_lead():
    k = modulation(tensors(audio=6, visual=2), alpha=0.1)
    # rho = 6 / 2 = 3, 1 - tanh(0.3) = 0.708687; visual's rho is 1/3
    assert k["audio"].item() == pytest.approx(0.708687, abs=1e-6) and k["visual"].item() == 1.0


def test_with_three_modalities_a_lead_is_over_the_mean_of_the_others():
    k = modulation(tensors(rgb=6, flow=2, depth=1), alpha=0.5)
    # 6 / 1.5 = 4: 1 - tanh(2);  2 / 3.5 and 1 / 4 are below 1
    assert k["rgb"].item() == pytest.approx(1 - math.tanh(2.0), abs=1e-6)
    assert k["flow"].item() == k["depth"].item() == 1.0


@given(st.lists(st.floats(0.01, 64), min_size=2, max_size=4), st.floats(0.01, 3))
def test_no_gradient_grows_and_the_weakest_modality_keeps_its_own(scores, alpha):
    k = modulation({str(n): torch.tensor(s, dtype=torch.float64) for n, s in enumerate(scores)}, alpha=alpha)
    assert all(0 <= value <= 1 for value in k.values())
    assert k[str(scores.index(min(scores)))] == 1 or max(scores) - min(scores) < 1e-9


def with_gradients(model):
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    return model


def leading_audio():
    """Logits that give audio's true classes 3/4 and visual's 1/4."""
    lead, lag = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.0, math.log(3)]])
    return Logits(lead, {"audio": lead.expand(5, 2), "visual": lag.expand(5, 2)}), torch.zeros(5, dtype=torch.int64)


def test_the_leading_modalitys_encoder_alone_is_modulated():
    model = with_gradients(tiny.model())
    begun(OGMGE(alpha=0.8, noise=False), model).after_backward(model, *leading_audio())
    expected = 1 - math.tanh(0.8 * 3)
    for name, parameter in model.named_parameters():
        value = expected if name.startswith("encoders.audio") else 1.0
        torch.testing.assert_close(parameter.grad, torch.full_like(parameter, value))


def test_the_noise_has_the_deviation_of_the_gradient_before_the_modulation():
    gradient = torch.tensor([1.0, 3.0]).repeat(50_000)
    modulate(gradient, torch.tensor(0.5), torch.Generator().manual_seed(0))
    noise = gradient - torch.tensor([0.5, 1.5]).repeat(50_000)
    assert noise.std().item() == pytest.approx(1.0, abs=0.02) and abs(noise.mean().item()) < 0.02


def test_a_single_number_gets_no_noise():
    gradient = torch.tensor([4.0])
    modulate(gradient, torch.tensor(0.5), torch.Generator().manual_seed(0))
    assert gradient.tolist() == [2.0]


def noisy_gradients(method, steps=1):
    for _ in range(steps):
        model = with_gradients(tiny.model())
        for parameter in model.parameters():
            parameter.grad.copy_(torch.arange(parameter.numel()).view_as(parameter))
        begun(method, model).after_backward(model, *leading_audio())
    return torch.cat([parameter.grad.flatten() for parameter in model.encoders.parameters()])


def test_the_noise_is_a_function_of_seed_and_step():
    first = noisy_gradients(OGMGE(seed=3))
    assert torch.equal(first, noisy_gradients(OGMGE(seed=3)))
    assert not torch.equal(first, noisy_gradients(OGMGE(seed=4)))
    continued = OGMGE(seed=3)
    continued.load_state_dict({"step": 1})
    second = noisy_gradients(OGMGE(seed=3), steps=2)
    assert not torch.equal(first, second) and torch.equal(second, noisy_gradients(continued))


def test_after_its_last_epoch_ogm_ge_leaves_the_gradients_alone():
    def left_alone(epoch):
        model, method = with_gradients(tiny.model()), OGMGE(last_epoch=2)
        begun(method, model).begin_epoch(epoch)
        method.after_backward(model, *leading_audio())
        return all((parameter.grad == 1).all() for parameter in model.parameters())

    assert [left_alone(epoch) for epoch in (1, 2, 3)] == [False, False, True]


# ---- MMPareto ------------------------------------------------------------------------------------------------------


def integrated(fused, unimodal, gamma=1.5):
    f, u = torch.tensor(fused, dtype=torch.float64), torch.tensor(unimodal, dtype=torch.float64)
    factor, other = pareto_weights(f @ f, u @ u, f @ u, gamma=gamma)
    return factor * f + other * u


def test_gradients_that_agree_are_added():
    assert integrated([1.0, 0.0], [1.0, 1.0]).tolist() == pytest.approx([1.5 * 2, 1.5 * 1])


def test_gradients_in_conflict_give_the_shortest_sum_at_the_length_of_the_plain_one():
    # f.f = 1, u.u = 2, f.u = -1: the weight of f is (2 + 1) / (1 + 2 + 2) = 3/5, and 2 (3/5 f + 2/5 u) = (0.4, 0.8)
    # of length sqrt(0.8); f + u = (0, 1) has length 1.
    scale = 1.5 / math.sqrt(0.8)
    assert integrated([1.0, 0.0], [-1.0, 1.0]).tolist() == pytest.approx([0.4 * scale, 0.8 * scale])


@pytest.mark.parametrize(("f", "u"), [([0.3], [-0.6]), ([0.0, 0.0], [0.0, 0.0]), ([0.0, 0.0], [1.0, -2.0])])
def test_without_a_common_direction_an_encoder_stays(f, u):
    assert integrated(f, u).tolist() == pytest.approx([0.0] * len(f), abs=1e-12)


vectors = st.lists(st.floats(-10, 10), min_size=3, max_size=3)


@given(vectors, vectors)
def test_a_step_never_harms_one_of_the_two_losses(fused, unimodal):
    f, u = torch.tensor(fused, dtype=torch.float64), torch.tensor(unimodal, dtype=torch.float64)
    step = integrated(fused, unimodal)
    size = float(f @ f + u @ u)
    assert f @ step >= -1e-4 * size and u @ step >= -1e-4 * size
    assert step.norm() <= 1.5 * 2 * math.sqrt(size) + 1e-9


def test_heads_follow_the_joint_loss_and_encoders_both_of_theirs():
    model, batch = tiny.model(), batch_of(list(range(12)))
    weights = {"fused": 0.5, "audio": 2.0, "visual": 2.0}
    method = begun(MMPareto(gamma=1.2), model)
    losses = losses_of(model, batch)
    method.backward(method.loss(losses, weights), losses, model)
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    def gradient(names):
        model.zero_grad()
        losses = losses_of(model, batch)
        sum(weights[name] * losses[name].mean() for name in names).backward()
        return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}

    joint, fused = gradient(BOTH), gradient(["fused"])
    for name in found:
        if not name.startswith("encoders"):
            torch.testing.assert_close(found[name], joint[name])
    for modality in tiny.DIMS:
        own = gradient([modality])
        names = [name for name in found if name.startswith(f"encoders.{modality}")]
        f, u, got = (torch.cat([part[name].flatten() for name in names]).double() for part in (fused, own, found))
        torch.testing.assert_close(got, integrated(f.tolist(), u.tolist(), gamma=1.2), rtol=1e-4, atol=1e-6)


def test_a_frozen_encoder_is_left_alone():
    model, batch = tiny.model(), batch_of([0, 1, 2])
    model.encoders["audio"].requires_grad_(False)
    method, losses = begun(MMPareto(), model), losses_of(model, batch)
    method.backward(method.loss(losses, BOTH), losses, model)
    assert all(parameter.grad is None for parameter in model.encoders["audio"].parameters())
    assert all(parameter.grad is not None for parameter in model.encoders["visual"].parameters())


@pytest.mark.parametrize("kind", [MMPareto, MSLR, MLA, partial(ReconBoost, batch_size=4)])
def test_encoders_that_share_weights_are_refused_by_name(kind):
    encoder, dims = nn.Linear(3, 2), {"left": 2, "right": 2}
    shared = LateFusion({"left": encoder, "right": encoder}, ConcatFusion(dims, 3), 3, feature_dims=dims)
    with pytest.raises(RecipeError, match="left and right share weights"):
        begun(kind(), shared)


# ---- AGM -----------------------------------------------------------------------------------------------------------


def test_a_modality_further_ahead_than_it_used_to_be_is_slowed_down():
    # r = exp(2 - 1) and exp(1 - 2), both were 1; the weak one's gradient grows.
    k = coefficients(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 1.5]), alpha=0.5, limit=10.0)
    assert k.tolist() == pytest.approx([math.exp(0.5 * (1 - math.e)), math.exp(0.5 * (1 - 1 / math.e))])
    k = coefficients(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]), alpha=0.5, limit=3.0)
    assert k[0].item() == pytest.approx(math.exp(0.5 * 3))  # exp(4) - exp(1) is beyond the limit


def test_with_three_modalities_the_ratio_is_to_their_mean():
    k = coefficients(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3), alpha=1.0, limit=10.0)
    assert k.tolist() == pytest.approx([math.exp(1 - math.exp(1.5)), 1.0, math.exp(1 - math.exp(-1.5))])


def fused_gradients(model, batch, method):
    """Of the fused head's loss alone, by name."""
    batch = method.before_forward(batch)
    with method.around_forward():
        losses = losses_of(model, batch)
    model.zero_grad()
    method.backward(method.loss(losses, {"fused": 1.0, "audio": 0.0, "visual": 0.0}), losses, model)
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def scores_of(method, label):
    return [nn.functional.cross_entropy(response, label).item() for response in method.responses.values()]


def test_the_response_of_a_modality_to_a_linear_head_is_its_part_of_it():
    model, batch = tiny.model(), batch_of([0, 1, 2, 3])
    method = begun(AGM(), model)
    fused_gradients(model, batch, method)
    features, head = model.encode(batch), model.fusion.classifier
    for name, weight in zip(tiny.DIMS, head.weight.split(4, dim=1), strict=True):
        torch.testing.assert_close(method.responses[name], features[name] @ weight.T + head.bias / 2)


def test_a_modalitys_gradient_is_modulated_as_its_response_is():
    model, batch = tiny.model(), batch_of(list(range(12)))
    plain = fused_gradients(model, batch, Method())
    method = begun(AGM(alpha=2.0), model)
    found = fused_gradients(model, batch, method)
    k = dict(zip(tiny.DIMS, method.factors_M.tolist(), strict=True))
    audio, visual = scores_of(method, batch["label"])
    assert k["audio"] == pytest.approx(math.exp(2.0 * (1 - math.exp(visual - audio))), rel=1e-5)
    assert min(k.values()) < 0.99 and max(k.values()) > 1.01
    for name, gradient in found.items():
        if (part := name.split(".")[1]) in k:
            torch.testing.assert_close(gradient, k[part] * plain[name], rtol=1e-4, atol=1e-6)
    columns = [each["fusion.classifier.weight"].split(4, dim=1) for each in (found, plain)]
    for name, got, before in zip(k, *columns, strict=True):
        torch.testing.assert_close(got, k[name] * before, rtol=1e-4, atol=1e-6)


def test_a_step_is_compared_with_the_mean_of_those_before_it():
    model = tiny.model()
    method, seen = begun(AGM(), model), []
    for index in ([0, 1, 2], [3, 4, 5]):
        fused_gradients(model, batch_of(index), method)
        seen.append(scores_of(method, batch_of(index)["label"]))
    mean_M = torch.tensor(seen).mean(dim=0)
    torch.testing.assert_close(method.means_M.float(), mean_M)
    continued = begun(AGM(), model)
    continued.load_state_dict(method.state_dict())
    for each in (method, continued):
        fused_gradients(model, batch_of([6, 7, 8]), each)
    expected = coefficients(torch.tensor(scores_of(method, batch_of([6, 7, 8])["label"])), mean_M, alpha=1, limit=10)
    torch.testing.assert_close(method.factors_M.float(), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(method.factors_M, continued.factors_M) and torch.equal(method.means_M, continued.means_M)


def test_masked_decodings_leave_the_network_as_it_is():
    model = tiny.model(dropout=0.5)
    model.fusion = nn.Sequential(model.fusion, nn.BatchNorm1d(3))
    method = begun(AGM(), model)
    with method.around_forward():
        model(batch_of([0, 1, 2, 3]))
    assert model.fusion[1].num_batches_tracked == 1 and all(part.training for part in model.modules())
    assert "decode" not in vars(model)


@pytest.mark.parametrize("largest", [0.5, 4.0])
def test_where_the_fusions_gradient_is_large_all_gradients_are_clipped(largest):
    model = with_gradients(tiny.model())
    model.fusion.classifier.weight.grad.fill_(-largest)
    model.fusion.classifier.bias.grad.zero_()
    before = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    begun(AGM(clip=2.0), model).after_backward(model, *leading_audio())
    after = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    torch.testing.assert_close(after, 2 * before / before.norm() if largest > 2 else before)


# ---- MSLR ----------------------------------------------------------------------------------------------------------


def test_a_rate_follows_the_newest_accuracy_over_the_mean_of_those_before_it():
    assert progress_ratio([0.9, 0.2, 0.4, 0.6], history=2) == pytest.approx(0.6 / 0.3)
    assert [progress_ratio(known, history=2) for known in ([], [0.2], [0.2, 0.4], [0.0, 0.0, 0.4])] == [1.0] * 4


def test_each_modality_has_its_rate_and_the_fusion_the_recipes():
    method = begun(MSLR(start={"audio": 0.5, "visual": 2.0}, history=1))
    assert method.rates() == [1.0, 0.5, 2.0]
    for audio, visual in ((0.25, 0.5), (0.5, 0.4)):
        method.measured({"fused": 0.1, "all": 0.2, "audio": audio, "visual": visual})
    assert method.rates() == pytest.approx([1.0, 0.5 * 2, 2.0 * 0.8])


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_step_of_an_encoder_and_its_head_is_multiplied_by_the_rate(kind):
    def steps(*, apart):
        model = with_gradients(tiny.model())
        method = begun(MSLR(start={"audio": 0.5, "visual": 2.0}), model) if apart else Method()
        optimizer = optimizer_of(model, kind, lr=0.1, momentum=0.9, weight_decay=0.1, groups=method.groups)
        for group, rate in zip(optimizer.param_groups, method.rates(), strict=True):
            group["lr"] *= rate
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        optimizer.step()
        return {name: parameter.detach() - before[name] for name, parameter in model.named_parameters()}

    plain = steps(apart=False)
    for name, step in steps(apart=True).items():
        factor = {"audio": 0.5, "visual": 2.0}.get(name.split(".")[1], 1.0)
        torch.testing.assert_close(step, factor * plain[name], rtol=1e-4, atol=1e-6)


def test_mslr_without_a_validation_split_is_refused_before_the_run(tmp_path):
    with pytest.raises(RecipeError, match="MSLR goes by the accuracy on a validation split, and there is none"):
        run(tmp_path / "run", "mslr", data=tiny.splits(val=0))


def test_starts_of_other_modalities_are_refused_with_those_of_the_network():
    with pytest.raises(RecipeError, match="MSLR has a start for 'text'; the network has audio, visual"):
        begun(MSLR(start={"text": 1.0}))
    with pytest.raises(RecipeError, match=r"start for 'visul' \(did you mean visual\?\)"):
        begun(MSLR(start={"audio": 0.5, "visul": 1.0}))


def test_a_modality_without_a_start_learns_at_the_common_rate():
    assert begun(MSLR(start={"visual": 2.0})).rates() == [1.0, 1.0, 2.0]
    assert MSLR(start={"audio": 1.0, "visual": 2.0}).settings() == MSLR(start={"visual": 2.0}).settings()
    assert MSLR(start={"audio": 1.0}).settings() == MSLR().settings()


# ---- MLA -----------------------------------------------------------------------------------------------------------


def test_a_projection_that_has_absorbed_a_direction_lets_little_pass_along_it():
    # P = I, r = (1, 2), alpha = 1: k = r, and I - r r^T / (1 + 5) = [[5, -2], [-2, 2]] / 6 of length sqrt(37) / 6.
    r = torch.tensor([1.0, 2.0])
    once = absorbed(torch.eye(2), r, alpha=1.0)
    scale = math.sqrt(2 / 37)
    torch.testing.assert_close(once, scale * torch.tensor([[5.0, -2.0], [-2.0, 2.0]]))
    torch.testing.assert_close(once @ r, scale * r)  # alpha / (alpha + r.r) of it, where what is across keeps all:
    torch.testing.assert_close(once @ torch.tensor([-2.0, 1.0]), 6 * scale * torch.tensor([-2.0, 1.0]))
    # again, with (1, 0): k = s (5, -2), r.k = 5 s
    again, s = absorbed(once, torch.tensor([1.0, 0.0]), alpha=1.0), scale
    expected = s * torch.tensor([[5.0, -2.0], [-2.0, 2.0]]) - s * s / (1 + 5 * s) * torch.tensor(
        [[25.0, -10], [-10, 4]]
    )
    torch.testing.assert_close(again, expected * (math.sqrt(2) / expected.norm()))


def test_a_small_alpha_shuts_out_all_directions_that_were_absorbed():
    means = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    projection_DD = torch.eye(6)
    for mean_D in means:
        projection_DD = absorbed(projection_DD, mean_D, alpha=1e-4)
    assert (means @ projection_DD).abs().max() < 1e-3
    torch.testing.assert_close(torch.linalg.eigvalsh(projection_DD)[-3:], torch.full((3,), math.sqrt(6 / 3)))


def stepping(method, model, *, lr=0.1):
    """A step of plain descent, without momentum."""
    return Step(model, torch.optim.SGD(model.parameters(), lr=lr), fused_weight=0.0, method=begun(method, model))


def test_each_modality_moves_its_encoder_and_then_the_head_that_all_share():
    model, batch = tiny.model(), batch_of(list(range(12)))
    method = MLA(alpha=0.5)
    stepping(method, model).take(batch, 0)

    expected = tiny.model()  # the same weights
    head = expected.heads["audio"]
    projection_DD = torch.eye(4)
    for name in tiny.DIMS:
        features_BD = expected.encoders[name](batch[name])
        nn.functional.cross_entropy(head(features_BD), batch["label"]).backward()
        head.weight.grad.copy_(head.weight.grad @ projection_DD)
        with torch.no_grad():
            for parameter in [*expected.encoders[name].parameters(), *head.parameters()]:
                parameter -= 0.1 * parameter.grad
        expected.zero_grad()
        projection_DD = absorbed(projection_DD, features_BD.detach().mean(dim=0), alpha=0.5)

    for name, parameter in expected.encoders.named_parameters():
        torch.testing.assert_close(model.encoders.get_parameter(name), parameter)
    for each in model.heads.values():
        torch.testing.assert_close(each.weight, head.weight)
        torch.testing.assert_close(each.bias, head.bias)
    torch.testing.assert_close(method.projection_DD, projection_DD)
    for name, parameter in tiny.model().fusion.named_parameters():
        assert torch.equal(model.fusion.get_parameter(name), parameter)


def test_a_step_of_several_turns_is_a_batch_whose_losses_are_added_up():
    model, batch = tiny.model(), batch_of([0, 1, 2, 3])
    loss, samples = stepping(MLA(), model, lr=1e-9).take(batch, 0)
    losses = losses_of(model, batch)  # both heads are one by now
    assert samples == 4 and loss.item() == pytest.approx((losses["audio"] + losses["visual"]).sum().item(), rel=1e-5)


def test_a_head_that_is_shared_already_is_the_one_that_is_trained():
    dims = {"left": 3, "right": 3}
    encoders = {name: nn.Linear(2, 3) for name in dims}
    model = LateFusion(encoders, ConcatFusion(dims, 3), 3, feature_dims=dims, shared_head=True)
    method = begun(MLA(), model)
    assert method.heads == {"left": model.heads["shared"], "right": model.heads["shared"]}


def test_heads_that_cannot_be_one_are_refused_with_what_they_are():
    dims = {"left": 3, "right": 4}
    encoders = {name: nn.Linear(2, dim) for name, dim in dims.items()}
    model = LateFusion(encoders, ConcatFusion(dims, 3), 3, feature_dims=dims)
    with pytest.raises(
        RecipeError, match=r"left Linear\(in_features=3.*right Linear\(in_features=4.*Give the encoders features of one"
    ):
        begun(MLA(), model)


# ---- ReconBoost ----------------------------------------------------------------------------------------------------


def test_a_learner_learns_most_from_what_the_others_do_not_know():
    # Two samples of two classes, to which the learner gives 1/2 and 1/4, and the others 3/4 and 1/5.
    loss = boosting_loss(torch.tensor([2.0, 4.0]).log(), torch.tensor([0.75, 0.2]), 2, agreement=5.0, reconcilement=1.0)
    assert loss.tolist() == pytest.approx([4.25 * 0.693147 / 2, 4.8 * 1.386294 / 2], abs=1e-5)


def boosting(model, **options):
    """ReconBoost in halves of one step, or as asked, and its steps over the samples 0 to 11, with momentum."""
    method = ReconBoost(**{"batch_size": 12, "stage_epochs": 0.2} | options)  # of 60 samples
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    return method, Step(model, optimizer, fused_weight=0.0, method=begun(method, model))


def moved_by(step, batch, number=0):
    """Which parts of the network a step moves."""
    before = {name: parameter.detach().clone() for name, parameter in step.model.named_parameters()}
    step.take(batch, number)
    return {
        ".".join(name.split(".")[:2])
        for name, parameter in step.model.named_parameters()
        if not torch.equal(parameter, before[name])
    }


def test_a_stage_trains_its_modality_and_then_all_that_have_had_one():
    _, step = boosting(tiny.model())
    audio, visual = ({f"encoders.{name}", f"heads.{name}"} for name in ("audio", "visual"))
    batch = batch_of(list(range(12)))
    moved = [moved_by(step, batch) for _ in range(6)]
    assert moved == [audio, audio, visual, audio | visual, audio, audio | visual]
    assert all(parameter.requires_grad for parameter in step.model.parameters())


def test_the_losses_of_the_two_halves_are_those_of_the_ensemble_so_far():
    model, batch = tiny.model(), batch_of(list(range(12)))
    _, step = boosting(model, agreement=3.0, reconcilement=2.0, alpha=0.25)
    found, expected = [], []
    for number in range(5):
        with torch.no_grad():
            audio, visual = model(batch).unimodal.values()
            a_B, v_B = (nn.functional.cross_entropy(z, batch["label"], reduction="none") for z in (audio, visual))
            both = nn.functional.cross_entropy(audio + visual, batch["label"]).item() * 12
            apart = 0.25 * (audio.softmax(dim=1) - visual.softmax(dim=1)).square().mean(dim=1)
            # The first learner has no others; the probability of the right class is exp(-CE).
            first = (3 - 2) * a_B / 3
            second, third = ((3 - 2 * (-other).exp()) * own / 3 + apart for own, other in ((v_B, a_B), (a_B, v_B)))
        expected.append([first.sum().item(), a_B.sum().item(), second.sum().item(), both, third.sum().item()][number])
        found.append(step.take(batch, number)[0].item())
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("stage_epochs", "forgets"), [(0.2, True), (0.4, False)])
def test_the_optimiser_forgets_its_momentum_where_a_half_begins(stage_epochs, forgets):
    model, batch = tiny.model(), batch_of(list(range(12)))
    _, step = boosting(model, stage_epochs=stage_epochs)
    step.take(batch, 0)
    weight = model.heads["audio"].weight
    before, velocity = weight.detach().clone(), step.optimizer.state[weight]["momentum_buffer"].clone()
    step.take(batch, 1)
    gradient = weight.grad + 0.01 * before
    torch.testing.assert_close(weight.detach(), before - 0.1 * (gradient if forgets else gradient + 0.9 * velocity))


@pytest.mark.parametrize("make", [MLA, partial(ReconBoost, batch_size=12, stage_epochs=0.2)])
def test_a_scaled_loss_moves_the_weights_as_an_unscaled_one(make):
    def trained(scaler):
        model = tiny.model()
        step = replace(stepping(make(), model), scaler=scaler)
        for number in range(4):
            step.take(batch_of(list(range(12))), number)
        return model.state_dict()

    plain = trained(torch.amp.GradScaler("cpu", enabled=False))
    scaled = trained(torch.amp.GradScaler("cpu", init_scale=2.0**10))  # a power of two rounds nothing
    assert all(torch.equal(value, scaled[name]) for name, value in plain.items())


def test_three_modalities_learn_in_turn():
    method = begun(ReconBoost(batch_size=60, stage_epochs=1.0), adding(["rgb", "flow", "depth"]))
    seen = []
    for method.step in range(8):
        seen.append((method.learner, method.rectifies, method.ensemble))
    assert seen == [
        ("rgb", False, []),
        ("rgb", True, ["rgb"]),
        ("flow", False, ["rgb"]),
        ("flow", True, ["rgb", "flow"]),
        ("depth", False, ["rgb", "flow"]),
        ("depth", True, ["rgb", "flow", "depth"]),
        ("rgb", False, ["flow", "depth"]),
        ("rgb", True, ["rgb", "flow", "depth"]),
    ]


# ---- modality dropout ----------------------------------------------------------------------------------------------


def test_a_sample_keeps_what_drew_high_and_never_nothing():
    draws_MN = torch.tensor([[0.1, 0.9, 0.2], [0.8, 0.5, 0.1]])
    assert kept_modalities(draws_MN, 0.5).tolist() == [[False, True, True], [True, True, False]]


@pytest.mark.parametrize("modalities", [2, 3])
def test_the_share_of_hidden_modalities_is_as_documented(modalities):
    draws_MN = torch.rand(modalities, 20_000, generator=torch.Generator().manual_seed(0))
    hidden = 1 - kept_modalities(draws_MN, 0.5).float().mean(dim=1)
    assert hidden.tolist() == pytest.approx([0.5 - 0.5**modalities / modalities] * modalities, abs=0.015)


def kept_by(method, index):
    return {name: keep.tolist() for name, keep in method.before_forward(batch_of(index))[KEEP_KEY].items()}


def test_what_a_sample_keeps_depends_on_seed_epoch_and_index_alone():
    method = begun(ModalityDropout(probability=0.5, seed=1))
    method.begin_epoch(4)
    whole = kept_by(method, list(range(60)))
    other = begun(ModalityDropout(probability=0.5, seed=1))
    other.begin_epoch(0)
    assert kept_by(other, list(range(60))) != whole
    other.begin_epoch(4)
    assert kept_by(other, [7, 59, 0]) == {name: [keep[7], keep[59], keep[0]] for name, keep in whole.items()}
    other = begun(ModalityDropout(probability=0.5, seed=2))
    other.begin_epoch(4)
    assert kept_by(other, list(range(60))) != whole


def test_a_hidden_modality_has_neither_loss_nor_gradient():
    class Deaf(Masking):
        def keep(self, batch):
            none = torch.zeros(len(batch["label"]), dtype=torch.bool)
            return {"audio": none, "visual": ~none}

    model = tiny.model()
    method = begun(Deaf(), model)
    batch = method.before_forward(batch_of([0, 1, 2]))
    losses = losses_of(model, batch)
    loss_B = method.loss(losses, {"fused": 1.0, "audio": 0.5, "visual": 0.5})
    torch.testing.assert_close(loss_B, losses["fused"] + 0.5 * losses["visual"])
    method.backward(loss_B, losses, model)
    assert all(not parameter.grad.any() for parameter in model.encoders["audio"].parameters())
    assert not model.heads["audio"].weight.grad.any() and model.encoders["visual"][0].weight.grad.any()


# ---- SMV -----------------------------------------------------------------------------------------------------------


def test_the_less_a_modality_is_worth_the_more_copies_it_gets():
    assert extra_copies(torch.tensor([-0.5, 0.0, 0.5, 1.0, 1.5])).tolist() == [3, 2, 1, 0, 0]


def test_three_fair_shares_are_worth_no_copies_whatever_their_last_digit():
    assert extra_copies(torch.tensor([1 / 3 + 1 / 3 + 1 / 3 - 1e-7])).tolist() == [0]


def adding(names):
    """A network that says 1 where the modalities, one number each, add up to more than 0.5."""
    dims = dict.fromkeys(names, 1)
    network = LateFusion({name: nn.Identity() for name in dims}, ConcatFusion(dims, 2), 2, feature_dims=dims)
    with torch.no_grad():
        network.fusion.classifier.weight.copy_(torch.tensor([[0.0], [1.0]]).expand(2, len(dims)))
        network.fusion.classifier.bias.copy_(torch.tensor([0.0, -0.5]))
    return network


def numbers(label, **modalities):
    batch = {name: torch.tensor(values).unsqueeze(1) for name, values in modalities.items()}
    return {**batch, "label": torch.tensor(label)}


@torch.no_grad()
def test_the_value_of_a_modality_is_its_shapley_value_by_hand():
    method = begun(SampleValuation(), adding(["audio", "visual"]))
    batch = numbers([1, 1, 1, 1], audio=[1.0, 1.0, 0.3, 1.0], visual=[0.0, 1.0, 0.3, -1.0])
    # (v_m + v_all - v_other) / 2 with v_all 2 or 0, v_m 1 or 0:
    # audio alone and both right: 1.5, 0.5;  each alone right: 1, 1;  only both right: 1, 1;  audio alone right: .5, -.5
    assert method.values(batch).tolist() == [[1.5, 0.5], [1.0, 1.0], [1.0, 1.0], [0.5, -0.5]]


@torch.no_grad()
def test_the_values_of_three_modalities_add_up_to_three_where_the_prediction_is_right():
    method = begun(SampleValuation(), adding(["rgb", "flow", "depth"]))
    batch = numbers([1, 1, 0], rgb=[1.0, 0.2, 1.0], flow=[0.0, 0.2, 0.0], depth=[-0.1, 0.2, 0.0])
    values = method.values(batch)
    assert values.sum(dim=1).tolist() == pytest.approx([3.0, 3.0, 0.0], abs=1e-6)
    # all needed: the last to join brings 3, and each is last in a third of the orders
    assert values[1].tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-6)


VALUES_NM = torch.tensor([[1.5, 0.5], [1.0, 1.0], [0.5, -0.5]])


def test_an_order_gets_the_copies_that_its_values_ask_for():
    method = begun(SampleValuation(seed=1), num_samples=3)
    codes = method.arranged(5, torch.tensor([2, 0, 1]), VALUES_NM).tolist()
    assert [code for code in codes if code < 3] == [2, 0, 1]
    # index + 3 * (1 + m + 2 c): visual of sample 0 once; of sample 2 audio once, visual three times
    assert sorted(code for code in codes if code >= 3) == [2 + 3, 0 + 6, 2 + 6, 2 + 12, 2 + 18]


def test_a_copy_is_seen_with_its_modality_alone():
    method = begun(SampleValuation(), num_samples=3)
    codes = torch.tensor([2, 5, 6, 8, 14, 20])  # index + 3 * variant
    keys = [Key.of(0, code, 3) for code in codes.tolist()]
    assert [key.index for key in keys] == [2, 2, 0, 2, 2, 2]
    variants = torch.tensor([key.variant for key in keys])
    batch = method.before_forward({"bss_index": codes % 3, "bss_variant": variants, "label": torch.zeros(6)})
    assert batch["bss_index"].tolist() == [2, 2, 0, 2, 2, 2]
    assert batch[KEEP_KEY]["audio"].tolist() == [True, True, False, False, False, False]
    assert batch[KEEP_KEY]["visual"].tolist() == [True, False, True, True, True, True]


def test_copies_are_spread_through_the_whole_epoch():
    method = begun(SampleValuation(seed=1), num_samples=1000)
    values_NM = torch.tensor([[1.0, 0.5]]).expand(1000, 2)
    codes = method.arranged(5, torch.arange(1000), values_NM)
    assert len(codes) == 2000 and len(set(codes.tolist())) == 2000
    copies = (codes >= 1000).float()
    assert copies[:500].mean().item() == pytest.approx(0.5, abs=0.08)
    assert copies[-500:].mean().item() == pytest.approx(0.5, abs=0.08)
    assert not torch.equal(codes, method.arranged(6, torch.arange(1000), values_NM))


# ---- Data Remixing -------------------------------------------------------------------------------------------------


def test_certainty_is_the_divergence_from_uniform():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [99.0, 0.0]])
    # ln 2 + 0.75 ln 0.75 + 0.25 ln 0.25 = 0.130812
    assert certainty(logits).tolist() == pytest.approx([0.0, 0.130812, math.log(2)], abs=1e-6)


def test_samples_come_in_batches_of_the_modality_that_is_unsure_of_them():
    method = begun(DataRemixing(batch_size=2), num_samples=6)
    audio_is_unsure = [True, False, True, True, False, False]
    values_NM = torch.tensor([[0.1, 0.5] if audio else [0.5, 0.1] for audio in audio_is_unsure])
    codes = method.arranged(10, torch.tensor([0, 5, 2, 4, 1, 3]), values_NM)
    # visual 5, 4, 1 and audio 0, 2, 3: a batch of each, and a mixed one; audio's codes start at 6, visual's at 12
    assert codes.tolist() == [12 + 5, 12 + 4, 6 + 0, 6 + 2, 12 + 1, 6 + 3]


def test_every_epochs_order_is_made_of_what_was_seen_before_it():
    method = begun(DataRemixing(batch_size=1), num_samples=4)
    for weaker in ("visual", "audio"):  # its head has no opinion
        for name, head in method.network.heads.items():
            nn.init.constant_(head.weight, 0.0)
            nn.init.constant_(head.bias, 0.0)
            if name != weaker:
                nn.init.constant_(head.bias[:1], 5.0)
        method.see(batch_of([3, 1]))
        method.see(batch_of([0, 2]))
        first = 4 if weaker == "audio" else 8
        assert sorted(method.arrange(10, torch.arange(4)).tolist()) == list(range(first, first + 4))


def test_remixing_leaves_out_no_more_than_the_tail_and_not_always_the_same():
    method = begun(DataRemixing(batch_size=4), num_samples=10)
    epochs = [method.arranged(epoch, torch.arange(10), torch.rand(10, 2)) % 10 for epoch in range(10, 16)]
    assert {len(set(indices.tolist())) for indices in epochs} == {8}
    assert len({frozenset(indices.tolist()) for indices in epochs}) > 1


# ---- what carries an arranged order to the batch -------------------------------------------------------------------


def test_a_variant_is_the_same_sample_through_a_view_of_its_own():
    data = tiny.features(4, noise=1.0)
    views = Variants(SeededViews(IndexedDataset(data), seed=0))
    plain, copy, again = views[Key(3, 2)], views[Key(3, 2, 1)], views[Key.of(3, 2 + 4, 4)]
    assert (plain["bss_index"], copy["bss_index"]) == (2, 2) and len(views) == 4
    assert (plain["bss_variant"], copy["bss_variant"]) == (0, 1)
    assert [sample["bss_variant"] for sample in views.__getitems__([Key(3, 2), Key(3, 2, 1)])] == [0, 1]
    assert torch.equal(plain["visual"], copy["visual"]) and torch.equal(copy["audio"], again["audio"])
    assert not torch.equal(plain["audio"], copy["audio"])
    assert torch.equal(plain["audio"], SeededViews(IndexedDataset(data), seed=0)[3, 2]["audio"])


def test_a_rearranged_sampler_yields_that_order_and_has_its_length():
    order = [0, 1, 2, 3, 0 + 4, 1 + 4, 2 + 8]
    shares = []
    for rank in range(2):
        sampler = UniformSampler(4, num_replicas=2, rank=rank, drop_last=True, batch_size=1)
        sampler.set_epoch(2)
        sampler.rearrange(torch.tensor(order))
        assert len(sampler) == 3
        shares.append(list(sampler))
        sampler.set_epoch(2)
        assert sampler.global_order().tolist() == order
        sampler.set_epoch(3)
        assert sorted(sampler.global_order().tolist()) == [0, 1, 2, 3] and len(sampler) == 2
    assert len(set(shares[0] + shares[1])) == 6 and set(shares[0] + shares[1]) < set(order)


def test_a_rearranged_order_goes_on_in_the_middle():
    samplers = [UniformSampler(3, num_replicas=1, rank=0) for _ in range(2)]
    samplers[0].set_epoch(1)
    samplers[0].rearrange(torch.tensor([2, 7, 0, 1, 5]))
    samplers[1].load_state_dict(samplers[0].state_dict(), position=2)
    samplers[1].set_epoch(1)
    assert list(samplers[1]) == [0, 1, 5]


# ---- every method in a run -----------------------------------------------------------------------------------------

every_method = pytest.mark.parametrize("name", METHODS)


def run(out, name=None, *, recipe=SPL, method=None, data=None, model=None):
    data = data or tiny.splits(train=60, val=25, test=31, noise=0.3)
    method = method or (METHODS[name]() if name else None)
    return fit(model or tiny.model(), data, recipe_for(method, recipe), Run(out, out, CPU), method=method)


def rows_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").open()]


def test_the_runs_below_are_of_all_methods():
    assert {type(make()) for make in METHODS.values()} == set(CLASSES)


@every_method
def test_a_stopped_run_with_a_method_ends_as_if_it_had_never_stopped(name, tmp_path):
    run(tmp_path / "whole", name)
    data = tiny.splits(train=60, val=25, test=31, noise=0.3)
    with pytest.raises(Interrupted):
        run(tmp_path / "stopped", name, data=replace(data, train=tiny.Signalling(data.train, 90, signal.SIGTERM)))
    run(tmp_path / "stopped", name)
    config = json.loads((tmp_path / "stopped" / "config.json").read_text())
    assert config["continued"][0]["step"] > 0
    assert config["method_settings"] == METHODS[name]().settings() != {}
    assert_identical(tmp_path / "whole", tmp_path / "stopped")


ORDERS = {
    "uniform": replace(SPL, epochs=2, schedule=Schedule(start=1.0, mode="eval")),
    "curriculum": replace(ddp_worker.CL, epochs=2),
}


@pytest.fixture(scope="module", params=ORDERS)
def plain(request, tmp_path_factory):
    """An order, and the weights that it ends with under joint training."""
    recipe = ORDERS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    run(folder, recipe=recipe)
    return recipe, read_checkpoint(folder / "last.pt")["model"]


def test_the_printed_plan_says_that_smv_adds_steps(tmp_path, capsys):
    recipe = ORDERS["uniform"]
    run(tmp_path / "epochs", "smv", recipe=recipe)
    assert " in all, but for what SampleValuation adds or leaves out\n" in capsys.readouterr().out
    run(tmp_path / "updates", "smv", recipe=replace(recipe, updates=3))
    assert "; 3 steps of 12 in all\n" in capsys.readouterr().out


@every_method
def test_a_method_trains_in_any_order_and_changes_the_run(name, plain, tmp_path):
    recipe, weights = plain
    run(tmp_path, name, recipe=recipe)
    changed = read_checkpoint(tmp_path / "last.pt")["model"]
    assert all(value.isfinite().all() for value in changed.values())
    assert any(not torch.equal(weights[key], changed[key]) for key in weights)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    statuses, said = launch(2, "methods", folder)
    assert statuses == [0, 0], said
    return folder


@every_method
def test_two_processes_train_as_one(name, together, tmp_path):
    ddp_worker.train_with(name, tmp_path)
    assert_equal_runs(tmp_path, together / name, tolerance=2e-5)


def test_an_unfinished_run_with_other_numbers_of_its_method_is_refused(tmp_path):
    data = tiny.splits(train=60, val=25, test=31)
    stopping = replace(data, train=tiny.Signalling(data.train, 90, signal.SIGTERM))
    with pytest.raises(Interrupted):
        run(tmp_path, method=MMPareto(gamma=2.0), data=stopping)
    with pytest.raises(RunFolderError, match=r"method\.gamma: 2\.0 there, 1\.5 here"):
        run(tmp_path, method=MMPareto(), data=data)


# ---- particular methods in a run -----------------------------------------------------------------------------------


class Recorded(DataRemixing):
    """Remembers how many samples of each batch keep each modality."""

    def __init__(self, **options):
        super().__init__(**options)
        self.steps = []

    def keep(self, batch):
        kept = super().keep(batch)
        self.steps.append({name: int(keep.sum()) for name, keep in kept.items()})
        return kept


def test_after_the_warm_up_remixing_trains_batches_of_one_modality(tmp_path):
    method = Recorded(batch_size=12, warmup_epochs=2)
    run(tmp_path, method=method)
    assert [row["steps"] for row in rows_of(tmp_path)] == [5] * 4  # of 60 samples
    assert method.steps[:10] == [{"audio": 12, "visual": 12}] * 10
    for epoch in (method.steps[10:15], method.steps[15:]):
        assert all(sum(step.values()) == 12 for step in epoch)
        assert sum(set(step.values()) != {0, 12} for step in epoch) <= 1


def test_smv_makes_the_epochs_after_the_warm_up_longer(tmp_path):
    run(tmp_path, "smv")
    samples = [row["samples"] for row in rows_of(tmp_path)]
    assert samples[0] == 60 and all(count > 60 for count in samples[1:])


def test_a_run_of_so_many_updates_ends_after_them_though_smv_makes_its_epochs_longer(tmp_path):
    summary = run(tmp_path, "smv", recipe=replace(SPL, updates=17))
    rows = rows_of(tmp_path)
    assert summary["updates"] == sum(row["steps"] for row in rows) == 17
    assert all(row["steps"] > 0 for row in rows)


def test_training_on_the_fused_loss_alone_is_a_recipe(tmp_path):
    by_loss = replace(SPL.schedule, criterion="loss")
    recipe = replace(SPL, unimodal_weight=0.0, prediction="fused", epochs=2, schedule=by_loss)
    start = tiny.model().state_dict()
    summary = run(tmp_path, recipe=recipe)
    for metrics in summary["test"]["last"].values():
        assert metrics["all"] == metrics["fused"]
    weights = read_checkpoint(tmp_path / "last.pt")["model"]
    assert not torch.equal(weights["fusion.classifier.weight"], start["fusion.classifier.weight"])
    assert torch.equal(weights["heads.audio.bias"], start["heads.audio.bias"])


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OGMGE(alpha=0.0), "alpha must be a number > 0, got 0"),
        (lambda: MMPareto(gamma=math.nan), "gamma must be a number > 0, got nan"),
        (lambda: AGM(alpha=0.0), "alpha must be a number > 0, got 0"),
        (lambda: AGM(clip=-1.0), "clip must be a number > 0, got -1"),
        (lambda: MLA(alpha=0.0), "alpha must be a number > 0, got 0"),
        (lambda: ReconBoost(batch_size=0), "batch_size must be >= 1, got 0"),
        (lambda: ReconBoost(batch_size=4, stage_epochs=0.0), "stage_epochs must be a number > 0, got 0"),
        (
            lambda: ReconBoost(batch_size=4, reconcilement=5.0),
            r"reconcilement must be >= 0 and below agreement \(5.0\)",
        ),
        (lambda: ReconBoost(batch_size=4, alpha=-1.0), "alpha must be a number >= 0, got -1"),
        (lambda: MSLR(history=0), "history must be >= 1, got 0"),
        (lambda: MSLR(start={"audio": -1.0}), r"start must be numbers > 0, got -1\.0 for audio"),
        (lambda: ModalityDropout(probability=1.0), r"probability must be in \(0, 1\), got 1"),
        (lambda: SampleValuation(warmup_epochs=-1), "warmup_epochs must be >= 0, got -1"),
        (lambda: DataRemixing(batch_size=0), "batch_size must be >= 1, got 0"),
    ],
)
def test_bad_numbers_are_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("name", [name for name, make in METHODS.items() if isinstance(make(), Masking)])
def test_scores_of_incomplete_samples_are_refused(name, tmp_path):
    with pytest.raises(RecipeError, match=r"schedule\.rescore=online .* hides modalities: set schedule\.rescore"):
        run(tmp_path, name, recipe=ddp_worker.ONLINE)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("ogm-ge", "unimodal_weight"),
        ("mmpareto", "fused_weight"),
        ("agm", "fused_weight"),
        ("mslr", "unimodal_weight"),
        ("mla", "unimodal_weight"),
    ],
)
def test_a_head_that_is_not_trained_is_refused_where_the_method_needs_it(name, field, tmp_path):
    with pytest.raises(RecipeError, match=f"needs every head trained, but {field} is 0"):
        run(tmp_path, name, recipe=replace(SPL, schedule=replace(SPL.schedule, criterion="loss"), **{field: 0.0}))


@pytest.mark.parametrize("name", [name for name, make in METHODS.items() if issubclass(type(make()), Alternating)])
def test_a_fused_head_that_the_method_does_not_train_is_refused_in_the_loss_and_the_prediction(name, tmp_path):
    data, method = tiny.splits(), METHODS[name]()
    for recipe in (SPL, replace(SPL, fused_weight=0.0)):
        with pytest.raises(RecipeError, match=r"set fused_weight=0, and prediction to unimodal or entropy"):
            fit(tiny.model(), data, recipe, Run(tmp_path, tmp_path, CPU), method=method)


class Bare(nn.Module):
    """A network with logits and without parts that a method could name."""

    def __init__(self):
        super().__init__()
        self.network = tiny.model()

    def forward(self, batch):
        return self.network(batch)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "loss-weights"])
def test_a_network_without_encoders_by_name_is_refused(name, tmp_path):
    with pytest.raises(RecipeError, match=r"works on the encoders of a bss\.models\.LateFusion.* is a Bare"):
        run(tmp_path, name, model=Bare())


def test_arranging_methods_are_those_that_need_a_pass():
    assert {kind for kind in CLASSES if issubclass(kind, Arranging)} == {SampleValuation, DataRemixing}
