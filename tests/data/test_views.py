"""Batches of raw sounds and pictures, and what the device makes of them: equal to a transform of each sample."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from bss.data.batches import batch_zeros, collate
from bss.data.indexed import IndexedDataset
from bss.data.transforms.audio import fit_length
from bss.data.transforms.image import IMAGENET_MEAN, IMAGENET_STD, fixed_transform
from bss.data.transforms.views import Picture, Pictures, RandomView, Sound, whole
from bss.models.frontends import FrameViews, RepeatToLength, resized
from bss.utils.errors import DataError
from bss.utils.seeding import seeded


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def chw(pixels_HWC):
    return torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1)


# ------------------------------------------------------------------------------------------------------- batches


def test_sounds_become_a_padded_batch_with_their_lengths():
    batch = Sound.batch([Sound(np.float32([1, 2, 3]), 8000), Sound(np.float32([4]), 8000)])
    assert batch["waveform"].tolist() == [[1, 2, 3], [4, 0, 0]] and batch["length"].tolist() == [3, 1]


def test_pictures_become_a_padded_batch_with_their_boxes():
    small, wide = np.full((1, 1, 3), 7, np.uint8), np.full((1, 2, 3), 9, np.uint8)
    batch = Pictures.batch([Pictures([Picture(small), Picture(wide, flip=True)]), Pictures([Picture(wide)] * 2)])
    assert batch["frames"].shape == (2, 2, 3, 1, 2) and batch["frames"].dtype == torch.uint8
    assert batch["frames"][:, :, 0, 0].tolist() == [[[7, 0], [9, 9]], [[9, 9], [9, 9]]]
    assert batch["box"].tolist() == [[[1, 1, 0], [1, 2, 1]], [[1, 2, 0], [1, 2, 0]]]


class Ragged(Dataset):
    """Sounds of 1 to 4 samples."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"audio": Sound(np.full(index + 1, index, np.float32), 8000), "value": torch.ones(2), "label": index}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_pads_what_is_ragged_and_stacks_the_rest_also_in_a_worker(workers):
    loader = DataLoader(IndexedDataset(Ragged()), batch_size=2, num_workers=workers, collate_fn=collate)
    first, second = loader
    assert first["audio"]["waveform"].tolist() == [[0, 0], [1, 1]] and first["audio"]["length"].tolist() == [1, 2]
    assert second["audio"]["waveform"].tolist() == [[2, 2, 2, 0], [3, 3, 3, 3]]
    assert second["value"].shape == (2, 2) and second["label"].tolist() == [2, 3] == second["bss_index"].tolist()
    assert second["audio"]["waveform"].is_shared() == (workers == 1)


@pytest.mark.parametrize(
    "samples, words",
    [
        ([{"audio": torch.ones(2)}, {"audio": None}], "the sample at place 1 of a batch has None as 'audio': .* zeros"),
        ([{"audio": torch.ones(2)}, None], "a sample is None: leave such samples out in a collate_fn"),
        ([None, (1, 2)], "a sample is None"),
    ],
)
def test_what_is_none_is_named_with_the_way_out(samples, words):
    with pytest.raises(DataError, match=words):
        collate(samples)


def test_floats_of_numpy_and_of_python_become_what_networks_are_made_of():
    samples = [{"audio": np.ones(2), "gain": 0.5, "half": torch.ones(2).half(), "label": 1, "keep": True}] * 2
    batch = collate(samples)
    assert {batch[name].dtype for name in ("audio", "gain", "half")} == {torch.float32}
    assert (batch["label"].dtype, batch["keep"].dtype) == (torch.int64, torch.bool)
    torch.set_default_dtype(torch.float64)  # whoever trains in float64 gets it
    try:
        assert collate(samples)["half"].dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_samples_that_are_no_dicts_are_stacked_as_torch_does():
    assert [part.tolist() for part in collate([(0, 1.0), (1, 2.0)])] == [[0, 1], [1.0, 2.0]]
    assert batch_zeros((2, 3), torch.uint8).tolist() == [[0, 0, 0], [0, 0, 0]]


# -------------------------------------------------------------------------------------------------------- sounds


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4), wanted=st.integers(1, 40))
def test_a_batch_of_sounds_is_repeated_as_each_sound_would_be(lengths, wanted):
    waveforms = [np.random.default_rng(length).standard_normal(length).astype(np.float32) for length in lengths]
    batch = Sound.batch([Sound(waveform, 8000) for waveform in waveforms])
    expected = torch.from_numpy(np.stack([fit_length(waveform, wanted) for waveform in waveforms]))
    assert torch.equal(RepeatToLength(wanted)(batch), expected)
    position = torch.arange(wanted)  # what an accelerator does
    assert torch.equal(batch["waveform"].gather(1, position % batch["length"].unsqueeze(1)), expected)


def test_finished_inputs_pass_as_they_are():
    for values in (torch.randn(2, 9), torch.randn(2, 5, 9)):
        assert RepeatToLength(4)(values) is values
    views = torch.randn(2, 3, 8, 8)
    assert FrameViews(4)(views) is views


# ------------------------------------------------------------------------------------------------------ pictures


def train_transform(size):
    """Of one picture, on the host: what :class:`RandomView` and :class:`FrameViews` do in two places."""
    crop = v2.RandomResizedCrop((size, size), scale=(0.08, 1.0), antialias=True)
    scaled = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    return v2.Compose([crop, v2.RandomHorizontalFlip(), *scaled])


sizes = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=4)


@given(shapes=sizes, size=st.sampled_from([1, 8, 24]), seed=st.integers(0, 99))
def test_a_batch_of_random_views_equals_the_transform_of_each_picture_bit_for_bit(shapes, size, seed):
    pictures = [picture(*shape, seed=number) for number, shape in enumerate(shapes)]
    with seeded("view", seed):
        expected = torch.stack([train_transform(size)(chw(pixels)) for pixels in pictures])
        then = torch.rand(1)
    view = RandomView()
    with seeded("view", seed):
        batch = Pictures.batch([Pictures([view(pixels) for pixels in pictures])])
        assert torch.equal(torch.rand(1), then)  # the same numbers were drawn
    assert torch.equal(FrameViews(size)(batch)[0].transpose(0, 1), expected)


@given(shapes=sizes, size=st.sampled_from([1, 8, 24]))
def test_a_batch_of_whole_views_equals_the_transform_of_each_picture_bit_for_bit(shapes, size):
    pictures = [picture(*shape, seed=number) for number, shape in enumerate(shapes)]
    expected = torch.stack([fixed_transform(size)(chw(pixels)) for pixels in pictures])
    batch = Pictures.batch([Pictures([whole(pixels)]) for pixels in pictures])
    assert torch.equal(FrameViews(size)(batch)[:, :, 0], expected)


def test_a_view_of_a_picture_copies_nothing():
    pixels = picture(40, 50)
    assert all(np.shares_memory(view(pixels).pixels_HWC, pixels) for view in (whole, RandomView()))


def boxed(shapes, flips, seed=0):
    pairs = enumerate(zip(shapes, flips, strict=True))
    views = [Picture(picture(*shape, seed=seed + i), flip) for i, (shape, flip) in pairs]
    batch = Pictures.batch([Pictures([view]) for view in views])
    return views, batch["frames"].flatten(0, 1), batch["box"].flatten(0, 1)


@given(shapes=sizes, size=st.sampled_from([1, 7, 32]), flips=st.lists(st.booleans(), min_size=4, max_size=4))
def test_all_pictures_at_once_are_within_one_grey_level_of_torchvision(shapes, size, flips):
    views, frames, box = boxed(shapes, flips[: len(shapes)])
    squares = resized(frames, box, size)
    assert squares.dtype == torch.float32 and squares.shape == (len(shapes), 3, size, size)
    for square, view in zip(squares, views, strict=True):
        expected = v2.functional.resize(chw(view.pixels_HWC), [size, size], antialias=True)
        expected = v2.functional.horizontal_flip(expected) if view.flip else expected
        assert (square - expected).abs().max() <= 1


def test_pictures_of_the_real_sizes_are_within_one_grey_level_and_mostly_equal():
    shapes = [(360, 480), (256, 340), (101, 333), (300, 77), (224, 224)]
    views, frames, box = boxed(shapes, [False, True, False, True, True])
    squares = resized(frames, box, 224)
    for square, view in zip(squares, views, strict=True):
        expected = v2.functional.resize(chw(view.pixels_HWC), [224, 224], antialias=True)
        difference = (square - (expected.flip(-1) if view.flip else expected)).abs()
        assert difference.max() <= 1 and difference.mean() < 0.3


def test_two_pixels_become_one_and_one_becomes_two():
    pair = np.uint8([[[0, 0, 0], [100, 100, 100]]])
    _, frames, box = [None, *Pictures.batch([Pictures([Picture(pair)]), Pictures([Picture(pair[:, :1])])]).values()]
    frames, box = frames.flatten(0, 1), box.flatten(0, 1)
    assert resized(frames, box, 1)[:, 0].tolist() == [[[50.0]], [[0.0]]]
    assert resized(frames, box, 2)[0, 0].tolist() == [[0.0, 100.0], [0.0, 100.0]]


def test_what_is_beside_a_picture_does_not_show():
    _, frames, box = boxed([(20, 30), (40, 50)], [False, False])
    before = resized(frames, box, 8)
    frames[0, :, 20:] = 255
    frames[0, :, :, 30:] = 255
    assert torch.equal(resized(frames, box, 8), before)


def test_the_batched_path_is_free_of_host_round_trips_and_gives_the_values_of_the_other(monkeypatch):
    batch = Pictures.batch([Pictures([whole(picture(20, 30))]), Pictures([whole(picture(41, 17))])])
    expected = FrameViews(16)(batch)
    for name in ("item", "tolist", "__bool__", "cpu", "nonzero"):
        monkeypatch.setattr(Tensor, name, lambda *_: pytest.fail("waits for the device"))
    squares = resized(batch["frames"].flatten(0, 1), batch["box"].flatten(0, 1), 16)
    monkeypatch.undo()
    views = FrameViews(16)
    values = squares.mul(1 / 255).sub(views.mean).div(views.std)
    assert (values - expected[:, :, 0]).abs().max() <= 1.01 / 255 / min(IMAGENET_STD)


def test_the_modules_have_no_state_and_move_with_the_model():
    views = FrameViews(8)
    assert not views.state_dict() and not list(views.parameters()) and views.to("meta").mean.device.type == "meta"
    assert pickle.loads(pickle.dumps(FrameViews(8))).size == 8


@pytest.mark.parametrize("lacking", [0, 1])
def test_samples_with_different_keys_are_refused_whichever_comes_first(lacking):
    samples = [{"audio": torch.zeros(2), "bss_index": 7}, {"audio": torch.zeros(2), "bss_index": 8}]
    del samples[lacking]["audio"]
    with pytest.raises(DataError, match=rf"sample {7 + lacking} lacks 'audio': .* zeros of the same shape"):
        collate(samples)
