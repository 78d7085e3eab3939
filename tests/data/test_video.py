import os
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bss.data.transforms import video
from bss.data.transforms.containers import VIDEO_SUFFIXES, video_damage
from bss.data.transforms.video import draw_view, read_flow, read_video
from bss.utils.errors import DataError
from bss.utils.seeding import seeded

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
LEVELS = (20, 60, 100, 140, 180, 220)


def put_video(path, frames=6, size=(16, 24), colour=None):
    """Frames of one grey level each (20, 60, 100 ...), or all of one colour."""
    clip = np.zeros((frames, *size, 3), np.uint8)
    for t in range(frames):
        clip[t] = LEVELS[t % 6] if colour is None else colour
    video.write_video(path, clip)
    return path


def levels(clip):
    """Which of the grey levels each frame shows."""
    means = clip.float().mean(dim=(1, 2, 3))
    return [int(torch.tensor([abs(mean - level) for level in LEVELS]).argmin()) for mean in means]


def smooth_texture(height, width, seed=0):
    import cv2

    noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


# ---- reading -------------------------------------------------------------------------------------------------------


def test_a_window_of_a_longer_video_is_its_frames(tmp_path):
    clip = read_video(put_video(tmp_path / "a.avi"), 2, 5)
    assert clip.shape == (3, 3, 16, 24) and clip.dtype == torch.uint8
    assert levels(clip) == [2, 3, 4]
    assert (clip[0].float() - 100).abs().max() < 6


def test_a_video_of_exactly_the_windows_length_was_cut_already_and_is_taken_whole(tmp_path):
    path = put_video(tmp_path / "a.avi")
    assert levels(read_video(path, 140, 146)) == [0, 1, 2, 3, 4, 5]
    assert levels(read_video(path, 3, 9)) == [0, 1, 2, 3, 4, 5]
    assert levels(read_video(path, 0, 6)) == [0, 1, 2, 3, 4, 5]


def test_grey_is_one_channel(tmp_path):
    clip = read_video(put_video(tmp_path / "a.avi"), 1, 3, grey=True)
    assert clip.shape == (2, 1, 16, 24) and levels(clip) == [1, 2]


@pytest.mark.parametrize(("channel", "colour"), [(0, (255, 0, 0)), (1, (0, 255, 0)), (2, (0, 0, 255))])
def test_channels_are_red_green_blue(tmp_path, channel, colour):
    clip = read_video(put_video(tmp_path / "a.avi", colour=colour), 0, 2).float().mean(dim=(0, 2, 3))
    assert clip[channel] > 245 and clip.sum() - clip[channel] < 20


@pytest.mark.parametrize(("start", "stop"), [(140, 145), (2, 9), (0, 7), (4, 10_000)])
def test_too_few_frames_are_an_error_with_the_numbers(tmp_path, start, stop):
    path = put_video(tmp_path / "a.avi")
    with pytest.raises(
        DataError, match=rf"a\.avi: 6 frames can be decoded \(its header claims 6\), .* frames {start} to"
    ):
        read_video(path, start, stop)


def test_a_video_of_zero_frames_says_so(tmp_path):
    path = put_video(tmp_path / "a.avi", frames=0)
    with pytest.raises(DataError, match=r"a\.avi: a video of zero frames"):
        read_video(path, 0, 6)


def test_a_truncated_avi_is_an_error(tmp_path):
    path = put_video(tmp_path / "a.avi")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(
        DataError, match=rf"a\.avi: truncated \({len(content) * 2 // 3:,} of {len(content) - 8:,} bytes\)"
    ):
        read_video(path, 0, 6)


def starts_of_frames(content):
    return [at for at in range(len(content)) if content[at : at + 3] == b"\xff\xd8\xff"]


def test_a_frame_that_cannot_be_decoded_is_an_error_and_later_frames_do_not_take_its_place(tmp_path):
    path = put_video(tmp_path / "a.avi")
    content = bytearray(path.read_bytes())
    at = starts_of_frames(content)[2]
    content[at : at + 200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.avi: \d frames can be decoded \(its header claims 6\)"):
        read_video(path, 0, 6)
    # A window of as many frames as are left must not be mistaken for a cut clip.
    with pytest.raises(DataError, match="can be decoded"):
        read_video(path, 3, 5)
    assert levels(read_video(path, 0, 2)) == [0, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello, this is text", r"not an avi file \(it begins with b'hello, t'\)"),
        (b"RIFF\x04\0\0\0WAVEfmt ", r"not an avi file \(RIFF, but of the kind b'WAVE'\)"),
        (b"", "an empty file"),
        (LFS, "a Git-LFS pointer"),
        (b"RIFF\0\0\0\0AVI " + bytes(500), "cannot be opened as a video"),
        (b"RIFF", "not an avi file"),
    ],
)
def test_what_is_no_video_is_an_error_with_the_files_name_and_no_noise(tmp_path, capfd, content, words):
    path = tmp_path / "a.avi"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.avi: {words}"):
        read_video(path, 0, 6)
    assert capfd.readouterr().err == ""


def test_a_codec_that_ffmpeg_lacks_is_named(tmp_path):
    path = put_video(tmp_path / "a.avi")
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"ZZZ9"))
    for read in (video.count_frames, lambda path: read_video(path, 0, 6)):
        with pytest.raises(DataError, match=r"a\.avi: its pictures are coded as ZZZ9, which FFmpeg has no decoder for"):
            read(path)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none\.avi: cannot be read: No such file"):
        read_video(tmp_path / "none.avi", 0, 6)


def test_a_window_that_is_none_is_refused(tmp_path):
    for start, stop in ((3, 3), (4, 2), (-1, 2)):
        with pytest.raises(ValueError, match=f"0 <= start < stop, got {start}:{stop}"):
            read_video(tmp_path / "a.avi", start, stop)


def test_reading_leaves_log_level_environment_and_random_states_as_they_were(tmp_path, untouched_rngs):
    import cv2

    log = getattr(cv2.utils, "logging", cv2)  # OpenCV 4.12 and older
    before = log.getLogLevel(), dict(os.environ)
    read_video(put_video(tmp_path / "a.avi"), 0, 6)
    assert (log.getLogLevel(), dict(os.environ)) == before


def test_a_video_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "a.avi").mkdir()
    with pytest.raises(OSError, match="cannot be written as a video"):
        put_video(tmp_path / "a.avi")


# ---- heads ---------------------------------------------------------------------------------------------------------


def avi_head(size=100, frames=3, kind=b"AVI "):
    head = b"RIFF" + struct.pack("<I", size) + kind + b"LIST" + bytes(4) + b"hdrlavih" + bytes(20)
    return head + struct.pack("<I", frames)


@pytest.mark.parametrize(
    ("head", "suffix", "expected"),
    [
        (avi_head(), ".avi", None),
        (avi_head(size=0), ".avi", None),  # written into a pipe
        (avi_head(size=0xFFFFFFFF), ".avi", None),
        (avi_head(size=0, frames=0), ".avi", None),
        (avi_head(frames=0), ".avi", "a video of zero frames"),
        (avi_head(frames=0) + b"strhvids" + b"strhauds", ".avi", "a video of zero frames"),
        (avi_head(frames=0) + b"strhauds", ".avi", None),  # a sound
        (b"\0\0\0\x20ftypisom", ".mp4", None),
        (b"\0\0\0\x08wide\0\0\0\0mdat", ".mp4", None),
        (b"<html><body>", ".mp4", "not a mp4 file (it begins with b'<html><b')"),
        (b"\x1a\x45\xdf\xa3\x01", ".mkv", None),
        (b"RIFF", ".mkv", "not a mkv file (it begins with b'RIFF')"),
        (b"FLV\x01\x05", ".flv", None),
        (b"FL", ".flv", "not a flv file (it begins with b'FL')"),
        (b"anything", ".txt", None),
    ],
)
def test_the_head_tells_what_a_video_is_not(head, suffix, expected):
    assert video_damage(head, suffix) == expected


@given(head=st.binary(max_size=80), suffix=st.sampled_from(VIDEO_SUFFIXES))
def test_no_head_whatever_is_an_exception(head, suffix):
    for start in (b"", b"RIFF", b"RIFF\x30\0\0\0AVI "):
        assert isinstance(video_damage(start + head, suffix), str | None)


def test_a_video_that_was_written_has_no_damage(tmp_path):
    assert video.damage(put_video(tmp_path / "a.avi")) is None


# ---- optical flow --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "down"), [(3, 1), (-2, 0), (0, -4), (0, 0)])
def test_the_flow_of_a_texture_that_moves_is_its_motion(right, down):
    canvas = smooth_texture(100, 100)
    frames = np.stack([canvas[20 - down * t :, 20 - right * t :][:64, :64] for t in range(4)])
    flow = video.optical_flow(frames)
    assert flow.shape == (4, 2, 64, 64) and flow.dtype == np.float32
    for t in range(4):  # the last repeats the third
        assert np.median(flow[t, 0]) == pytest.approx(right, abs=0.05)
        assert np.median(flow[t, 1]) == pytest.approx(down, abs=0.05)
    assert np.array_equal(flow[3], flow[2])


def test_a_single_frame_does_not_move():
    assert not video.optical_flow(smooth_texture(32, 32)[None]).any()


def test_packed_flow_is_steps_of_20_over_127_pixels_cut_at_20():
    flow = np.array([0.0, 20 / 127, 0.07, 0.08, 10.0, -20.0, 20.0, 25.0, -1e9], np.float32)
    assert video.pack_flow(flow).tolist() == [0, 1, 0, 1, 64, -127, 127, 127, -127]  # 10 pixels are 63.5 steps


@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=20))
def test_packing_keeps_flow_within_half_a_step(values):
    flow = np.array(values, np.float32)
    assert np.abs(video.pack_flow(flow) * (20 / 127) - flow).max() <= 10 / 127 + 1e-5


def test_packed_flow_is_read_back_in_pixels_and_only_the_window(tmp_path):
    stored = np.arange(5, dtype=np.int8)[:, None, None, None] * np.ones((1, 2, 3, 4), np.int8)
    np.save(tmp_path / "f.npy", stored)
    flow = read_flow(tmp_path / "f.npy", 5, slice(1, 4))
    assert flow.shape == (3, 2, 3, 4) and flow.dtype == torch.float32
    torch.testing.assert_close(flow[:, 0, 0, 0], torch.tensor([1.0, 2.0, 3.0]) * 20 / 127)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_flow_in_the_released_form_is_pixels_with_time_last(tmp_path, dtype):
    stored = np.zeros((3, 4, 2, 5), dtype)
    stored[1, 2, 0, 3], stored[1, 2, 1, 3] = 7.5, -30.0
    np.save(tmp_path / "f.npy", stored)
    flow = read_flow(tmp_path / "f.npy", 5, slice(0, 5))
    assert flow.shape == (5, 2, 3, 4) and flow[3, :, 1, 2].tolist() == [7.5, -30.0] and flow.count_nonzero() == 2


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 2, 3, 3), np.int8), "holds the flow of 4 frames, but the clip has 5"),
        (np.zeros((3, 3, 2, 6), np.float32), "holds the flow of 6 frames, but the clip has 5"),
        (np.zeros((5, 2, 3, 3), np.float32), r"holds float32 of shape \(5, 2, 3, 3\); flow is int8"),
        (np.zeros((3, 3, 2, 5), np.uint8), "holds uint8 of shape"),
        (np.zeros(5, np.int8), "holds int8 of shape"),
        (np.full((3, 3, 2, 5), np.nan), "holds flow that is not finite"),
        (np.array([None]), "not a readable npy file"),
    ],
)
def test_flow_of_another_kind_or_length_is_an_error_with_the_files_name(tmp_path, array, words):
    np.save(tmp_path / "f.npy", array)
    with pytest.raises(DataError, match=rf"f\.npy: {words}"):
        read_flow(tmp_path / "f.npy", 5, slice(0, 5))


def test_a_truncated_flow_file_is_an_error_and_is_not_taken_for_whole(tmp_path):
    path = tmp_path / "f.npy"
    np.save(path, np.zeros((5, 2, 8, 8), np.int8))
    assert video.holds_packed_flow(path, (5, 2, 8, 8))
    assert not video.holds_packed_flow(path, (5, 2, 8, 9)) and not video.holds_packed_flow(tmp_path / "x", (1,))
    content = path.read_bytes()
    for length in (len(content) - 1, 100, 20, 0):
        path.write_bytes(content[:length])
        assert not video.holds_packed_flow(path, (5, 2, 8, 8))
        with pytest.raises(DataError, match=r"f\.npy: not a readable npy file"):
            read_flow(path, 5, slice(0, 5))


# ---- views ---------------------------------------------------------------------------------------------------------


def test_the_central_view_by_hand():
    assert draw_view(80, frames=64, resize=256, size=224, random=False) == (8, 64, 16, 16, 224)
    assert draw_view(80, frames=80, resize=256, size=224, random=False) == (0, 80, 16, 16, 224)
    assert draw_view(5, frames=2, resize=9, size=4, random=False) == (1, 2, 2, 2, 4)


def test_a_random_view_reaches_every_window_and_corner_and_is_a_function_of_the_default_generator(untouched_rngs):
    def view(draw):
        with seeded("view", draw):
            return draw_view(4, frames=3, resize=6, size=4, random=True)

    views = [view(draw) for draw in range(200)]
    assert {v.start for v in views} == {0, 1} and {(v.top, v.left) for v in views} == {
        (top, left) for top in range(3) for left in range(3)
    }
    assert view(7) == views[7]


@given(available=st.integers(1, 90), resize=st.integers(1, 40), data=st.data())
def test_every_view_lies_inside(available, resize, data):
    frames, size = data.draw(st.integers(1, available)), data.draw(st.integers(1, resize))
    for random in (True, False):
        view = draw_view(available, frames=frames, resize=resize, size=size, random=random)
        assert view.start >= 0 and view.start + frames <= available
        assert view.crop(torch.zeros(2, resize, resize)).shape == (2, size, size)


@pytest.mark.parametrize("wrong", [{"frames": 5}, {"size": 7}])
def test_a_view_of_more_than_there_is_is_refused(wrong):
    with pytest.raises(ValueError, match="at least as many, got 4 and 6"):
        draw_view(4, **{"frames": 2, "size": 3, "resize": 6, "random": False} | wrong)


def test_frames_are_squeezed_to_a_square_and_left_alone_if_they_are_one():
    frames = torch.arange(2 * 3 * 4 * 8).view(2, 3, 4, 8).to(torch.uint8)
    assert video.resize_frames(frames, 4).shape == (2, 3, 4, 4)
    square = frames[..., :4]
    assert video.resize_frames(square, 4) is square
    flat = torch.full((1, 1, 5, 3), 77, dtype=torch.uint8)
    assert (video.resize_frames(flat, 9) == 77).all()


def test_resized_flow_has_its_vectors_in_the_new_pixels():
    flow = torch.tensor([3.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 96, 128)
    resized = video.resize_flow(flow, 256)
    assert resized.shape == (1, 2, 256, 256)
    torch.testing.assert_close(resized[0, 0], torch.full((256, 256), 6.0))  # 256 / 128 = 2
    torch.testing.assert_close(resized[0, 1], torch.full((256, 256), 2.0 * 256 / 96))
    assert video.resize_flow(resized, 256) is resized


def test_flow_scales_as_frames_do():
    # Flow between resized frames is the resized flow between frames.
    canvas = smooth_texture(140, 140)
    frames = np.stack([canvas[20 - 2 * t :, 20 - 4 * t :][:96, :64] for t in range(2)])
    small = video.resize_frames(torch.from_numpy(frames)[:, None], 64)[:, 0].numpy()
    direct = torch.from_numpy(video.optical_flow(small))
    scaled = video.resize_flow(torch.from_numpy(video.optical_flow(frames)), 64)
    for channel, expected in ((0, 4.0), (1, 2.0 * 64 / 96)):
        assert direct[0, channel].median() == pytest.approx(expected, abs=0.1)
        assert scaled[0, channel].median() == pytest.approx(expected, abs=0.1)


def test_rgb_scaling_by_hand():
    frames = torch.tensor([255, 0, 51], dtype=torch.uint8).view(3, 1, 1, 1)
    assert video.scale_rgb(frames, "i3d").flatten().tolist() == pytest.approx([1.0, -1.0, -0.6])
    # Blue comes first, with red's statistics.
    expected = [(0.2 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert video.scale_rgb(frames, "bgr_imagenet").flatten().tolist() == pytest.approx(expected)


def test_flow_scaling_by_hand():
    flow = [0.0, 5.0, -20.0, 30.0]
    assert video.scale_flow(torch.tensor(flow), "unit").tolist() == [0.0, 0.25, -1.0, 1.0]
    assert video.scale_flow(torch.tensor(flow), "pixels").tolist() == flow
