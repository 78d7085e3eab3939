"""Missing and noisy modalities: decibels, severities, who is hit by a share, and that nothing but the name decides."""

import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from bss.data import degradation
from bss.data.degradation import (
    LOST,
    SNR_DB,
    Degraded,
    Missing,
    Noisy,
    RawPictures,
    corrupted_picture,
    drawn,
    empty_text,
    gone,
    inputs,
    kind_of,
    random_of,
    silent,
    snr_db,
    stand_in,
    with_white_noise,
    without_frames,
    without_tokens,
)
from bss.data.indexed import StandIn
from bss.data.tensors import TensorSamples
from bss.data.transforms.image import IMAGENET_MEAN, IMAGENET_STD, PixelScale, fixed_transform, scale_of
from bss.data.transforms.text import Tokens
from bss.data.transforms.views import Picture, Pictures, Sound
from bss.models.frontends import FrameViews
from bss.utils.errors import DataError, RecipeError

NAMES = [f"clip{i}" for i in range(400)]
SINE_T = np.sin(np.arange(4000) * 0.05).astype(np.float32)


def random(name="a", seed=0):
    return random_of(name, "m", "c", seed)


# ---- who is hit ----------------------------------------------------------------------------------------------------


def test_a_sample_is_gone_by_the_hash_of_its_name():
    # SHA-256 of "0\0audio\0clip0", its first 53 bits: printf '0\0audio\0clip0' | sha256sum
    assert drawn("clip0", "audio", 0) == (HASHED >> 11) / 2**53
    assert [bool(hit) for hit in gone(["clip0"], "audio", drawn("clip0", "audio", 0), 0)] == [False]
    assert [bool(hit) for hit in gone(["clip0"], "audio", drawn("clip0", "audio", 0) + 1e-9, 0)] == [True]


HASHED = 0x822C0C8F2B94D00F


def test_shares_are_nested_from_none_to_all():
    hit = [gone(NAMES, "audio", share, 3) for share in (0, 0.2, 0.5, 0.9, 1)]
    assert hit[0].sum() == 0 and hit[-1].all()
    assert all((less <= more).all() for less, more in itertools.pairwise(hit))
    assert [abs(each.mean() - share) < 0.08 for each, share in zip(hit, (0, 0.2, 0.5, 0.9, 1), strict=True)] == [
        True
    ] * 5


def test_a_sample_is_hit_alike_in_every_list_and_otherwise_in_another_modality_or_seed():
    whole = gone(NAMES, "audio", 0.5, 0)
    assert (gone(NAMES[::-1], "audio", 0.5, 0)[::-1] == whole).all()
    assert (gone(NAMES[7:9], "audio", 0.5, 0) == whole[7:9]).all()
    for other in (gone(NAMES, "visual", 0.5, 0), gone(NAMES, "audio", 0.5, 1)):
        assert 0.4 < (other == whole).mean() < 0.6  # independent


@pytest.mark.parametrize("share", [-0.1, 1.01, math.nan])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
        gone(NAMES, "audio", share, 0)


# ---- sounds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", SNR_DB)
def test_the_measured_ratio_is_the_one_that_was_asked_for(level):
    noisy = with_white_noise(SINE_T, level, random())
    assert noisy.dtype == np.float32
    assert abs(snr_db(SINE_T, noisy) - level) < 0.1
    # By hand: a sine has the power 1/2, so noise at 0 dB has the deviation 0.707, and at 20 dB a tenth of it.
    assert (noisy - SINE_T).std() == pytest.approx(0.707 * 10 ** (-level / 20), rel=0.02)


def test_noise_is_white_and_the_same_at_every_level_but_louder():
    loud, soft = (with_white_noise(SINE_T, level, random()) - SINE_T for level in (0, 20))
    assert loud == pytest.approx(10 * soft, abs=1e-4)
    power = np.abs(np.fft.rfft(loud)) ** 2
    assert power[:1000].mean() == pytest.approx(power[1000:].mean(), rel=0.15)


def test_silence_stays_silent_and_is_counted():
    silence = np.zeros(10, np.float32)
    assert not with_white_noise(silence, 0, random()).any()
    assert silent([Sound(silence, 8), Sound(SINE_T, 8), Sound(silence, 8)]) == 2


def test_a_ratio_without_signal_or_without_noise():
    assert snr_db(SINE_T, SINE_T) == math.inf
    assert snr_db(np.zeros(2), np.ones(2)) == -math.inf
    assert snr_db(np.ones(4), np.ones(4) * 1.1) == pytest.approx(20)


# ---- pictures ------------------------------------------------------------------------------------------------------


def test_contrast_pulls_towards_the_mean_of_the_picture():
    halves = torch.cat([torch.zeros(1, 3, 4, 2), torch.ones(1, 3, 4, 2)], dim=3)
    assert corrupted_picture(halves, "contrast", 2, random()).unique().tolist() == [0.25, 0.75]  # 0.5 -+ 0.5 * 0.5


def test_occlusion_covers_its_share_with_grey_and_grows_around_the_same_place():
    black = torch.zeros(2, 3, 100, 200)
    covered = [corrupted_picture(black, "occlusion", severity, random()) == 0.5 for severity in range(1, 6)]
    shares = [each.float().mean().item() for each in covered]
    assert shares == pytest.approx(degradation.OCCLUDED, abs=0.02)
    assert all((less <= more).all() for less, more in itertools.pairwise(covered))
    assert (covered[0][0] == covered[0][1]).all()  # of both frames


def test_noise_has_its_deviation_and_stays_within_the_range():
    grey = torch.full((2, 3, 64, 64), 0.5)
    noisy = corrupted_picture(grey, "noise", 2, random())
    assert noisy.std().item() == pytest.approx(0.1, rel=0.05)
    assert not (noisy[0] == noisy[1]).all()
    assert (
        0
        <= corrupted_picture(grey, "noise", 5, random()).min()
        <= corrupted_picture(grey, "noise", 5, random()).max()
        <= 1
    )


def test_blur_spreads_a_point_by_its_share_of_the_side():
    point = torch.zeros(1, 1, 101, 101)
    point[..., 50, 50] = 1
    blurred = corrupted_picture(point, "blur", 5, random())[0, 0]
    spread = ((torch.arange(101) - 50.0) ** 2 * blurred.sum(0)).sum().sqrt().item()
    assert blurred.sum().item() == pytest.approx(1, abs=1e-4)
    assert spread == pytest.approx(0.04 * 101, rel=0.05)


@pytest.mark.parametrize("corruption", degradation.PICTURE_CORRUPTIONS)
def test_every_severity_is_worse_than_the_one_before(corruption):
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    away = [
        (corrupted_picture(picture, corruption, severity, random()) - picture).norm().item() for severity in range(1, 6)
    ]
    assert away == sorted(away) and away[0] > 0


def test_raw_pictures_are_corrupted_in_the_size_that_the_network_sees():
    large, small = (Pictures([Picture(np.full((side, side, 3), 128, np.uint8), flip=True)]) for side in (64, 16))
    changed = [RawPictures(16).corrupted(each, "noise", 3, random()).views[0] for each in (large, small)]
    assert changed[0].pixels_HWC.dtype == np.uint8 and changed[0].flip
    assert (changed[0].pixels_HWC == changed[1].pixels_HWC).all()


def test_resizing_first_is_what_the_network_would_do_next(monkeypatch):
    monkeypatch.setattr(degradation, "CONTRAST", (1.0,) * 5)  # a corruption that changes nothing
    random_pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    clean = Pictures([Picture(random_pixels, flip=True)])
    resized = RawPictures(16).corrupted(clean, "contrast", 1, random())
    seen = [FrameViews(16)(Pictures.batch([each])) for each in (clean, resized)]
    assert resized.views[0].pixels_HWC.shape == (16, 16, 3) and torch.equal(*seen)


def test_pictures_of_several_sizes_keep_them_where_the_networks_is_not_known():
    views = Pictures([Picture(np.full((5, 4, 3), 100, np.uint8)), Picture(np.full((6, 3, 3), 100, np.uint8))])
    changed = RawPictures().corrupted(views, "contrast", 5, random())
    assert [view.pixels_HWC.shape for view in changed.views] == [(5, 4, 3), (6, 3, 3)]
    assert (changed.views[0].pixels_HWC == 100).all()


def test_normalised_pictures_are_corrupted_as_pixels():
    grey = np.full((8, 8, 3), 51, np.uint8)
    transform = fixed_transform(8)
    value = transform(torch.from_numpy(grey).permute(2, 0, 1))
    half = degradation.ScaledPictures(scale_of(transform)).corrupted(value, "occlusion", 5, random())
    shown = half * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    assert sorted({round(each, 4) for each in shown.flatten().tolist()}) == [0.2, 0.5]  # 51 / 255, and grey
    clip = value.unsqueeze(1).repeat(1, 2, 1, 1)
    assert degradation.ScaledPictures(scale_of(transform)).corrupted(clip, "occlusion", 5, random()).shape == clip.shape


def test_the_scale_of_a_transform():
    assert scale_of(fixed_transform(4)) == PixelScale(IMAGENET_MEAN, IMAGENET_STD)
    assert scale_of(fixed_transform(4, normalization="none")) == PixelScale((0.0,), (1.0,)) == scale_of(torch.abs)


# ---- texts and frames ----------------------------------------------------------------------------------------------


def tokens(ids, types=None, padding=2):
    ids = [101, *ids, 102]
    types = [0, *(types or [0] * (len(ids) - 2)), 1 if types else 0]
    rows = [ids, [1] * len(ids), types]
    return torch.tensor([row + [0] * padding for row in rows])


def test_all_words_of_a_text_can_be_lost_but_not_its_ends():
    assert without_tokens(tokens([5, 6, 7]), 1.0, random())[:2].tolist() == [
        [101, 102, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
    ]
    assert (without_tokens(tokens([5, 6, 7]), 0.0, random()) == tokens([5, 6, 7])).all()


def test_the_second_text_of_a_pair_stays():
    pair = tokens([5, 6, 102, 8], types=[0, 0, 0, 1])
    assert without_tokens(pair, 1.0, random())[:, :5].tolist() == [
        [101, 102, 8, 102, 0],
        [1, 1, 1, 1, 0],
        [0, 0, 1, 1, 0],
    ]
    assert empty_text(pair)[:, :3].tolist() == [[101, 102, 0], [1, 1, 0], [0, 0, 0]]


def test_lost_tokens_are_nested_and_do_not_depend_on_the_padding():
    ids = list(range(1000, 1100))
    left = [set(without_tokens(tokens(ids), chance, random())[0].tolist()) for chance in LOST]
    assert all(more <= less for less, more in itertools.pairwise(left))
    assert len(left[2]) == pytest.approx(53, abs=15)
    longer = without_tokens(tokens(ids, padding=40), LOST[2], random())
    assert set(longer[0].tolist()) == left[2]


def test_a_lost_frame_is_the_one_before_it_and_one_always_stays():
    clip = torch.arange(6.0).view(1, 6, 1, 1)
    drawn_T = random().random(6)
    shown = without_frames(clip, 0.5, random()).flatten().tolist()
    kept = [t for t in range(6) if drawn_T[t] >= 0.5]
    assert kept and shown == [max([k for k in kept if k <= t], default=kept[0]) for t in range(6)]
    assert without_frames(clip, 1.0, random()).flatten().unique().tolist() == [float(drawn_T.argmax())]
    assert (without_frames(clip, 0.0, random()) == clip).all()


# ---- numbers -------------------------------------------------------------------------------------------------------


def features():
    values = torch.randn(300, 4, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 10.0, 0.0, 3.0]) + 50
    return TensorSamples({"audio": values, "visual": values[:, :2]}, torch.zeros(300, dtype=torch.int64))


def test_noise_of_numbers_is_in_decibels_of_the_training_spread_entry_by_entry():
    samples = features()
    kind = kind_of(samples, "audio").learned(inputs(samples, "audio"))
    assert kind.std.tolist() == pytest.approx(samples.modalities["audio"].std(0, correction=0).tolist(), rel=1e-4)
    noisy = Degraded(samples, NAMES[:300], {"audio": Noisy("audio", kind, "gaussian", 20.0)})
    noise = torch.stack([noisy[i]["audio"] for i in range(300)]) - samples.modalities["audio"]
    assert noise.std(0).tolist() == pytest.approx([0.1, 1.0, 0.0, 0.3], rel=0.15)
    with pytest.raises(ValueError, match="learned"):
        kind_of(samples, "audio").corrupted(samples[0]["audio"], "gaussian", 20.0, random())


def test_inputs_of_several_shapes_have_no_mean():
    with pytest.raises(DataError, match=r"--fill zero"):
        stand_in(degradation.Numbers(), "mean", [torch.zeros(2), torch.zeros(3)])


# ---- what stands for a modality that is missing --------------------------------------------------------------------


def test_the_mean_of_the_training_inputs():
    numbers = stand_in(degradation.Numbers(), "mean", [torch.tensor([0.0, 2.0]), torch.tensor([1.0, 4.0])])
    assert numbers(torch.zeros(2)).tolist() == [0.5, 3.0]
    sounds = stand_in(degradation.Sounds(), "mean", [Sound(np.float32([1, 3]), 8), Sound(np.float32([2, 1, 5]), 8)])
    assert sounds(None).waveform_T.tolist() == [1.5, 2.0, 5.0]
    shades = [Pictures([Picture(np.full((4, 6, 3), shade, np.uint8))]) for shade in (10, 20)]
    (view,) = stand_in(RawPictures(5), "mean", shades)(None).views
    assert view.pixels_HWC.shape == (5, 5, 3) and (view.pixels_HWC == 15).all()
    text = Tokens(tokens([5, 6]), "five six")
    assert stand_in(degradation.Texts(), "mean", [text])(text).tokens_3L.tolist() == empty_text(text.tokens_3L).tolist()


def test_zero_is_silence_black_no_words_and_zeros():
    assert not stand_in(degradation.Sounds(), "zero", [])(Sound(SINE_T, 8)).waveform_T.any()
    black = stand_in(RawPictures(5), "zero", [])(Pictures([Picture(np.full((4, 6, 3), 9, np.uint8), flip=True)]))
    assert black.views[0].flip and black.views[0].pixels_HWC.shape == (4, 6, 3) and not black.views[0].pixels_HWC.any()
    assert stand_in(degradation.Texts(), "zero", [])(Tokens(tokens([5]), "five")).text == ""
    assert stand_in(degradation.Numbers(), "zero", [])(torch.ones(2)).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="drop"):
        stand_in(degradation.Numbers(), "drop", [])


# ---- the data set --------------------------------------------------------------------------------------------------


def test_share_zero_is_the_clean_set_and_share_one_the_fill():
    samples = features()
    instead = stand_in(kind_of(samples, "audio"), "mean", inputs(samples, "audio"))
    clean, half, none = (
        Degraded(samples, NAMES[:300], {"audio": Missing("audio", instead, share, seed=2)}) for share in (0, 0.5, 1)
    )
    hit = gone(NAMES[:300], "audio", 0.5, 2)
    for i in range(0, 300, 17):
        assert torch.equal(clean[i]["audio"], samples[i]["audio"])
        assert torch.equal(none[i]["audio"], instead(None))
        assert torch.equal(half[i]["audio"], instead(None) if hit[i] else samples[i]["audio"])
        assert torch.equal(half[i]["visual"], samples[i]["visual"]) and half[i]["label"] == 0


def test_a_sample_is_the_same_in_every_batch_order_and_process():
    samples = features()
    kind = kind_of(samples, "audio").learned(inputs(samples, "audio"))
    noisy = Degraded(samples, NAMES[:300], {"audio": Noisy("audio", kind, "gaussian", 0.0, seed=1)})
    alone = [noisy[i]["audio"] for i in (5, 3)]
    together = noisy.__getitems__([3, 200, 5])
    assert torch.equal(together[2]["audio"], alone[0]) and torch.equal(together[0]["audio"], alone[1])
    sent = pickle.loads(pickle.dumps(noisy))  # to a loader's process
    assert torch.equal(sent[3]["audio"], alone[1])
    other = Degraded(samples, NAMES[:300], {"audio": Noisy("audio", kind, "gaussian", 0.0, seed=2)})
    assert not torch.equal(other[3]["audio"], alone[1])


def test_reading_the_inputs_leaves_the_callers_random_stream():
    before = torch.get_rng_state()
    assert len(list(inputs(features(), "audio"))) == 300
    assert torch.equal(torch.get_rng_state(), before)


class Holes(Dataset):
    """Sample 1 is given by sample 0, and there is no sample 2."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return [{"audio": torch.ones(3), "label": 0}, StandIn(0, {"audio": torch.ones(3), "label": 0}), None][index]


def test_a_sample_that_stands_in_is_disturbed_by_its_own_name():
    kind = degradation.Numbers(torch.ones(3))
    noisy = Degraded(Holes(), ["a", "b", "c"], {"audio": Noisy("audio", kind, "gaussian", 0.0)})
    assert noisy[2] is None
    assert torch.equal(noisy[1].sample["audio"], noisy[0]["audio"])
    assert len(list(inputs(Holes(), "audio"))) == 2
    with pytest.raises(ValueError, match="2 names for 3 samples"):
        Degraded(Holes(), ["a", "b"], {})


# ---- kinds ---------------------------------------------------------------------------------------------------------


class Scaled(TensorSamples):
    pixel_scales = {"visual": PixelScale((0.5,), (0.5,))}  # noqa: RUF012


def one(**values):
    return TensorSamples(
        {name: value.unsqueeze(0) for name, value in values.items()}, torch.zeros(1, dtype=torch.int64)
    )


def test_what_a_modality_is():
    clip = torch.zeros(2, 3, 4, 4)
    assert type(kind_of(one(flow=clip), "flow")) is degradation.Frames
    assert type(kind_of(one(flow=clip[0]), "flow")) is degradation.Numbers
    scaled = Scaled({"visual": clip}, torch.zeros(2, dtype=torch.int64))
    assert type(kind_of(torch.utils.data.Subset(scaled, [1]), "visual")) is degradation.ScaledPictures
    assert kind_of([{"audio": Sound(SINE_T, 8), "label": 0}], "audio").levels == SNR_DB
    assert kind_of([{"visual": Pictures([]), "label": 0}], "visual", size=7) == RawPictures(7)


@pytest.mark.parametrize("name", ["sound", "label"])
def test_a_modality_that_there_is_not(name):
    with pytest.raises(RecipeError, match=r"no modality \w+; they have audio, visual"):
        kind_of(features(), name)


def test_whole_numbers_have_no_noise():
    with pytest.raises(RecipeError, match=r"words is a tensor of torch\.int64.*--fill drop"):
        kind_of(one(words=torch.zeros(3, dtype=torch.int64)), "words")
