import io
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest
import soundfile
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bss.data import file_heads
from bss.data.transforms import audio, image
from bss.data.transforms.audio import fit_length, read_audio, read_waveform
from bss.models.frontends import LogSpectrogram, Spectrogram
from bss.utils.errors import DataError

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
RATE = 8000


def sine(samples=400, rate=RATE, frequency=500):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)).astype(np.float32)


# ------------------------------------------------------------------------------------------------ fit_length


def test_a_short_clip_is_repeated_whole_and_cut():
    assert fit_length(np.array([1, 2, 3]), 7).tolist() == [1, 2, 3, 1, 2, 3, 1]


def test_a_long_clip_is_cut():
    assert fit_length(np.array([1, 2, 3]), 2).tolist() == [1, 2]


def test_the_last_axis_of_a_spectrogram_is_repeated():
    assert fit_length(np.array([[1, 2], [3, 4]]), 3).tolist() == [[1, 2, 1], [3, 4, 3]]


@given(length=st.integers(1, 200), samples=st.integers(1, 200))
def test_any_clip_gets_exactly_the_length_and_starts_as_it_did(length, samples):
    fitted = fit_length(np.arange(samples), length)
    assert fitted.tolist() == [i % samples for i in range(length)]


def test_there_is_nothing_to_repeat_in_an_empty_clip():
    with pytest.raises(ValueError, match=r"nothing to repeat in an array of shape \(2, 0\)"):
        fit_length(np.zeros((2, 0)), 5)
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        fit_length(np.zeros(3), 0)


# --------------------------------------------------------------------------------------------- read_waveform


@pytest.mark.parametrize("suffix, tolerance", [(".wav", 2**-15), (".flac", 2**-15), (".ogg", 0.1)])
def test_a_sound_file_comes_back_as_float32(tmp_path, suffix, tolerance):
    path = tmp_path / f"clip{suffix}"
    soundfile.write(path, sine(4000), RATE)
    waveform = read_waveform(path, RATE)
    assert waveform.dtype == np.float32 and waveform.shape == (4000,)
    assert np.abs(waveform - sine(4000)).max() <= tolerance


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.array([[0.5, 0.25], [-0.5, 0.5]]), RATE)
    assert read_waveform(path, RATE).tolist() == [0.375, 0.0]


@pytest.mark.parametrize("noise", [0.0, 0.01], ids=["exactly", "after a codec"])
@pytest.mark.parametrize("suffix", [".wav", ".npy"])
def test_of_channels_that_cancel_one_another_the_loudest_is_taken(tmp_path, suffix, noise):
    residue = noise * np.random.default_rng(0).standard_normal(4000)
    rows = np.stack([0.5 * sine(4000), residue - 0.6 * sine(4000)]).astype(np.float32)
    path = tmp_path / f"clip{suffix}"
    np.save(path, rows) if suffix == ".npy" else soundfile.write(path, rows.T, RATE, subtype="FLOAT")
    assert np.array_equal(read_audio(path, RATE), rows[1])


@pytest.mark.parametrize(
    "channels",
    [
        lambda a, b: [a],
        lambda a, b: [a, 0 * a],
        lambda a, b: [a, b],
        lambda a, b: [0 * a, 0 * a, a, 0 * a, 0 * a, 0 * a],  # 5.1 with speech in the centre
        lambda a, b: [a, -0.5 * a],
        lambda a, b: [0 * a, 0 * a],
        lambda a, b: [a[:0], b[:0]],
    ],
    ids=["mono", "one silent", "independent", "surround", "half cancelled", "silence", "nothing"],
)
def test_of_all_other_channels_the_mean_is_taken(channels):
    noise = np.random.default_rng(0).standard_normal((2, 2000)).astype(np.float32)
    stacked = np.stack(channels(*noise))
    assert np.array_equal(audio.mono(stacked), stacked.mean(axis=0))


def test_samples_beyond_one_are_clipped(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.array([1.5, -1.5, 0.5]), RATE, subtype="FLOAT")
    assert read_waveform(path, RATE).tolist() == [1.0, -1.0, 0.5]


def test_another_rate_is_resampled(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, sine(4000, rate=8000), 8000, subtype="FLOAT")
    waveform = read_waveform(path, 16000)
    assert waveform.shape == (8000,) and waveform.dtype == np.float32
    middle = slice(1000, 7000)  # the filter rings at the ends
    assert np.abs(waveform - sine(8000, rate=16000))[middle].max() < 1e-3


def bad_waves():
    good = io.BytesIO()
    soundfile.write(good, sine(), RATE, format="WAV")
    good = good.getvalue()
    at = good.index(b"data") + 4
    empty = io.BytesIO()
    soundfile.write(empty, np.zeros(0), RATE, format="WAV")
    nan = io.BytesIO()
    soundfile.write(nan, np.array([0, np.nan, np.inf]), RATE, format="WAV", subtype="FLOAT")
    loud = io.BytesIO()
    soundfile.write(loud, np.array([0, 12000.0]), RATE, format="WAV", subtype="FLOAT")
    return {
        "pointer": (LFS, "Git-LFS pointer, .*git lfs pull.*gitlab"),
        "empty": (b"", "an empty file"),
        "no samples": (empty.getvalue(), "a wav file with zero samples"),
        "a length of zero": (good[:at] + bytes(4) + good[at + 4 :], "zero samples by its header, though 800 bytes"),
        "html": (b"<!DOCTYPE html>", "not a wav file"),
        "avi": (b"RIFF\x00\x10\x00\x00AVI LIST", "not a wav file"),
        "header only": (good[:20], "a truncated wav file .it ends before the samples"),
        "truncated": (good[:-100], "a truncated wav file \\(700 of 800 bytes"),
        "not finite": (nan.getvalue(), "2 samples are not finite, the first is number 1"),
        "out of range": (loud.getvalue(), "samples reach 12000, far outside"),
    }


@pytest.mark.parametrize("kind", bad_waves())
def test_a_bad_wav_is_a_data_error_that_names_the_file(tmp_path, kind):
    content, words = bad_waves()[kind]
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"clip\.wav: .*{words}"):
        read_waveform(path, RATE)


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_a_wav_whose_header_says_zero_holds_nothing_whatever_follows(endian):
    buffer = io.BytesIO()
    soundfile.write(buffer, sine(), RATE, format="WAV", endian=endian)
    head = buffer.getvalue()
    assert file_heads.absence(head, len(head)) is None
    at = head.index(b"data") + 4
    assert "zero samples" in file_heads.absence(head[:at] + bytes(4) + head[at + 4 :], len(head))


def test_a_wav_that_was_written_into_a_pipe_is_whole(tmp_path):
    buffer = io.BytesIO()
    soundfile.write(buffer, sine(), RATE, format="WAV")
    data = bytearray(buffer.getvalue())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    assert read_waveform(path, RATE).shape == (400,)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none\.wav: cannot be read: No such file"):
        read_waveform(tmp_path / "none.wav", RATE)


# ------------------------------------------------------------------------------------------------ read_audio


def save(path, content):
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content, 4))
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        to_tensor = {True: torch.from_numpy, False: lambda x: x}
        is_dict = isinstance(content, dict)
        tensors = {k: to_tensor[isinstance(v, np.ndarray)](v) for k, v in content.items()} if is_dict else None
        torch.save(tensors if is_dict else torch.from_numpy(content), path)
    return path


@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".pt"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "i4"])
def test_stored_waveforms_of_every_kind_agree(tmp_path, suffix, dtype):
    scale = {"i2": 2**15, "i4": 2**31}.get(dtype, 1)
    stored = (np.array([0, 0.5, -1, 0.25]) * scale).astype(dtype)
    waveform = read_audio(save(tmp_path / f"clip{suffix}", stored), RATE)
    assert waveform.dtype == np.float32 and waveform.tolist() == [0, 0.5, -1, 0.25]


@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".pt"])
def test_one_or_two_long_rows_are_channels(tmp_path, suffix):
    rows = np.stack([np.full(300, 0.5), np.full(300, 0.25)]).astype(np.float32)
    assert read_audio(save(tmp_path / f"two{suffix}", rows), RATE).tolist() == [0.375] * 300
    assert read_audio(save(tmp_path / f"one{suffix}", rows[:1]), RATE).tolist() == [0.5] * 300


@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".pt"])
def test_a_finished_spectrogram_comes_back_as_stored(tmp_path, suffix):
    spectrogram = np.linspace(-16, 4, 12).reshape(4, 3)
    loaded = read_audio(save(tmp_path / f"clip{suffix}", spectrogram), RATE)
    assert loaded.dtype == np.float32 and np.array_equal(loaded, spectrogram.astype(np.float32))


@pytest.mark.parametrize("suffix", [".pkl", ".pt"])
def test_a_dict_with_another_rate_is_resampled(tmp_path, suffix):
    path = save(tmp_path / f"clip{suffix}", {"waveform": sine(800, rate=16000), "sample_rate": 16000})
    assert read_audio(path, RATE).shape == (400,)
    assert np.array_equal(read_audio(path, 16000), sine(800, rate=16000))


def test_a_bfloat16_tensor_is_read(tmp_path):
    torch.save(torch.tensor([0.5, -0.25], dtype=torch.bfloat16), tmp_path / "clip.pt")
    assert read_audio(tmp_path / "clip.pt", RATE).tolist() == [0.5, -0.25]


@pytest.mark.parametrize(
    "content, words",
    [
        (np.zeros(0, np.float32), "zero samples"),
        (np.array([0, np.nan]), "1 samples are not finite"),
        (np.array([0.0, 30000.0]), "samples reach 30000"),
        (np.zeros(4, np.uint8), "a waveform of uint8"),
        (np.zeros(4, np.int64), "a waveform of int64"),
        (np.zeros(4, np.complex64), "a waveform of complex64"),
        (np.zeros(()), r"holds float64 of shape \(\)"),
        (np.zeros((2, 3, 4)), r"of shape \(2, 3, 4\)"),
        (np.zeros((500, 2)), r"of shape \(500, 2\)"),
        (np.zeros((2, 50)), r"of shape \(2, 50\)"),
        (np.zeros((4, 4), np.int16), r"holds int16 of shape \(4, 4\)"),
        (np.full((4, 4), np.inf), "values that are not finite"),
        ([0.5, 0.25], "holds a list"),
        ("text", "holds a str"),
        ({"audio": 1}, r"must have the keys waveform and sample_rate, has \['audio'\]"),
        ({"waveform": sine(), "sample_rate": 0}, "sample_rate must be a whole number"),
        ({"waveform": sine(), "sample_rate": "8 kHz"}, "sample_rate must be .*found 8 kHz"),
        ({"waveform": sine(), "sample_rate": 8000.5}, "sample_rate must be a whole number"),
        ({"waveform": np.zeros((4, 4)), "sample_rate": 8000}, r"of shape \(4, 4\)"),
    ],
)
def test_any_other_content_is_a_data_error_that_names_the_file(tmp_path, content, words):
    with pytest.raises(DataError, match=rf"clip\.pkl: .*{words}"):
        read_audio(save(tmp_path / "clip.pkl", content), RATE)


@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".pt", ".wav"])
@pytest.mark.parametrize("content, words", [(LFS, "Git-LFS pointer"), (b"", "an empty file"), (b"junk", "not a ")])
def test_a_damaged_file_of_every_kind_is_a_data_error(tmp_path, suffix, content, words):
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"clip{suffix}: .*{words}"):
        read_audio(path, RATE)


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_a_truncated_array_file_is_a_data_error(tmp_path, suffix):
    path = save(tmp_path / f"clip{suffix}", sine())
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=rf"clip{suffix}: not a readable {suffix[1:]} file"):
        read_audio(path, RATE)


def test_an_array_file_cannot_carry_code(tmp_path):
    np.save(tmp_path / "clip.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Object arrays cannot be loaded"):
        read_audio(tmp_path / "clip.npy", RATE)
    torch.save({"waveform": subprocess.Popen}, tmp_path / "clip.pt")
    with pytest.raises(DataError, match="not a readable pt file of tensors"):
        read_audio(tmp_path / "clip.pt", RATE)


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=r"clip\.mp3: unknown kind .* \.wav \.flac \.ogg \.pkl \.npy \.pt"):
        read_audio(tmp_path / "clip.mp3", RATE)


# -------------------------------------------------------------------------------------------- LogSpectrogram


def test_the_log_spectrogram_equals_librosas():
    import librosa

    rng = np.random.default_rng(0)
    noise = rng.standard_normal(3000).astype(np.float32)
    waveform = np.stack([0.3 * noise, sine(3000) + 1e-3 * noise])
    magnitude = np.abs(librosa.stft(waveform, n_fft=512, hop_length=353))
    ours = LogSpectrogram()(torch.from_numpy(waveform))
    error = np.abs(ours[:, 0].numpy() - np.log(magnitude + 1e-7))
    assert ours.shape == (2, 1, 257, 9) and ours.dtype == torch.float32
    # Below a thousandth of the peak the log shows float32 rounding, of either library.
    assert error[0].max() < 1e-4
    assert error[magnitude > 1e-3 * magnitude.max()].max() < 1e-4
    assert np.abs(ours[:, 0].exp().numpy() - 1e-7 - magnitude).max() < 1e-6 * magnitude.max()


@pytest.mark.parametrize("fault", [ImportError, OSError, RuntimeError])
def test_without_torchaudio_the_spectrogram_is_the_same(monkeypatch, fault):
    """It ends at 2.11 and refuses, by other errors, a PyTorch that it was not built for."""
    waveform = torch.from_numpy(np.stack([sine(3000), sine(3000, frequency=900)]))
    expected = LogSpectrogram()(waveform)

    class Refusing(types.ModuleType):
        def __getattr__(self, name):
            raise fault("another version")

    monkeypatch.setitem(sys.modules, "torchaudio", Refusing("torchaudio"))
    alone = LogSpectrogram()
    assert isinstance(alone.stft, Spectrogram)
    assert torch.equal(alone(waveform), expected)
    assert not alone.state_dict() and alone.to("meta").stft.window.device.type == "meta"


@pytest.mark.parametrize(("rate", "wanted", "samples"), [(16000, 22050, 1601), (44100, 22050, 999), (8000, 22050, 7)])
def test_resampling_equals_librosas(rate, wanted, samples):
    import librosa

    waveform = np.random.default_rng(rate).standard_normal(samples).astype(np.float32)
    expected = librosa.resample(waveform, orig_sr=rate, target_sr=wanted, res_type="soxr_hq")
    ours = audio.resample(waveform, rate, wanted)
    assert ours.dtype == np.float32
    assert np.array_equal(ours, expected)


def test_silence_is_the_log_of_the_floor():
    spectrogram = LogSpectrogram()(torch.zeros(1, 1000, dtype=torch.bfloat16))
    assert torch.allclose(spectrogram, torch.tensor(1e-7).log())


@given(samples=st.integers(1, 600), hop=st.integers(1, 100), n_fft=st.sampled_from([8, 16, 64]))
@settings(deadline=None, max_examples=40)
def test_there_are_n_fft_half_plus_one_bins_and_one_frame_more_than_hops(samples, hop, n_fft):
    spectrogram = LogSpectrogram(n_fft, hop)(torch.randn(2, samples))
    assert spectrogram.shape == (2, 1, n_fft // 2 + 1, 1 + samples // hop)
    assert spectrogram.isfinite().all()


def test_the_released_window_gives_the_released_shape():
    assert LogSpectrogram()(torch.zeros(1, 441_000)).shape == (1, 1, 257, 1250)


def test_a_finished_spectrogram_only_gets_the_channel_axis():
    spectrogram = torch.randn(2, 5, 7)
    assert torch.equal(LogSpectrogram()(spectrogram), spectrogram[:, None])
    with pytest.raises(ValueError, match=r"got \(5,\)"):
        LogSpectrogram()(torch.zeros(5))


def test_it_has_no_state_and_its_window_moves_with_it():
    module = LogSpectrogram()
    assert not module.state_dict() and not list(module.parameters())
    assert module.to("meta").stft.window.device.type == "meta"
    assert pickle.loads(pickle.dumps(LogSpectrogram()))(torch.zeros(1, 400)).shape == (1, 1, 257, 2)


def test_importing_the_transforms_imports_nothing_heavy():
    heavy = "{'librosa', 'soundfile', 'pandas', 'torchaudio', 'sklearn', 'torch', 'PIL'}"
    modules = "bss.data.transforms.audio, bss.data.transforms.image, bss.data.datasets.cremad"
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------------ read_frame


def encoded(mode, kind, size=(7, 5)):
    gradient = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    picture = Image.fromarray(gradient)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    rgb = Image.fromarray(gradient).convert("L").convert("RGB") if mode == "I;16" else picture.convert("RGB")
    if kind == "JPEG":
        rgb = Image.open(buffer).convert("RGB")
    return buffer.getvalue(), np.asarray(rgb)


@pytest.mark.parametrize(
    "mode, kind",
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG")]
    + [(mode, "PNG") for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "I;16")],
)
def test_every_kind_of_image_becomes_rgb_bytes(tmp_path, mode, kind):
    data, expected_HWC = encoded(mode, kind)
    (tmp_path / "frame.jpg").write_bytes(data)
    frame = image.read_frame(tmp_path / "frame.jpg")
    assert frame.dtype == torch.uint8 and frame.shape == (3, 5, 7)
    assert np.abs(frame.permute(1, 2, 0).numpy().astype(int) - expected_HWC.astype(int)).max() <= 2


@pytest.mark.parametrize(
    "content, words",
    [
        (LFS, "Git-LFS pointer"),
        (b"", "an empty file"),
        (b"GIF89a", "truncated or damaged"),
        (b"what is this", "neither a jpeg nor a png image, nor gif, webp, bmp or avif"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "an HTML page, not a picture: a download that failed"),
        (b"<!-- x --><HTML lang=en>", "an HTML page"),
        (b"<?xml version='1.0'?><!-- x --><svg xmlns=''>", "an svg drawing"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "an XML text, not a picture"),
        (b'{"error": 404}', "a json text, not a picture"),
        (b"II*\0", "a tiff picture: save it as"),
        (b"\0\0\0\x18ftypheic", "a heic picture: save it as"),
        (b"\0\0\0\x18ftypisom", "an mp4 video"),
        (b"%PDF-1.4", "a pdf file"),
        *((encoded("RGB", kind)[0][:-40], "truncated or damaged") for kind in ("GIF", "WEBP", "BMP", "AVIF")),
        (b"\xff\xd8\xff", "truncated or damaged"),
        (encoded("RGB", "JPEG")[0][:-40], "truncated or damaged"),
        (encoded("RGB", "JPEG")[0][:100], "truncated or damaged"),
        (encoded("RGB", "PNG")[0][:-30], "truncated or damaged"),
        (encoded("RGB", "PNG")[0][:30], "truncated or damaged"),
    ],
)
def test_a_bad_image_is_a_data_error_that_names_the_file(tmp_path, content, words):
    (tmp_path / "frame.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"frame\.png: .*{words}"):
        image.read_frame(tmp_path / "frame.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPG_large", ""])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [("GIF", "P"), ("GIF", "L"), ("WEBP", "RGB"), ("WEBP", "RGBA"), ("BMP", "RGB"), ("BMP", "P"), ("AVIF", "RGB")],
)
def test_other_formats_are_read_under_any_suffix(tmp_path, kind, mode, suffix):
    pixels = Image.new("RGB", (9, 6), (40, 160, 220)).convert(mode)
    path = tmp_path / f"picture{suffix}"
    pixels.save(path, format=kind)
    frame = image.read_frame(path)
    assert frame.shape == (3, 6, 9) and image.image_truncation(path) is None
    expected = np.array(pixels.convert("RGB").getpixel((4, 3)))
    assert np.abs(frame[:, 3, 4].numpy().astype(int) - expected).max() <= 8  # two of them are lossy


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "AVIF", "PNG"])
def test_of_a_picture_that_moves_the_first_is_taken(tmp_path, kind):
    first, *others = (Image.new("RGB", (8, 8), (level, level, level)) for level in (250, 10, 20))
    first.save(tmp_path / "moving.jpg", format=kind, save_all=True, append_images=others)
    assert image.read_frame(tmp_path / "moving.jpg").min() > 240


def test_a_pillow_without_avif_says_what_is_lacking(tmp_path, monkeypatch):
    from PIL import features

    Image.new("RGB", (4, 4)).save(tmp_path / "picture.jpg", format="AVIF")
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(image.CodecMissingError, match=r"picture\.jpg: an avif picture, .* pip install 'pillow>=11\.3'"):
        image.read_frame(tmp_path / "picture.jpg")
    with pytest.raises(image.CodecMissingError):  # no file is called damaged for that
        image.image_truncation(tmp_path / "picture.jpg")


def test_a_length_by_chance_is_no_end_of_a_picture(tmp_path):
    content, _ = encoded("RGB", "BMP")
    (tmp_path / "cut.jpg").write_bytes(content[:-60] + b"\xff\xd9IEND")
    assert image.image_truncation(tmp_path / "cut.jpg") == "a truncated or damaged image"


@pytest.mark.parametrize("side", [10_001, 13_500, 65_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, side, recwarn):
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"\0" * 100), b"IEND"]
    packed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    with pytest.raises(DataError, match=r"bomb\.png: an image of .*pixels"):
        image.read_frame(tmp_path / "bomb.png")
    assert not recwarn.list


def test_a_missing_frame_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none\.jpg: cannot be read"):
        image.read_frame(tmp_path / "none.jpg")


# ------------------------------------------------------------------------------------------------ transforms


def test_a_white_image_becomes_one_minus_mean_over_std():
    view = image.fixed_transform(4)(torch.full((3, 9, 6), 255, dtype=torch.uint8))
    assert view.shape == (3, 4, 4) and view.dtype == torch.float32
    expected = [(1 - mean) / std for mean, std in zip(image.IMAGENET_MEAN, image.IMAGENET_STD, strict=True)]
    assert torch.allclose(view, torch.tensor(expected)[:, None, None].expand(3, 4, 4))


def test_the_test_view_squeezes_and_does_not_crop():
    frame = torch.zeros(3, 4, 12, dtype=torch.uint8)
    frame[:, :, 6:] = 255
    view = image.fixed_transform(4)(frame)
    assert (view[..., :2] < 0).all() and (view[..., 2:] > 0).all()


def test_the_header_checks_know_what_they_look_at():
    assert file_heads.absence(b"", 0) and file_heads.absence(LFS, len(LFS)) and not file_heads.absence(b"RIFF", 4)
    assert file_heads.sound_damage(b"\x93NUMPY", 100, ".npy") is None
    assert image.image_damage(b"\xff\xd8\xff\xe0") is None
    jpeg = torchvision.io.encode_jpeg(torch.zeros(3, 2, 2, dtype=torch.uint8)).numpy().tobytes()
    assert image.image_damage(jpeg) is None
