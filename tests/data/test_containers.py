"""Whole and cut-off videos of every container: what their boxes claim, and that all who judge a length say the same."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss.data.datasets.listing import head_problem
from bss.data.doctor.media import Job, look
from bss.data.prepare import media
from bss.data.transforms import containers, video
from bss.utils.errors import DataError
from tests.data.videos import copied, grey, tone, write_video

CASES = Path(__file__).parents[3] / "shared" / "cases" / "media"


# ---- by hand -------------------------------------------------------------------------------------------------------


def box(kind, content=b"", length=None):
    """A box of an mp4, of another length than it says if that is given."""
    return struct.pack(">I4s", len(content) + 8 if length is None else length, kind) + content


def element(ident, content=b"", length=None):
    """An element of Matroska whose length has a byte; 127 is none."""
    return bytes.fromhex(ident) + bytes([0x80 | (len(content) if length is None else length)]) + content


def chunk(kind, content=b"", length=None):
    return struct.pack("<4sI", kind, len(content) if length is None else length) + content


def tag(content, length=None):
    """A tag of an FLV with its length behind it."""
    return b"\x09" + (len(content) if length is None else length).to_bytes(3, "big") + bytes(7) + content + b"PREV"


FTYP = box(b"ftyp", b"isom")  # 12 bytes
EBML = element("1a45dfa3", b"webm")  # 9 bytes
FLV = b"FLV\x01\x05\0\0\0\x09" + bytes(4)  # 13 bytes
SEGMENT, CLUSTER, BLOCK = "18538067", "1f43b675", "a3"
UNKNOWN = 127
INDEX = b"\0" * 4 + struct.pack(">IIIIHH", 1, 1000, 0, 40, 0, 2)  # 40 bytes from its end on come two pieces
PIECES = struct.pack(">III", 100, 1, 0) + struct.pack(">III", 0x80000000 | 60, 1, 0)


@pytest.mark.parametrize(
    "content, claimed",
    [
        (FTYP + box(b"mdat", bytes(20)) + box(b"moov", b"x"), 12 + 28 + 9),
        (FTYP + box(b"moov") + box(b"mdat", bytes(20), length=1000), 12 + 8 + 1000),
        (FTYP + box(b"moov") + struct.pack(">I4sQ", 1, b"mdat", 5000), 20 + 5000),
        (FTYP + box(b"moov") + box(b"mdat", bytes(20), length=0), None),  # to the end
        (FTYP + box(b"moov", b"x") + box(b"free", b"x", length=50), 12 + 9),  # nothing is lost
        (FTYP + box(b"moov") + bytes(50), 20),  # padding behind it
        (FTYP + box(b"moov") + box(b"sidx", INDEX + PIECES) + bytes(20), 20 + 56 + 40 + 160),
        (FTYP + box(b"moov") + box(b"sidx", b"\0"), 29),  # a damaged index claims nothing
        (EBML + element(SEGMENT, bytes(30)), 9 + 35),
        (EBML + element(SEGMENT, bytes(30), length=90), 9 + 5 + 90),
        (EBML + element(SEGMENT, element("ec", b"ab") + element(CLUSTER, length=60), length=UNKNOWN), 14 + 4 + 5 + 60),
        (
            EBML + element(SEGMENT, element(CLUSTER, 2 * element(BLOCK, b"abc"), length=UNKNOWN), length=UNKNOWN),
            9 + 5 + 5 + 2 * 5,
        ),
        (chunk(b"RIFF", b"AVI LIST", length=100), 8 + 100 - 8),  # writers disagree about padding
        (chunk(b"RIFF", b"AVI " + chunk(b"JUNK", b"abc") + b"\0") + chunk(b"RIFF", b"AVIX", length=70), 24 + 78 - 8),
        (
            chunk(b"RIFF", b"AVI " + chunk(b"LIST", b"movi" + chunk(b"00dc", b"abc", length=40), 2**32 - 1), 2**32 - 1),
            12 + 12 + 48,
        ),
        (FLV + tag(b"abcde"), 13 + 11 + 5),
        (FLV + tag(b"abcde") + tag(b"abcde", length=300), 13 + 20 + 11 + 300),
        (FLV + tag(b"abcde")[:-4], 13 + 11 + 5),  # no length behind the last tag, as some writers leave it
        (FLV + tag(b"abcde") + b"\0\0\0", 13 + 11 + 5),
        ((b"G" + bytes(187)) * 5, 5 * 188),
        ((b"G" + bytes(187)) * 5 + b"G", 6 * 188),
        (b"RIFF\x20\0\0\0WAVEfmt ", None),
        (b"anything", None),
        (b"", None),
    ],
    ids=range(24),
)
def test_the_size_that_the_boxes_claim(tmp_path, content, claimed):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert containers.claimed_size(path) == claimed
    if claimed is not None:
        said = containers.truncation(path)
        short = len(content) < claimed
        assert said is None if not short else said.startswith(f"truncated ({len(content):,} of {claimed:,} bytes); ")


ZEROS = bytes(100)


@pytest.mark.parametrize(
    "content, start",
    [
        (EBML + element(SEGMENT, element(CLUSTER, element(BLOCK, b"abc") + ZEROS)), 9 + 5 + 5 + 5),
        (EBML + element(SEGMENT, element(CLUSTER, element(BLOCK, b"abc" + bytes(80)))), None),  # of a block
        (EBML + element(SEGMENT, element(BLOCK, b"abc")) + ZEROS, None),  # padding behind the segment
        (chunk(b"RIFF", b"AVI " + chunk(b"LIST", b"movi" + chunk(b"00dc", b"abcd") + ZEROS)), 12 + 12 + 12),
        (chunk(b"RIFF", b"AVI " + chunk(b"LIST", b"movi" + chunk(b"00dc", b"ab" + ZEROS))), None),
        (FLV + tag(b"abcde") + ZEROS, 13 + 20),
        (FLV + tag(b"abcde")[:-4] + b"\0\0\0\x10" + ZEROS, None),  # 16: the last tag is whole, and padding follows
        (FLV + tag(b"abc\0\0")[:-4] + ZEROS, 13 + 20),
        ((b"G" + bytes(187)) * 5 + 2 * bytes(188), 5 * 188),
        ((b"G" + bytes(187)) * 5, None),
    ],
    ids=range(10),
)
def test_zeros_in_place_of_the_end_are_no_video(tmp_path, content, start):
    path = tmp_path / "x"
    path.write_bytes(content)
    said = containers.truncation(path)
    assert said is None if start is None else said.startswith(f"truncated (zeros from byte {start:,} on); ")


HEADS = [FTYP, EBML, EBML + bytes.fromhex(SEGMENT + "ff"), b"RIFF\0\0\0\0AVI ", FLV, (b"G" + bytes(187)) * 4 + b"G"]


@given(
    head=st.sampled_from(HEADS),
    rest=st.lists(st.sampled_from([b"sidx", b"mdat", b"LIST", b"\0\0\0\1", b"\xff"]) | st.binary(max_size=9)).map(
        b"".join
    ),
)
def test_no_content_whatever_is_an_exception(head, rest, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "boxes"
    path.write_bytes(head + rest)
    assert isinstance(containers.claimed_size(path), int | None)


# ---- whole and cut -------------------------------------------------------------------------------------------------


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
CUT = 0.75
WAYS = {
    "plain.mp4": {},
    "front.mp4": {"options": {"movflags": "faststart"}},
    "late.mp4": {"shift": 50},
    "cut.mp4": {"cut": CUT},
    "fragments.mp4": {"options": FRAGMENTS},
    "fragments_late.mp4": {"options": FRAGMENTS, "shift": 50},
    "fragments_cut.mp4": {"options": FRAGMENTS, "cut": CUT},
    "dash_late.mp4": {"options": {"movflags": "dash+frag_keyframe"}, "shift": 50},
    "plain.mov": {},
    "plain.3gp": {},
    "plain.mkv": {},
    "late.mkv": {"shift": 50},
    "pipe.mkv": {"pipe": True},
    "live.mkv": {"options": {"live": "1"}},
    "plain.avi": {},
    "pipe.avi": {"pipe": True},
    "plain.flv": {},
    "late.flv": {"shift": 50},
    "unsaid.flv": {"options": {"flvflags": "no_duration_filesize"}},
    "pipe.flv": {"pipe": True},
    "plain.ts": {},
    "late.ts": {"shift": 50},
}
STREAMS = [(name, "both") for name in WAYS] + [
    (name, streams)
    for name in ("plain.mp4", "fragments.mp4", "plain.mkv", "plain.avi", "pipe.avi", "plain.flv", "plain.ts")
    for streams in ("sound", "pictures", "short sound")
]
FRAMES, SECONDS = 20, 2


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Clips of 2 s: (streams, codecs, suffix) -> path."""
    folder, made = tmp_path_factory.mktemp("sources"), {}
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 32, 32, 3)).astype(np.uint8)

    def source(streams, codecs, suffix):
        if (streams, codecs, suffix) not in made:
            rate = 44100
            made[streams, codecs, suffix] = write_video(
                folder / f"{len(made)}{suffix}",
                None if streams == "sound" else list(noise),
                sound=None if streams == "pictures" else tone(1 if streams == "short sound" else SECONDS, rate),
                rate=rate,
                codecs=codecs,
            )
        return made[streams, codecs, suffix]

    return source


def clip(sources, path, name, streams):
    codecs = ("mpeg4", "yuv420p", "libmp3lame" if name.endswith((".avi", ".flv")) else "aac")
    # NUT holds everything, but its times are too fine for an AVI, which would fill the gaps with empty frames.
    suffix = ".avi" if name.endswith(".avi") else ".nut"
    if name.endswith(".flv"):
        codecs = ("flv", *codecs[1:])
    if name.endswith(".ts"):
        codecs = ("mpeg2video", "yuv420p", "mp2")
    return copied(sources(streams, codecs, suffix), path, **WAYS[name])


@pytest.mark.parametrize("name, streams", STREAMS)
def test_a_whole_video_is_taken_and_one_that_was_cut_off_is_refused(sources, tmp_path, name, streams):
    path = clip(sources, tmp_path / name, name, streams)
    assert containers.truncation(path) is None
    if streams != "sound":
        assert list(media.read_pictures(path, longest=20))
    if streams != "pictures":
        samples, rate = media.read_sound(path, longest=20)
        assert len(samples) / rate > 0.9
    content = path.read_bytes()
    for share in (0.9, 0.57):
        path.write_bytes(content[: int(len(content) * share) // 188 * 188 + 90])
        for read in (lambda: list(media.read_pictures(path, longest=20)), lambda: media.read_sound(path, longest=20)):
            with pytest.raises(DataError, match=rf"{name}: truncated \([\d,]+ of [\d,]+ bytes\)"):
                read()


@pytest.mark.parametrize("name", [name for name in WAYS if name.endswith(containers.VIDEO_SUFFIXES)])
def test_all_that_judge_a_length_say_the_same(sources, tmp_path, name):
    path = clip(sources, tmp_path / name, name, "both")
    whole = look(Job(path, "rgb"))
    assert whole.usable and head_problem(path) == (None, None)
    frames = video.count_frames(path)
    # An mp4 in fragments has no list of what is not shown.
    hidden = 0 if "fragments" in name else round(10 * WAYS[name].get("cut", 0))
    assert frames == pytest.approx(FRAMES - hidden, abs=1)
    assert whole.seconds == pytest.approx(frames / 10, abs=0.2)
    first = video.read_video(path, 0, 1)
    assert video.read_video(path, 100, 100 + frames).shape == (frames, *first.shape[1:])  # it was cut to the window
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.57)])
    said = containers.truncation(path)
    assert said.startswith("truncated (")
    assert look(Job(path, "rgb")).damage == said and head_problem(path) == (None, said)
    assert look(Job(path, "rgb", window=(0, 1))).damage == said
    for read in (video.count_frames, lambda path: video.read_video(path, 0, 1), media.streams):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: {said}"


def test_where_the_boxes_tell_nothing_the_seconds_that_the_header_promises_do(tmp_path):
    path = write_video(tmp_path / "v.mp4", grey([0] * 30), sound=tone(3, 8000), rate=8000)
    path = copied(path, tmp_path / "front.mp4", options={"movflags": "faststart"})
    content = bytearray(path.read_bytes())
    content[content.index(b"mdat") - 4 : content.index(b"mdat")] = bytes(4)  # to the end, wherever that is
    path.write_bytes(content)
    assert containers.claimed_size(path) is None and containers.truncation(path) is None
    path.write_bytes(content[: int(len(content) * 0.6)])
    assert "truncated (its header promises 3." in containers.truncation(path)


# ---- odd videos of users -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CASES.is_dir(), reason="the odd videos are not here")
@pytest.mark.parametrize("name", ["seg_1.mkv", "late.mkv", "cut_long14.mp4", "subs.mp4", "pipe.avi"])
def test_whole_videos_of_users_are_taken_by_all(name):
    path = CASES / name
    assert containers.truncation(path) is None and look(Job(path, "rgb")).usable
    assert list(media.read_pictures(path, longest=20))
    frames = video.count_frames(path)
    assert len(video.read_video(path, 1000, 1000 + frames)) == frames


@pytest.mark.skipif(not CASES.is_dir(), reason="the odd videos are not here")
def test_packets_that_are_not_shown_do_not_hide_a_missing_end():
    path = CASES / "fs8_t85.mp4"
    for read in (lambda: list(media.read_pictures(path, longest=20)), lambda: video.count_frames(path)):
        with pytest.raises(DataError, match=r"fs8_t85\.mp4: truncated \(269,712 of 317,309 bytes\)"):
            read()
