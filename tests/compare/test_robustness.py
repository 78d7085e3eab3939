"""Curves of missing and noisy modalities: ends that are exact, areas by hand, and when a fusion does harm."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bss.cli.commands import main
from bss.cli.disturbed import parsed_drops, parsed_noise
from bss.compare import robustness
from bss.compare.robustness import Curve, Drops, Noise, Point, Subject, area, curves, harms, notes_of, with_alone
from bss.data.degradation import Frames, Numbers, RawPictures, Sounds, gone
from bss.data.parts import Part
from bss.data.tensors import TensorSamples
from bss.training.run_folder import sealed
from bss.utils.errors import RecipeError, RunFolderError
from tests.compare.comparing import write_run

N = 200


def samples(modalities=("audio", "visual")):
    """Two classes; the more modalities agree, the surer. Of the training samples the mean is 0."""
    truth_N = torch.arange(N) % 2
    random = torch.Generator().manual_seed(0)
    sign_N1 = (2.0 * truth_N - 1).unsqueeze(1)
    noisy = {name: sign_N1 + 1.5 * torch.randn(N, 1, generator=random) for name in modalities}
    return TensorSamples({name: values - values.mean() for name, values in noisy.items()}, truth_N)


def predict(part, doing):
    """Every head's logits are (-x, x) of what it sees; the fused head has learned to lean on the first modality."""
    rows = [part.samples[i] for i in range(len(part))]
    values = {name: torch.stack([row[name] for row in rows]) for name in rows[0] if name != "label"}
    own = {name: torch.cat([-x_N1, x_N1], dim=1) for name, x_N1 in values.items()}
    fused = sum((3.0 if place == 0 else 0.1) * each for place, each in enumerate(own.values()))
    return {"all": fused + sum(own.values()), "fused": fused, **own}


def subject(modalities=("audio", "visual"), **changed):
    data = samples(modalities)
    part = Part(title="test", samples=data, names=[f"clip{i}" for i in range(N)], classes=("a", "b"))
    values = dict(
        label="cl seed 0",
        part=part,
        truth_N=data.labels_N.numpy(),
        clean=predict(part, ""),
        prediction="all",
        predict=predict,
        training=lambda: data,
    )
    return Subject(**{**values, **changed})


def heads(network):
    return network.accuracy(network.clean)


# ---- missing modalities --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["mean", "zero"])
def test_share_zero_is_clean_and_share_one_is_the_fill_exactly(fill):
    network = subject()
    (curve,) = curves(network, [Drops(("audio",), (0.0, 0.5, 1.0))], [], fill=fill, seeds=3)
    clean, half, without = curve.points
    assert {name: values for name, (values,) in clean.accuracy.items()} == heads(network)
    # Without the sound all heads but its own say what the picture says, since its mean is 0 as well.
    assert without.accuracy["all"] == [heads(network)["visual"]] == without.accuracy["fused"]
    assert len(half.accuracy["all"]) == 3 and len(set(half.accuracy["all"])) > 1
    assert (clean.lacking, without.lacking, clean.bare) == ([0], [N], [0])
    assert half.lacking == [int(gone(network.part.names, "audio", 0.5, seed).sum()) for seed in range(3)]


def test_a_share_is_put_together_of_what_the_network_says_of_each_sample():
    network, asked = subject(), []

    def counting(part, doing):
        asked.append(doing)
        return predict(part, doing)

    (curve,) = curves(
        replace(network, predict=counting), [Drops(("audio",), (0.2, 0.5, 1.0))], [], fill="zero", seeds=2
    )
    assert asked == ["cl seed 0, without audio"]  # one pass for all shares and seeds
    lacks_N = gone(network.part.names, "audio", 0.2, 1)
    audio_N1, visual_N1 = (network.part.samples.modalities[name] for name in ("audio", "visual"))
    x_N = (4 * audio_N1 * ~torch.from_numpy(lacks_N).unsqueeze(1) + 1.1 * visual_N1).squeeze(1)
    right = ((x_N > 0) == torch.from_numpy(network.truth_N).bool()).float().mean().item()
    assert curve.points[0].accuracy["all"][1] == pytest.approx(right)


def test_what_is_left_out_leaves_the_prediction_to_the_other_heads():
    network = subject(predict=None)  # nothing is predicted anew
    curve, both = curves(network, [Drops(("audio",), (0.0, 1.0)), Drops(("audio", "visual"), (1.0,))], [], fill="drop")
    assert curve.points[0].accuracy["all"] == [heads(network)["all"]]
    assert curve.points[1].accuracy == {"all": [heads(network)["visual"]], "visual": [heads(network)["visual"]]}
    assert both.points[0].accuracy == {"all": [0.5]} and both.points[0].bare == [N]  # the first class, half of them


def test_with_three_modalities_it_is_said_how_many_samples_kept_none():
    trio = ("rgb", "flow", "depth")
    network = subject(trio)
    one, all_three = curves(network, [Drops(("rgb",), (0.5,)), Drops(trio, (0.5,))], [], fill="zero", seeds=2)
    none = [
        int(np.logical_and.reduce([gone(network.part.names, name, 0.5, seed) for name in trio]).sum())
        for seed in range(2)
    ]
    assert one.points[0].bare == [0, 0] and all_three.points[0].bare == none and min(none) > 10  # about an eighth
    assert one.lines.keys() == {"flow head", "depth head"} and not all_three.lines
    assert any(f"kept no modality: {min(none)} to {max(none)} at 0.5" in note for note in notes_of([all_three]))


def test_a_network_without_heads_of_its_own_cannot_leave_one_out():
    network = subject()
    bare = {name: network.clean[name] for name in ("all", "fused")}
    with pytest.raises(RecipeError, match=r"none of audio, visual: take --fill mean"):
        curves(replace(network, clean=bare), [Drops(("audio",), (0.5,))], [], fill="drop")


# ---- noise ---------------------------------------------------------------------------------------------------------


def test_noise_costs_the_more_the_louder_it_is():
    network = subject()
    (curve,) = curves(network, [], [Noise("audio", ("all",))], fill="mean", seeds=2)
    assert [point.level for point in curve.points] == [20, 10, 5, 0, -5] and curve.unit == "dB"
    means = [float(np.mean(point.accuracy["audio"])) for point in curve.points]
    assert means[0] > means[-1] + 0.1
    assert all(set(point.accuracy["visual"]) == {heads(network)["visual"]} for point in curve.points)


@pytest.mark.parametrize(
    ("texts", "kind", "levels"),
    [
        (("1..5",), RawPictures(), [1, 2, 3, 4, 5]),
        (("4..2", "5"), Frames(), [2, 3, 4, 5]),
        (("20..-5",), Sounds(), [20, 10, 5, 0, -5]),
        (("-5", "10"), Numbers(), [10, -5]),
        (("all",), Sounds(), [20, 10, 5, 0, -5]),
    ],
    ids=["range", "backwards", "decibels", "numbers", "all"],
)
def test_levels(texts, kind, levels):
    assert robustness.levels_of(Noise("m", texts), kind) == levels


@pytest.mark.parametrize("text", ["3", "1..5", "loud", "", "nan"])
def test_a_level_that_is_not_defined(text):
    with pytest.raises(RecipeError, match=r"is no level; for sounds there are 20, 10, 5, 0, -5 \(dB\), and all"):
        robustness.levels_of(Noise("audio", (text,)), Sounds())


def test_what_cannot_be_done_is_refused_before_anything_is_predicted():
    data = samples()
    with pytest.raises(RecipeError, match="no modality sound; the samples have audio, visual"):
        robustness.check(data, [Drops(("sound",), (0.5,))], [], "drop")
    with pytest.raises(RecipeError, match=r"--noise audio\.blur: audio are numbers, whose noise is gaussian"):
        robustness.check(data, [], [Noise("audio", ("0",), "blur")], "mean")
    with pytest.raises(RecipeError, match="is no level"):
        robustness.check(data, [], [Noise("audio", ("1..5",))], "mean")


# ---- areas, lines and notes ----------------------------------------------------------------------------------------


def a_curve(unit, levels, heights, clean=1.0, lines=None):
    points = [Point(level, {"all": [height]}) for level, height in zip(levels, heights, strict=True)]
    return Curve(
        label="cl seed 0",
        modalities=("audio",),
        corruption="mean",
        unit=unit,
        clean={"all": clean},
        points=points,
        lines=lines or {},
        samples=10,
    )


def test_areas_by_hand():
    # Two trapezoids: 0.2 wide and 0.8 high in the middle, 0.8 wide and 0.5 high.
    assert area(a_curve("share", (0, 0.2, 1), (1.0, 0.6, 0.4)), "all") == pytest.approx(0.2 * 0.8 + 0.8 * 0.5)
    assert area(a_curve("share", (0.5, 1), (0.6, 0.4)), "all") == pytest.approx(0.5)
    # Clean 1.0, then two steps of one width.
    assert area(a_curve("dB", (20, -5), (0.8, 0.2)), "all") == pytest.approx((0.9 + 0.5) / 2)
    assert math.isnan(area(a_curve("share", (0.5,), (0.6,)), "all"))


def test_a_fusion_below_what_a_remaining_modality_is_worth_does_harm_and_it_is_said():
    curve = a_curve("share", (0, 0.5, 1), (0.9, 0.6, 0.4), lines={"visual head": 0.65})
    (note,) = harms(curve)
    assert "at share 0.5, share 1 the fusion does harm" in note and "40.0 % at worst, visual head in 65.0 %" in note
    assert not list(harms(a_curve("share", (0, 1), (0.9, 0.65), lines={"visual head": 0.65})))
    more = with_alone(curve, {"visual": [0.7, 0.8], "audio": [0.9]})
    assert more.lines == {"visual head": 0.65, "visual alone": pytest.approx(0.75)}
    assert len(list(harms(more))) == 2


def test_a_curve_comes_back_from_the_file_of_an_evaluation():
    network = subject()
    found = curves(network, [Drops(("audio",), (0.0, 0.5))], [Noise("visual", ("0",))], fill="zero", seeds=2)
    for curve in (*found, a_curve("share", (0, 1), (0.9, 0.4), lines={"visual head": 0.65})):
        again = robustness.from_json(json.loads(json.dumps(robustness.as_json(curve))), "here")
        assert robustness.as_json(again) == robustness.as_json(curve)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": "<b>"}, r"here.unit is '<b>', and not one of share, dB, severity"),
        ({"points": []}, "here is a curve without levels"),
        ({"clean": {"all": 2}}, r"here.clean.all is 2, and not a number from 0 to 1"),
        ({"points": [{"level": 0, "accuracy": {"all": []}}]}, "accuracy of all has no value at the level 0"),
        ({"points": [{"level": 0, "accuracy": {"audio": [1]}}]}, r"points\[0\].accuracy.all is missing"),
        ({"samples": 0}, "here.samples is 0"),
    ],
    ids=["unit", "no levels", "above 1", "no value", "no prediction", "no samples"],
)
def test_a_curve_that_is_none_is_refused_by_its_field(change, said):
    plain = json.loads(json.dumps(robustness.as_json(a_curve("share", (0, 1), (0.9, 0.4)))))
    with pytest.raises(RunFolderError, match=said):
        robustness.from_json({**plain, **change}, "here")


def test_a_report_shows_the_curves_of_evaluations_that_are_named_beside_its_runs(tmp_path, capsys):
    for arm in ("uniform", "cl"):
        for seed in (0, 1):
            write_run(tmp_path / "runs" / arm / f"seed{seed}", arm=arm, seed=seed)
    (tmp_path / "seen").mkdir()
    curve = a_curve("share", (0, 0.5, 1), (0.9, 0.6, 0.4), lines={"visual head": 0.65})

    def report(*folders, **said):
        whole = sealed({"format": 1, "robustness": [robustness.as_json(curve)], **said})
        (tmp_path / "seen" / "evaluation.json").write_text(json.dumps(whole))
        return main(["report", *map(str, folders), "--out", str(tmp_path / "page")])

    assert report(tmp_path / "runs", tmp_path / "seen") == 0
    page, table = (tmp_path / "page" / "report.html").read_text(), (tmp_path / "page" / "table.md").read_text()
    for text in (page, table):
        assert "Missing and noisy modalities" in text and "Area under the curves" in text
    assert "cl seed 0: accuracy of the prediction where audio is missing" in page and "the fusion does harm" in page
    assert report(tmp_path / "seen") == 2
    assert "seen is an evaluation, and a report is of runs" in capsys.readouterr().err
    assert report(tmp_path / "runs", tmp_path / "seen", robustness=[]) == 2
    assert "has no curves for a report to show: evaluate with --drop or --noise" in capsys.readouterr().err
    assert report(tmp_path / "runs", tmp_path / "seen", format=2) == 2
    assert "has the format 2, and this program reads 1" in capsys.readouterr().err


def test_a_page_shows_every_level_with_its_scatter():
    network = subject()
    found = curves(network, [Drops(("audio",), (0.0, 0.5))], [Noise("visual", ("0",))], fill="drop", seeds=2)
    levels, areas = robustness.level_table(found), robustness.area_table(found)
    assert [row[1:3] for row in levels.rows] == [
        ["audio missing, drop", "clean"],
        ["audio missing, drop", "share 0"],
        ["audio missing, drop", "share 0.5"],
        ["visual, gaussian", "clean"],
        ["visual, gaussian", "0 dB"],
    ]
    assert "[" in levels.rows[2][4] and levels.rows[2][5] == "-"  # the fused head has no say without the sound
    assert "visual head" in areas.rows[0][-1]
    panels = robustness.panels(found)
    assert len(panels) == 2 and all(panel.svg.startswith("<svg") for panel in panels)
    assert robustness.line_of(found[0]).startswith(
        "cl seed 0, audio missing, drop: accuracy % 81.0 clean, share 0: 81.0, "
    )
    plain = robustness.as_json(found[0])
    assert plain["points"][1]["lacking"] == list(found[0].points[1].lacking)


# ---- flags ---------------------------------------------------------------------------------------------------------


def test_flags():
    assert parsed_drops(["audio:0,0.2,0.5,1", "rgb+flow:0.5"]) == [
        Drops(("audio",), (0.0, 0.2, 0.5, 1.0)),
        Drops(("rgb", "flow"), (0.5,)),
    ]
    assert parsed_noise(["visual:1..5", "visual.blur:3", "audio:20,0"]) == [
        Noise("visual", ("1..5",)),
        Noise("visual", ("3",), "blur"),
        Noise("audio", ("20", "0")),
    ]


@pytest.mark.parametrize("text", ["audio", "audio:", ":0.5", "audio+:0.5", "audio+audio:1"])
def test_a_drop_of_another_form(text):
    with pytest.raises(RecipeError, match=r"form MODALITY:SHARE"):
        parsed_drops([text])


@pytest.mark.parametrize("share", ["-0.1", "1.5", "half", "nan"])
def test_a_share_that_is_none(share):
    with pytest.raises(RecipeError, match=r"is no share of the samples; give numbers from 0"):
        parsed_drops([f"audio:0,{share}"])


@pytest.mark.parametrize("text", ["visual", "visual:", "visual.:3", ":3", "visual:1,,2"])
def test_noise_of_another_form(text):
    with pytest.raises(RecipeError, match=r"form MODALITY:LEVEL"):
        parsed_noise([text])
