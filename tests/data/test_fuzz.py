"""Every parser against malformed input: it ends in an error of ours, or in a right result.

    python -m tests.data.test_fuzz 50000 [--parser NAME] [--keep FOLDER]

runs the long one and prints a table. Inputs are mutations of valid files that know the format: words of a list, opcodes
of a pickle, chunks of a picture (with their checksums made right again), members of a zip file. Input number i of a
parser is a function of both, so ``--parser NAME`` finds it again; what is found is written to FOLDER.
"""

import argparse
import faulthandler
import io
import json
import pickle
import pickletools
import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from bss.data import safe_pickle
from bss.data.datasets import cremad, ks, nvgesture, sarcasm, twitter15
from bss.data.transforms import audio, image, video
from bss.recipes.fields import describe, flatten, override
from bss.tasks import cremad as cremad_task
from bss.tasks import nvgesture as nvgesture_task
from bss.tasks import sarcasm as sarcasm_task
from bss.training.run_folder import read_checkpoint
from bss.utils.errors import BssError, RecipeError

RATE = 8000
SLOWEST = 2.0  # seconds for one input
IN_CI = 150  # inputs of each parser

# ------------------------------------------------------------------------------------------------ what is right


def safe(name: str) -> bool:
    """A name that stays in the folder that it is looked for in, and that a file can have."""
    return 0 < len(name.encode()) <= 255 and name not in (".", "..") and not set(name) & set("/\\\0\n")


def right_samples(samples: list[Any], classes: Sequence[str]) -> None:
    assert samples and len({sample.name for sample in samples}) == len(samples)
    for sample in samples:
        assert type(sample.label) is int and 0 <= sample.label < len(classes)


def right_clips(module: Any) -> Callable[[list[Any]], None]:
    def check(clips: list[Any]) -> None:
        right_samples(clips, module.CLASSES)
        assert all(safe(clip.name) and clip.name == clip.name.strip() for clip in clips)

    return check


def right_posts(module: Any) -> Callable[[list[Any]], None]:
    def check(posts: list[Any]) -> None:
        right_samples(posts, module.CLASSES)
        assert all(safe(post.image) and post.text.strip() and post.text.encode() for post in posts)

    return check


def right_gestures(clips: list[Any]) -> None:
    right_samples(clips, nvgesture.CLASSES)
    for clip in clips:
        assert not clip.folder.is_absolute() and ".." not in clip.folder.parts
        assert safe(clip.color.name) and safe(clip.depth.name) and ".." not in Path(clip.flow_place).parts
        assert clip.frames > 0 and clip.color.start >= 0 and clip.depth.stop - clip.depth.start == clip.frames


def right_waveform(wave: np.ndarray) -> None:
    assert wave.dtype == np.float32 and wave.ndim == 1 and wave.size
    assert np.isfinite(wave).all() and np.abs(wave).max() <= 1


def right_audio(sound: np.ndarray) -> None:
    if sound.ndim == 1:
        return right_waveform(sound)
    assert sound.dtype == np.float32 and sound.ndim == 2 and np.isfinite(sound).all()


def right_picture(picture: torch.Tensor) -> None:
    assert picture.dtype == torch.uint8 and picture.ndim == 3 and picture.shape[0] == 3
    assert 0 < picture[0].numel() <= image.MAX_PIXELS


def right_video(frames: torch.Tensor) -> None:
    assert frames.dtype == torch.uint8 and frames.shape[:2] == (3, 3) and frames[0, 0].numel() > 0


def right_damage(damage: str | None) -> None:
    assert damage is None or (isinstance(damage, str) and 0 < len(damage) < 200)


def right_plain(value: Any, depth: int = 0) -> None:
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        for item in value if depth < 20 else ():
            right_plain(item, depth + 1)
    elif isinstance(value, np.ndarray):
        assert value.dtype.kind in "?biufcUS" and value.flags.writeable and value.flags.owndata
    else:
        assert (
            value is None
            or type(value) in (bool, int, float, complex, str, bytes, bytearray)
            or (isinstance(value, np.generic))
        )


def right_checkpoint(state: Any) -> None:
    assert isinstance(state, dict)


def right_recipe(result: tuple[Any, Any]) -> None:
    before, after = result
    assert type(after) is type(before) and flatten(after).keys() == flatten(before).keys()
    assert override(before, re.split(r"\n|  ", describe(after))) == after


# ------------------------------------------------------------------------------------------------ valid files


def bytes_of(write: Callable[[Any], Any]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def sine(samples: int = 400) -> np.ndarray:
    return (0.5 * np.sin(np.arange(samples) / 5)).astype(np.float32)


def sounds(form: str, *subtypes: str) -> list[bytes]:
    stereo = np.stack([sine(), -sine()], axis=1)
    return [
        bytes_of(lambda file, wave=wave, kind=kind: soundfile.write(file, wave, RATE, format=form, subtype=kind))
        for kind in subtypes
        for wave in (sine(), stereo)
    ]


STORED = (
    {"waveform": sine(), "sample_rate": RATE},
    {"waveform": (sine() * 2**15).astype(np.int16), "sample_rate": 2 * RATE},
    sine(),
    np.stack([sine(), sine()]),
    np.linspace(-16, 4, 20).reshape(4, 5),
)


def as_tensors(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: as_tensors(value) for key, value in content.items()}
    return torch.from_numpy(content) if isinstance(content, np.ndarray) else content


def pickles() -> list[bytes]:
    more = [
        [np.arange(3.0), {"a": np.int8(1)}, {2}],
        {"b": (1, "\u00e4", b"\xff", None, True, 2**70, 1j), "c": [[], {}]},
    ]
    return [pickle.dumps(content, protocol) for content in (*STORED, *more) for protocol in (0, 2, 4, 5)]


def tensor_files() -> list[bytes]:
    old = {"_use_new_zipfile_serialization": False}
    return [bytes_of(lambda f, c=c, k=k: torch.save(as_tensors(c), f, **k)) for c in STORED for k in ({}, old)]


def checkpoints() -> list[bytes]:
    state = {"epoch": 3, "model": {"w": torch.ones(3, 2)}, "rng": torch.get_rng_state()[:16], "names": ["a", None]}
    return [bytes_of(lambda file: torch.save(state, file))]


def pictures(form: str) -> list[bytes]:
    picture = Image.fromarray((np.arange(24 * 20 * 3) % 251).astype(np.uint8).reshape(20, 24, 3))
    modes = {"PNG": ("RGB", "L", "P", "RGBA", "1"), "JPEG": ("RGB", "L", "CMYK")}[form]
    found = [bytes_of(lambda file, m=m: picture.convert(m).save(file, form)) for m in modes]
    if form == "JPEG":
        exif = picture.getexif()
        exif[0x0112] = 6
        found += [bytes_of(lambda file: picture.save(file, form, progressive=True, exif=exif))]
    return found


def videos() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.avi"
        video.write_video(path, (np.arange(4 * 16 * 16 * 3) % 251).astype(np.uint8).reshape(4, 16, 16, 3))
        return [path.read_bytes()]


POSTS = [
    {"image": "862902619928506372.jpg", "text": "what a day , isn't it # fun", "label": 1},
    {"image": "images/7.jpg", "text": "caf\u00e9 \U0001f600", "label": 0},
]
MMSD = [{"image_id": 862902619928506372, "text": "what a day", "label": 1}, {"image_id": 7, "text": "a", "label": 0}]
ORIGINAL = "['862902619928506372', 'what a day', 1]\n['7', \"isn't it\", 0, 1]\n"
TOMBERT = (
    "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String\n1\t2\t860693.jpg\t$T$ in town\tLydia\n2\t0\t7.jpg\ta $T$\tb\n"
)
NAMED = 'Label\tImageID\tString\tTarget\n1\t860693.jpg\t$T$ is "here"\tLydia\n0\t7.jpg\tno $T$\tyou\n'
FOUR_LINES = "$T$ in town\nLydia\n-1\n860693.jpg\na $T$\nb\n1\n7.jpg\n"
OGM_GE = "--4-0ihtnBU_000058_000068,10,4\n1p1nA2Nf54o_37,10,30\n"
GESTURES = (
    "path:./Video_data/class_01/subject3_r0 depth:sk_depth:146:226 color:sk_color:146:226 label:1\n"
    "path:./Video_data/class_25/subject5_r1 depth:sk_depth:0:80 color:sk_color:1:81 duo_left:x:0:80 label:25 \n"
)

# ------------------------------------------------------------------------------------------------ mutations

NUMBERS = tuple(
    number.encode()
    for number in (
        *("0", "-1", "1", "2", "25", "26", "31", "127", "255", "65536", "2147483647", "2147483648", "4294967295"),
        *("9223372036854775808", "1e400", "-0", "0x10", "1_0", "nan", "inf", "None", "True", "\u0663", "\u00b2", "1.5"),
        *("9" * 4301, "0x" + "f" * 5000),
    )
)
TEXTS = (
    *(
        b"..",
        b"../..",
        b"/",
        b"\\",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\\ud83d",
        b"\r",
        b"\n",
        b"\t",
    ),
    *(b'"', b"'", b",", b":", b"[", b"]", b"{", b"}", b"$T$", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8", b" ", b"#"),
    *(b"x" * 300, b"[" * 2000, b"name,label\n", b"label", b"null", b"f''", b"1+2j", b"-'a'", b"{**a}", b"__import__()"),
)
WIDTHS = ("<B", "<H", ">H", "<I", ">I", "<Q")


def words_of(data: bytes) -> list[bytes]:
    return re.findall(rb"\w+|\s|[^\w\s]", data)


def fields_of(data: bytes) -> list[bytes]:
    """Two bytes each in the first 64, where headers have their numbers, then larger pieces."""
    return [data[i : i + 2] for i in range(0, 64, 2)] + [data[i : i + 32] for i in range(64, len(data), 32)]


def opcodes_of(data: bytes) -> list[bytes]:
    try:
        starts = [position for _, _, position in pickletools.genops(data)]
    except Exception:  # mutated already
        return fields_of(data)
    return [data[i:j] for i, j in zip(starts, [*starts[1:], len(data)], strict=True)]


def chunks_of(data: bytes) -> list[bytes]:
    """Signature and chunks of a PNG."""
    found, at = [data[:8]], 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        found.append(data[at:end])
        at = end
    return found


def segments_of(data: bytes) -> list[bytes]:
    """Segments of a JPEG; the coded pixels belong to the one before them."""
    return [part for part in re.split(rb"(?=\xff[\xc0-\xcf\xd8-\xdf\xe0-\xef\xfe])", data) if part]


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes], method: int) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return bytes_of(write)


def checked_again(chunks: Iterable[bytes]) -> list[bytes]:
    """PNG chunks with the length and the checksum that belong to their content."""
    first, *others = chunks or [b""]
    bodies = [chunk[4:-4] for chunk in others if len(chunk) >= 12]
    return [first, *(struct.pack(">I", len(b) - 4) + b + struct.pack(">I", zlib.crc32(b)) for b in bodies)]


def mutated_pieces(rng: random.Random, pieces: list[bytes], tokens: Sequence[bytes]) -> list[bytes]:
    """One change among the pieces of a file."""
    pieces = list(pieces) or [b""]
    i, j = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    change = rng.randrange(7)
    if change == 0:
        del pieces[i]
    elif change == 1:
        pieces[i] *= rng.choice((2, 2, 3, 50))
    elif change == 2:
        pieces[i], pieces[j] = pieces[j], pieces[i]
    elif change == 3:
        pieces.insert(i, rng.choice(tokens))
    elif change == 4:
        pieces[i] = rng.choice(tokens)
    elif change == 5:
        pieces[i] = mutated_bytes(rng, pieces[i])
    else:
        pieces[i : i + rng.randrange(1, 6)] = []
    return pieces


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """One change that knows nothing of the format."""
    data = bytearray(data)
    at = rng.randrange(len(data) + 1)
    change = rng.randrange(6)
    if change == 0 and data:
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif change == 1 and data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    elif change == 2:
        del data[at:]
    elif change == 3:
        data[at:at] = rng.randbytes(rng.choice((1, 2, 16)))
    elif change == 4:
        kind = rng.choice(WIDTHS)
        size = struct.calcsize(kind)
        number = rng.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1))
        data[at : at + size] = struct.pack(kind, number)
    else:
        del data[at : at + rng.choice((1, 4, 30))]
    return bytes(data)


@dataclass(frozen=True)
class Parser:
    """A parser under test.

    Attributes:
        name: as shown.
        file: the name under which it gets its input.
        seeds: makes valid inputs.
        read: from a path to a result.
        check: asserts that a result is right.
        pieces: how an input falls into parts that mean something.
        tokens: what is put among them.
        error: what every failure must be.
    """

    name: str
    file: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], Any]
    check: Callable[[Any], None]
    pieces: Callable[[bytes], list[bytes]] = words_of
    tokens: Sequence[bytes] = field(default=(*NUMBERS, *TEXTS))
    error: type[BssError] = BssError

    def input(self, number: int) -> bytes:
        """Malformed input number ``number``."""
        rng = random.Random(f"{self.name} {number}")
        valid = seeds_of(self)
        seed = rng.choice(valid)
        while True:
            data = self._mutated(rng, seed, rng.choice(valid))
            if data != seed:
                return data

    def _mutated(self, rng: random.Random, data: bytes, other: bytes) -> bytes:
        if data.startswith(b"PK") and rng.random() < 0.7:
            members = members_of(data)
            name = rng.choice([name for name in members if name.endswith(("data.pkl", "data/0"))])
            members[name] = b"".join(mutated_pieces(rng, opcodes_of(members[name]), self.tokens))
            return zipped(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
        for _ in range(rng.choice((1, 1, 2, 4))):
            way = rng.random()
            if way < 0.6:
                pieces = mutated_pieces(rng, self.pieces(data), self.tokens)
                repaired = self.pieces is chunks_of and rng.random() < 0.8
                data = b"".join(checked_again(pieces) if repaired else pieces)
            elif way < 0.95:
                data = mutated_bytes(rng, data)
            else:
                data = data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
        return data

    def outcome(self, data: bytes, folder: Path) -> str:
        """``"right"`` or ``"refused"``; whatever else happens is an exception that leaves here."""
        path = folder / self.file
        path.write_bytes(data)
        began = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = self.read(path)
        except self.error as error:
            said, result = str(error), None
            assert said.encode() and len(said) < 1000 + len(str(path)) and said.count("\n") <= 2, said
            assert self.file in said or self.error is RecipeError, f"an error that does not name the file: {said}"
            return "refused"
        finally:
            took = time.perf_counter() - began
            assert took < SLOWEST, f"{took:.1f} s"
        self.check(result)
        return "right"


@cache
def seeds_of(parser: Parser) -> list[bytes]:
    return parser.seeds()


def texts(*contents: str) -> Callable[[], list[bytes]]:
    return lambda: [content.encode() for content in contents]


RECIPES = [recipe for task in (cremad_task, sarcasm_task, nvgesture_task) for recipe in (task.CL, task.SPL)]


def read_assignments(path: Path) -> tuple[Any, Any]:
    """The recipe of the number in the first byte, with the lines after it as assignments."""
    data = path.read_bytes() or b"\0"
    recipe = RECIPES[data[0] % len(RECIPES)]
    return recipe, override(recipe, data[1:].decode("utf-8", "surrogateescape").split("\n"))


def assignments() -> list[bytes]:
    lines = [re.split(r"\n|  ", describe(recipe)) for recipe in RECIPES]
    return [
        bytes([number]) + "\n".join(part[i : i + 3]).encode()
        for number, part in enumerate(lines)
        for i in range(0, len(part), 3)
    ]


def read_sound(path: Path) -> np.ndarray:
    return audio.read_audio(path, RATE)


def read_window(path: Path) -> torch.Tensor:
    return video.read_video(path, 0, 3)


PICKLE_TOKENS = (
    *(bytes([opcode]) for opcode in b"(tld}])012suaeRbN.\x81\x85\x86\x8f\x90\x91\x94\x97"),
    *(b"K\x00", b"J\xff\xff\xff\x7f", b"h\x00", b"q\x00", b"r\xff\xff\xff\x7f", b"I01\n", b"S'a'\n", b"Vb\n", b"P1\n"),
    *(b"cos\nsystem\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c__builtin__\nset\n", b"\x82\x01", b"\x85" * 900),
    *(b"ccollections\nOrderedDict\n", b"\x8a\x09" + b"\xff" * 8 + b"\x7f", b"L" + b"9" * 4400 + b"L\n"),
    *(b"G\x7f\xf0" + bytes(6), b"X\xff\xff\xff\xff", b"\x95" + b"\xff" * 8, b"\x8e" + b"\xff" * 7 + b"\x0f"),
)
NPY_TOKENS = (*NUMBERS, b"(", b")", b"'O'", b"'S0'", b"'U99999999'", b"'<f8'", b"[", b"{", b"-", b"\n", b"99999999999,")
SHORT = tuple(token for token in (*NUMBERS, *TEXTS) if len(token) < 20)

PARSERS = [
    Parser("cremad csv", "train.csv", texts("a_IEO_NEU_XX,NEU\nb,ang\n", 'name,label\r\n"a",SAD\r\nb.flv,HAP\r\n'),
           cremad.read_list, right_clips(cremad)),
    Parser("cremad txt", "train.txt", texts("1085_IWL_SAD_XX.flv Sad\n1001_DFA_ANG_XX.mp4 Ang\n"),
           cremad.read_list, right_clips(cremad)),
    Parser("ks csv", "train.csv", texts("youtube_id,label\n4-0ihtnBU,playing guitar\nb,3\n", OGM_GE),
           ks.read_list, right_clips(ks)),
    Parser("ks txt", "my_train.txt", texts(OGM_GE, "a 10 4\nb 10 5\n"),
           ks.read_list, right_clips(ks)),
    Parser("twitter15 tsv", "train.tsv", texts(TOMBERT, NAMED), twitter15.read_list, right_posts(twitter15)),
    Parser("twitter15 txt", "train.txt", texts(FOUR_LINES), twitter15.read_list, right_posts(twitter15)),
    Parser("sarcasm json", "train_data.json", texts(json.dumps(POSTS), json.dumps(POSTS, indent=1)),
           sarcasm.read_list, right_posts(sarcasm)),
    Parser("sarcasm txt", "train.txt", texts(ORIGINAL), sarcasm.read_list, right_posts(sarcasm)),
    Parser("MMSD2.0 json", "train.json", texts(json.dumps(MMSD)), sarcasm.read_list, right_posts(sarcasm)),
    Parser("nvgesture lst", "train.lst", texts(GESTURES), nvgesture.read_list, right_gestures),
    Parser("wav", "clip.wav", lambda: sounds("WAV", "PCM_16", "PCM_U8", "FLOAT", "MS_ADPCM", "ULAW"),
           lambda path: audio.read_waveform(path, RATE), right_waveform, fields_of, SHORT),
    Parser("flac", "clip.flac", lambda: sounds("FLAC", "PCM_16"), read_sound, right_audio, fields_of, SHORT),
    Parser("ogg", "clip.ogg", lambda: sounds("OGG", "VORBIS"), read_sound, right_audio, fields_of, SHORT),
    Parser("npy", "clip.npy", lambda: [bytes_of(lambda f, a=a: np.save(f, a)) for a in STORED[2:]],
           read_sound, right_audio, words_of, NPY_TOKENS),
    Parser("pkl", "clip.pkl", pickles, read_sound, right_audio, opcodes_of, PICKLE_TOKENS),
    Parser("pt", "clip.pt", tensor_files, read_sound, right_audio, fields_of, PICKLE_TOKENS),
    Parser("safe_pickle", "data.pkl", pickles, safe_pickle.load, right_plain, opcodes_of, PICKLE_TOKENS),
    Parser("jpeg", "frame.jpg", lambda: pictures("JPEG"), image.read_frame, right_picture, segments_of, SHORT),
    Parser("png", "frame.png", lambda: pictures("PNG"), image.read_frame, right_picture, chunks_of, SHORT),
    Parser("video head", "clip.avi", videos, video.damage, right_damage, fields_of, SHORT),
    Parser("avi", "clip.avi", videos, read_window, right_video, fields_of, SHORT),
    Parser("checkpoint", "last.pt", checkpoints, read_checkpoint, right_checkpoint, fields_of, PICKLE_TOKENS),
    Parser("set", "assignments", assignments, read_assignments, right_recipe, error=RecipeError),
]  # fmt: skip
BY_NAME = {parser.name: parser for parser in PARSERS}

# ------------------------------------------------------------------------------------------------ tests


@pytest.fixture(params=PARSERS, ids=lambda parser: parser.name)
def parser(request):
    return request.param


def test_every_valid_file_is_read_right(parser, tmp_path):
    good = 0
    for data in seeds_of(parser):
        good += parser.outcome(data, tmp_path) == "right"
    allowed = {"pkl": 20}.get(parser.name, len(seeds_of(parser)))  # pickles of other things than sound
    assert good >= allowed


def test_every_malformed_input_ends_in_an_error_of_ours_or_a_right_result(parser, tmp_path):
    outcomes = [parser.outcome(parser.input(number), tmp_path) for number in range(IN_CI)]
    assert "refused" in outcomes or parser.name == "video head"


def test_there_are_two_thousand_of_them():
    assert IN_CI * len(PARSERS) >= 2000


# ------------------------------------------------------------------------------------------------ by hand


def run(parser: Parser, total: int, keep: Path | None) -> dict[str, Any]:
    """Counts of a long run, in this process; a crash leaves the input in the folder."""
    counts: dict[str, Any] = {"right": 0, "refused": 0, "found": 0, "slowest": 0.0}
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        seeds_of(parser)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(total):
            data = parser.input(number)
            began = time.perf_counter()
            faulthandler.dump_traceback_later(60, exit=True)
            try:
                counts[parser.outcome(data, folder)] += 1
            except Exception as error:
                counts["found"] += 1
                print(f"{parser.name} input {number}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
                if keep:
                    (keep / f"found-{number}-{parser.file}").write_bytes(data)
            counts["slowest"] = max(counts["slowest"], time.perf_counter() - began)
        faulthandler.cancel_dump_traceback_later()
        counts["grown"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    return counts


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("total", type=int, help="inputs of all parsers together")
    arguments.add_argument("--parser", choices=BY_NAME, help="one parser, in this process; prints its counts as json")
    arguments.add_argument("--keep", type=Path, help="folder for the inputs that are findings")
    flags = arguments.parse_args()
    if flags.parser:
        print(json.dumps(run(BY_NAME[flags.parser], flags.total, flags.keep)))
        return
    share = -(-flags.total // len(PARSERS))
    print("| parser | inputs | our errors | right results | findings | slowest, s | memory grown by, MB |")
    print("|---|---|---|---|---|---|---|")
    sums = [0, 0, 0, 0]
    for name in BY_NAME:
        command = [sys.executable, "-m", "tests.data.test_fuzz", str(share), "--parser", name]
        if flags.keep:
            folder = flags.keep / name.replace(" ", "-")
            folder.mkdir(parents=True, exist_ok=True)
            command += ["--keep", str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:  # the process died: of a segmentation fault, or of a minute without an answer
            print(f"| {name} | died with status {done.returncode} | | | 1 | | |")
            sums[3] += 1
            continue
        counts = json.loads(done.stdout.splitlines()[-1])
        row = [share, counts["refused"], counts["right"], counts["found"]]
        sums = [a + b for a, b in zip(sums, row, strict=True)]
        print(f"| {name} | {' | '.join(map(str, row))} | {counts['slowest']:.2f} | {counts['grown']} |", flush=True)
    print(f"| all | {' | '.join(map(str, sums))} | | |")
    sys.exit(sums[3] > 0)


if __name__ == "__main__":
    main()
