import multiprocessing
import os
import shutil
import struct
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from bss.data.prepare import media
from bss.data.transforms.image import read_frame
from bss.utils.errors import BssError, DataError
from tests.data.videos import KINDS, copied, grey, tone, write_video

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "ks" / "samples"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
RATES = {".mp4": 44100, ".mkv": 16000, ".avi": 8000, ".flv": 44100, ".webm": 48000}
SECONDS = 2.5


def levels(path, longest=20.0):
    """Mean brightness of the pictures of a grey video."""
    return [picture.mean() for picture in media.read_pictures(path, longest=longest)]


def counts(*times):
    return list(media.picture_counts(Fraction(str(time)) for time in times))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """One video of each kind: 25 frames at 10 a second, frame i of brightness 5 * i; a tone of 440 Hz."""
    folder = tmp_path_factory.mktemp("videos")
    pictures = grey(range(0, 125, 5))
    return {
        kind: write_video(folder / f"clip{kind}", pictures, sound=tone(SECONDS, rate), rate=rate)
        for kind, rate in RATES.items()
    }


# ---- which frames --------------------------------------------------------------------------------------------------


def test_a_picture_is_the_first_frame_at_or_after_each_whole_second():
    assert counts(0, 0.5, 1.0, 1.5, 2.0, 2.5) == [1, 0, 1, 0, 1, 0]
    assert counts(0, 0.4, 0.8, 1.2, 1.6, 2.0) == [1, 0, 0, 1, 0, 1]


def test_a_clip_of_less_than_a_second_has_one_picture_and_a_single_frame_too():
    assert counts(0, 0.3, 0.6, 0.9) == [1, 0, 0, 0]
    assert counts(0) == [1]
    assert counts() == []


def test_at_2997_frames_a_second_the_frame_just_after_the_second_is_taken():
    times = [Fraction(1001 * i, 30000) for i in range(62)]
    assert [i for i, count in enumerate(media.picture_counts(times)) if count] == [0, 30, 60]


def test_a_frame_after_a_gap_stands_for_the_seconds_without_one():
    assert counts(0, 0.4, 3.2, 3.5) == [1, 0, 3, 0]


def test_seconds_are_counted_from_the_first_frame_and_time_does_not_run_backwards():
    assert counts(7.25, 7.75, 8.25, 8.75) == [1, 0, 1, 0]
    assert counts(0, 2.5, 0.5, 1.5, 3.0) == [1, 2, 0, 0, 1]


@given(st.lists(st.integers(0, 6000), min_size=1, max_size=40).map(sorted))
def test_picture_k_is_the_first_frame_k_seconds_after_the_first(milliseconds):
    times = [Fraction(t, 1000) for t in milliseconds]
    pictures = [i for i, count in enumerate(media.picture_counts(times)) for _ in range(count)]
    assert len(pictures) == (times[-1] - times[0]) // 1 + 1
    for k, chosen in enumerate(pictures):
        assert chosen == next(i for i, time in enumerate(times) if time - times[0] >= k)


# ---- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_every_container_are_those_of_0_1_and_2_seconds(videos, kind):
    assert levels(videos[kind]) == pytest.approx([0, 50, 100], abs=3)


def test_a_variable_frame_rate_goes_by_time_stamps(tmp_path):
    path = write_video(tmp_path / "v.mkv", grey([0, 50, 100, 150]), times=[0, 0.4, 3.2, 3.5])
    assert levels(path) == pytest.approx([0, 100, 100, 100], abs=3)


def test_odd_sizes_and_colours_come_out_as_they_went_in(tmp_path):
    picture = np.zeros((37, 51, 3), np.uint8)
    picture[:, :25] = (250, 10, 10)
    picture[:, 25:] = (10, 10, 250)
    (decoded,) = media.read_pictures(write_video(tmp_path / "v.avi", [picture]), longest=20)
    assert decoded.shape == (37, 51, 3) and decoded.dtype == np.uint8
    left, right = decoded[18, 5].astype(int), decoded[18, 45].astype(int)
    assert left == pytest.approx([250, 10, 10], abs=25) and right == pytest.approx([10, 10, 250], abs=25)


def turned(path, matrix):
    """The mp4 with another display matrix in its track header: what phones write instead of turning the pixels."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    assert struct.unpack_from(">6i", content, at) == (65536, 0, 0, 0, 65536, 0)
    struct.pack_into(">6i", content, at, *matrix)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("matrix", "bright"),
    [
        ((0, 65536, 0, -65536, 0, 0), (0, -1)),  # a quarter turn clockwise: the left top goes to the right top
        ((-65536, 0, 0, 0, -65536, 0), (-1, -1)),  # half a turn
        ((0, -65536, 0, 65536, 0, 0), (-1, 0)),  # a quarter turn counterclockwise
    ],
)
def test_a_video_that_says_how_to_hold_it_is_turned_upright(tmp_path, matrix, bright):
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:16, :32] = 255
    path = turned(write_video(tmp_path / "v.mp4", [picture]), matrix)
    (decoded,) = media.read_pictures(path, longest=20)
    assert decoded.shape == ((32, 64, 3) if matrix[0] else (64, 32, 3))
    corners = {(y, x): decoded[y, x].mean() > 128 for y in (0, -1) for x in (0, -1)}
    assert [corner for corner, is_bright in corners.items() if is_bright] == [bright]


def test_pictures_are_written_as_jpegs_counted_from_1_and_kept(videos, tmp_path):
    job = media.FrameJob(videos[".mkv"], tmp_path / "out" / "clip", 20.0)
    assert media.write_pictures(job) is True
    assert sorted(os.listdir(job.target)) == ["00001.jpg", "00002.jpg", "00003.jpg"]
    assert read_frame(job.target / "00003.jpg").float().mean() == pytest.approx(100, abs=3)
    assert os.listdir(job.target.parent) == ["clip"]
    assert media.write_pictures(job) is False
    for damage in (lambda path: path.write_bytes(path.read_bytes()[:-20]), lambda path: path.write_bytes(b"")):
        damage(job.target / "00002.jpg")
        damaged = (job.target / "00002.jpg").read_bytes()
        with pytest.raises(DataError, match=r"clip is there already and holds something else than whole pictures"):
            media.write_pictures(job)
        assert (job.target / "00002.jpg").read_bytes() == damaged
        assert media.write_pictures(job._replace(force=True)) is True
        assert read_frame(job.target / "00002.jpg").float().mean() == pytest.approx(50, abs=3)
    notes = tmp_path / "notes"
    notes.mkdir()
    assert media.write_pictures(job._replace(target=notes)) is True  # it was empty
    shutil.rmtree(notes)
    notes.write_text("mine")
    with pytest.raises(DataError, match="--force replaces it"):
        media.write_pictures(job._replace(target=notes))


def test_a_video_that_fails_in_the_middle_leaves_no_pictures(videos, tmp_path, monkeypatch):
    job = media.FrameJob(videos[".mkv"], tmp_path / "out" / "clip", 20.0)
    pictures = list(media.read_pictures(job.source, longest=20))

    def breaking(path, longest):
        yield pictures[0]
        raise DataError("broken")

    monkeypatch.setattr(media, "read_pictures", breaking)
    with pytest.raises(DataError, match="broken"):
        media.write_pictures(job)
    assert os.listdir(job.target.parent) == []


# ---- sound ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_sound_of_every_container_has_its_rate_length_and_pitch(videos, kind):
    waveform, rate = media.read_sound(videos[kind], longest=20)
    assert rate == RATES[kind] and waveform.dtype == np.float32
    assert len(waveform) == pytest.approx(SECONDS * rate, abs=2048)  # AAC comes in blocks of 1024
    pitch = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))).argmax() * rate / len(waveform)
    assert pitch == pytest.approx(440, abs=1)
    assert waveform[rate : 2 * rate].std() == pytest.approx(0.5 / 2**0.5, abs=0.02)


def _reads_in_silence(path):
    """End with status 0 if the pictures of a video are read; in a process of its own, which may wait for ever."""
    os._exit(0 if len(list(media.read_pictures(path, longest=20))) == 3 else 1)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no process begins as a copy here")
def test_a_copy_of_a_process_that_has_read_pictures_reads_pictures(videos):
    """PyAV 19.0.2: the copy waited without end for threads that only the first process has."""
    path = videos[".mp4"]
    for _ in range(2):
        assert len(list(media.read_pictures(path, longest=20))) == 3
    with av.open(str(path)) as container:  # as a user's own code may have done before
        next(container.decode(video=0)).to_ndarray(format="rgb24")
    copy = multiprocessing.get_context("fork").Process(target=_reads_in_silence, args=(path,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads in a process that is copied
        copy.start()
    copy.join(60)
    if copy.exitcode is None:
        copy.kill()
    assert copy.exitcode == 0


def test_sixteen_bit_sound_goes_through_unchanged(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, 4000).astype(np.int16)
    path = write_video(tmp_path / "v.mkv", grey([0]), sound=(samples / 32768).astype(np.float32)[None], rate=8000)
    with av.open(str(path)) as container:  # what the encoder made of it
        stored = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    job = media.SoundJob(path, tmp_path / "out.wav", 20.0)
    assert media.write_sound(job) is True
    written, rate = soundfile.read(job.target, dtype="int16")
    assert rate == 8000 and np.array_equal(written, stored)
    assert soundfile.info(job.target).subtype == "PCM_16" and media.write_sound(job) is False


@pytest.mark.parametrize(
    "kind, codec, delay", [(".flv", "libmp3lame", 1105), (".avi", "libmp3lame", 1105), (".mkv", "libmp3lame", 0)]
)
def test_sound_is_late_by_the_encoders_delay_where_the_container_does_not_tell_it(tmp_path, kind, codec, delay):
    rate = 44100
    given = np.zeros((1, rate), np.float32)
    given[0, 20000:24410] = np.hanning(4410) * tone(0.1, rate)[0]
    path = write_video(tmp_path / f"v{kind}", sound=given, rate=rate, codecs=(None, None, codec))
    waveform, _ = media.read_sound(path, longest=20)
    middle = np.average(np.arange(len(waveform)), weights=np.square(waveform))
    assert middle - (20000 + 2205) == pytest.approx(delay, abs=2)


@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_u8", "pcm_s32le", "flac"])
def test_channels_are_averaged_whatever_the_sample_format(tmp_path, codec):
    stereo = np.stack([np.full(4000, 0.5), np.full(4000, -0.25)]).astype(np.float32)
    codecs = ("mjpeg", "yuvj444p", codec)
    path = write_video(tmp_path / "v.mkv", grey([0]), sound=stereo, rate=8000, codecs=codecs)
    waveform, rate = media.read_sound(path, longest=20)
    assert waveform.shape == (4000,) and rate == 8000
    assert waveform == pytest.approx(np.full(4000, 0.125), abs=0.01)


@pytest.mark.parametrize("suffix, codec", [(".mkv", "pcm_s16le"), (".mp4", "aac")])
def test_a_right_channel_that_is_minus_the_left_does_not_become_silence(tmp_path, suffix, codec):
    left = tone(1, 16000)
    codecs = ("mjpeg", "yuvj444p", codec)
    stereo = np.concatenate([left, -left])
    path = write_video(tmp_path / f"v{suffix}", grey([0]), sound=stereo, rate=16000, codecs=codecs)
    waveform, _ = media.read_sound(path, longest=20)
    assert np.sqrt(np.mean(waveform**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_sound_is_resampled_where_a_rate_is_given_and_a_wav_of_another_rate_kept_and_named(videos, tmp_path):
    target = tmp_path / "out.wav"
    assert media.write_sound(media.SoundJob(videos[".mkv"], target, 20.0)) is True
    assert soundfile.info(target).samplerate == 16000
    job = media.SoundJob(videos[".mkv"], target, 20.0, 12000)
    before = target.read_bytes()
    assert media.write_sound(job) == f"{target}: a wav of 16000 Hz" and target.read_bytes() == before
    job = job._replace(force=True)
    assert [media.write_sound(job), media.write_sound(job)] == [True, False]
    samples, rate = soundfile.read(target)
    assert rate == 12000 and len(samples) == SECONDS * 12000
    assert np.abs(np.fft.rfft(samples)).argmax() / SECONDS == pytest.approx(440, abs=0.5)


def test_a_wav_that_holds_nothing_is_written_anew_and_a_damaged_one_where_it_is_forced(videos, tmp_path):
    job = media.SoundJob(videos[".mkv"], tmp_path / "out.wav", 20.0)
    media.write_sound(job)
    whole = job.target.read_bytes()
    for damaged in (whole[:1000], whole[:44], b"a text"):
        job.target.write_bytes(damaged)
        with pytest.raises(DataError, match=r"out.wav is there already and is damaged; it stays"):
            media.write_sound(job)
        assert job.target.read_bytes() == damaged
        assert media.write_sound(job._replace(force=True)) is True and job.target.read_bytes() == whole
    for nothing in (b"", LFS):
        job.target.write_bytes(nothing)
        assert media.write_sound(job) is True and job.target.read_bytes() == whole


# ---- bad input -----------------------------------------------------------------------------------------------------


def both(path):
    return (lambda: list(media.read_pictures(path, longest=20)), lambda: media.read_sound(path, longest=20))


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_container_is_an_error_with_its_name_and_nothing_on_the_terminal(videos, kind, tmp_path, capfd):
    path = tmp_path / f"cut{kind}"
    whole = videos[kind].read_bytes()
    for share in (0.01, 0.3, 0.6):
        path.write_bytes(whole[: int(len(whole) * share)])
        for read in both(path):
            with pytest.raises(DataError, match=f"cut{kind}: "):
                read()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (LFS, "Git-LFS pointer"),
        (b" \n<HTML>not found</html>" * 50, "no video, but an HTML page"),
        (b"#EXTM3U\n#EXTINF:10,\nother.ts\n", "no video, but a playlist"),
        (b"\0\0\0\x1cftypavif" + bytes(100), r"no video, but a picture \(AVIF\)"),
        (bytes(5000), "cannot be decoded"),
        (np.random.default_rng(0).bytes(5000), "cannot be decoded"),
        (b"RIFF\xff\xff\x00\x00AVI LIST", r"truncated \(16 of 65,535 bytes\)"),
    ],
)
def test_what_is_no_video_is_an_error_with_its_name(tmp_path, content, message):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    for read in both(path):
        with pytest.raises(DataError, match=f"x.mp4: .*{message}"):
            read()


def test_a_folder_and_a_missing_file_are_errors(tmp_path):
    (tmp_path / "x.mp4").mkdir()
    for name in ("x.mp4", "none.mp4"):
        for read in both(tmp_path / name):
            with pytest.raises(DataError, match=f"{name}: cannot be read"):
                read()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes among files")
def test_a_pipe_is_not_waited_for_and_a_file_without_permission_is_named(tmp_path, videos):
    os.mkfifo(tmp_path / "x.mp4")
    shutil.copy(videos[".mp4"], tmp_path / "y.mp4")
    (tmp_path / "y.mp4").chmod(0)
    for read in both(tmp_path / "x.mp4"):
        with pytest.raises(DataError, match=r"x\.mp4: not a regular file"):
            read()
    if not os.access(tmp_path / "y.mp4", os.R_OK):  # the superuser may
        for read in both(tmp_path / "y.mp4"):
            with pytest.raises(DataError, match=r"y\.mp4: cannot be read: Permission denied"):
                read()


def recoded(path, target, before, after):
    """The video with another name of its codec."""
    content = path.read_bytes()
    assert before in content
    target.write_bytes(content.replace(before, after))
    return target


@pytest.mark.parametrize(
    "kind, before, after, said",
    [
        (".mkv", b"V_MJPEG", b"V_ZJPEG", "its pictures are coded as V_ZJPEG, which FFmpeg has no decoder for"),
        (".mkv", b"A_PCM/INT", b"A_ZCM/INT", "its sound is coded as A_ZCM/INT/LIT, which FFmpeg has no"),
        (".avi", b"MJPG", b"ZZZ9", "its pictures are coded as ZZZ9, which FFmpeg has no decoder for"),
        (".mov", b"jpeg", b"drmi", r"its pictures are encrypted (drmi); a copy that can be played without a key"),
    ],
)
def test_a_codec_that_ffmpeg_lacks_is_named(videos, tmp_path, capfd, kind, before, after, said):
    source = videos[kind] if kind in videos else tmp_path / f"y{kind}"
    if kind not in videos:
        write_video(source, grey([0, 0]), sound=tone(1, 8000), rate=8000, codecs=("mjpeg", "yuvj420p", "pcm_s16le"))
    path = recoded(source, tmp_path / f"x{kind}", before, after)
    raised, level = [], av.logging.get_level()  # torchvision 0.21 sets one
    for read in both(path):
        try:
            read()
        except DataError as error:
            raised.append(str(error))
    assert len(raised) == 1 and raised[0].startswith(f"{path}: {said}")
    assert av.logging.get_level() == level and capfd.readouterr() == ("", "")


def test_an_encrypted_video_a_picture_and_what_has_no_streams_are_named(tmp_path):
    from PIL import Image

    clear = write_video(tmp_path / "clear.mp4", sound=tone(1, 44100), rate=44100)
    keys = {"encryption_key": "0f" * 16, "encryption_kid": "a0" * 16}
    copied(clear, tmp_path / "secret.mp4", options={"encryption_scheme": "cenc-aes-ctr", **keys})
    pictures = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
    for kind in pictures:
        Image.new("RGB", (32, 32)).save(tmp_path / f"{kind.lower()}.mp4", kind)
    with av.open(str(tmp_path / "bare.mp4"), "w", format="mpegts") as container:
        stream = container.add_data_stream()
        for number in range(50):
            packet = av.Packet(b"no video" * 20)
            packet.stream, packet.time_base = stream, Fraction(1, 90000)
            packet.pts = packet.dts = 9000 * number
            container.mux_one(packet)
    said = {kind.lower(): rf"no video, but a picture \({kind}\)" for kind in pictures}
    said |= {"secret": "is encrypted", "bare": "has no stream of pictures or sound"}
    for name, words in said.items():
        for read in both(tmp_path / f"{name}.mp4"):
            with pytest.raises(DataError, match=rf"{name}\.mp4: {words}"):
                read()


def test_whatever_a_decoder_raises_is_one_file_that_failed(videos, monkeypatch):
    def broken(container):
        raise AttributeError("'NoneType' object has no attribute 'thread_count'\nand more")

    monkeypatch.setattr(media.containers, "extent", broken)
    with pytest.raises(DataError, match=r"clip\.mp4: its decoder failed \(AttributeError: .* 'thread_count'\)$"):
        levels(videos[".mp4"])


def test_sound_without_pictures_and_pictures_without_sound_are_named(tmp_path):
    silent = write_video(tmp_path / "silent.mp4", grey([0, 0]))
    blind = write_video(tmp_path / "blind.mkv", sound=tone(1, 8000), rate=8000)
    assert levels(silent) == [0] and len(media.read_sound(blind, longest=20)[0]) == 8000
    with pytest.raises(DataError, match=r"silent.mp4: has no sound"):
        media.read_sound(silent, longest=20)
    with pytest.raises(DataError, match=r"blind.mkv: has no video stream"):
        list(media.read_pictures(blind, longest=20))


def test_a_video_stream_of_zero_frames_is_named(tmp_path):
    path = tmp_path / "zero.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj444p"
        container.start_encoding()
    with pytest.raises(DataError, match=r"zero.mkv: (zero frames|cannot be decoded)"):
        list(media.read_pictures(path, longest=20))


def test_a_damaged_packet_in_the_middle_is_an_error_or_does_not_change_the_number_of_pictures(videos, tmp_path):
    content = bytearray(videos[".mkv"].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    path = tmp_path / "damaged.mkv"
    path.write_bytes(content)
    try:
        assert len(list(media.read_pictures(path, longest=20))) == 3
    except DataError as error:
        assert "damaged.mkv: " in str(error)


def test_a_video_that_was_never_cut_to_its_clip_is_refused(videos):
    for read in (
        lambda: list(media.read_pictures(videos[".mp4"], longest=2.0)),
        lambda: media.read_sound(videos[".mp4"], longest=2.0),
    ):
        with pytest.raises(DataError, match=r"clip.mp4: lasts 2.5 s, .* 2 s at most: cut it first"):
            read()


def test_the_longest_stream_is_the_length_of_a_video_wherever_the_others_begin(tmp_path):
    path = write_video(tmp_path / "v.mkv", grey([0, 50, 100]), times=[30, 30.5, 31], sound=tone(1, 8000), rate=8000)
    assert levels(path, longest=2.0) == pytest.approx([0, 100], abs=3)
    with pytest.raises(DataError, match=r"lasts 1\.\d s, but"):
        levels(path, longest=0.9)


def test_names_that_ffmpeg_would_take_for_a_protocol_or_a_pattern_are_read(videos, tmp_path):
    for name in ("concat:a|b.mp4", "clip%03d.mp4", "-x y'é.mp4"):
        path = tmp_path / name
        path.write_bytes(videos[".mp4"].read_bytes())
        assert len(levels(path)) == 3


def test_without_pyav_the_error_says_what_to_install(videos, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    for read in both(videos[".mp4"]):
        with pytest.raises(BssError, match=r"bss-multimodal\[video\]"):
            read()


def test_pictures_of_too_many_pixels_are_refused_before_they_are_decoded(videos, monkeypatch):
    monkeypatch.setattr(media, "MAX_PIXELS", 32 * 48 - 1)
    with pytest.raises(DataError, match=r"clip.mp4: pictures of 48 x 32 pixels; at most 1535 are decoded"):
        levels(videos[".mp4"])


def test_videos_are_found_at_any_depth_without_hidden_ones(tmp_path):
    for name in ("a.MP4", "b/a.mkv", "b/c/d.webm", ".hidden/e.mp4", "b/.f.mp4", "b/g.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = {
        key: [str(path.relative_to(tmp_path)) for path in paths] for key, paths in media.find_videos(tmp_path).items()
    }
    assert found == {"a": ["a.MP4", "b/a.mkv"], "d": ["b/c/d.webm"]}


def test_a_folder_of_a_videos_name_stands_for_it_where_there_is_no_file(tmp_path):
    for name in ("a.mp4/a.mp4", "b.mp4/1.jpg", "c.mkv/1.jpg", "c.avi"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = {
        key: [path.relative_to(tmp_path).as_posix() for path in paths]
        for key, paths in media.find_videos(tmp_path).items()
    }
    assert found == {"a": ["a.mp4/a.mp4"], "b": ["b.mp4"], "c": ["c.avi"]}


# ---- two real clips ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the real clips are not here")
@pytest.mark.parametrize(
    ("name", "pictures", "size", "samples", "rate"),
    [
        ("flipping_a_pancake.mkv", 11, (240, 426), 497651, 48000),  # h264 of 10.3 s at 30 a second, opus
        ("bento.mp4", 2, (568, 320), 44032, 44100),  # h264, the last frame at 1.0 s; aac
    ],
)
def test_real_clips_give_the_pictures_and_sound_that_they_have(tmp_path, name, pictures, size, samples, rate):
    job = media.FrameJob(SAMPLES / name, tmp_path / "frames", 20.0)
    media.write_pictures(job)
    assert sorted(os.listdir(job.target)) == [f"{number:05d}.jpg" for number in range(1, pictures + 1)]
    decoded = [read_frame(path).float() for path in sorted(job.target.iterdir())]
    assert {picture.shape[1:] for picture in decoded} == {size}
    assert all(picture.std() > 20 for picture in decoded)
    media.write_sound(media.SoundJob(SAMPLES / name, tmp_path / "own.wav", 20.0))
    media.write_sound(media.SoundJob(SAMPLES / name, tmp_path / "ks.wav", 20.0, 35400))
    own, resampled = soundfile.info(tmp_path / "own.wav"), soundfile.info(tmp_path / "ks.wav")
    assert (own.frames, own.samplerate, own.channels) == (samples, rate, 1)
    assert (resampled.frames, resampled.samplerate) == (-(-samples * 35400 // rate), 35400)
    assert 0.01 < np.abs(soundfile.read(tmp_path / "own.wav")[0]).max() <= 1
