"""Tones, textures and texts that generated data sets are made of, and how a generated data set is written once."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bss.data.datasets.listing import MARKER
from bss.utils.errors import BssError, DataError
from bss.utils.filesystem import whole_folder


def write_clip(wav: Path, frame_folder: Path, waveform_T: np.ndarray, rate: int, frames: Sequence[np.ndarray]) -> None:
    """Write a generated clip: a 16-bit wav, and its frames as 00001.jpg, 00002.jpg, ...

    Args:
        wav: file to write; its folder exists.
        frame_folder: folder to make.
        waveform_T: (T,) in [-1, 1].
        rate: of the waveform, in Hz.
        frames: (H, W, 3) uint8 each.
    """
    import soundfile

    soundfile.write(wav, waveform_T, rate, subtype="PCM_16")
    frame_folder.mkdir(parents=True)
    for number, frame_HWC in enumerate(frames, start=1):
        write_picture(frame_folder / f"{number:05d}.jpg", frame_HWC)


FAINT: dict[str, float] = {"contrast": 0.07, "tint": 0.08}
"""Texture of a generated picture: fainter than a video frame's, for a text tells its class in few examples."""


def write_text_model(folder: Path, texts: Sequence[str]) -> None:
    """Write a tiny BERT for transformers: configuration and WordPiece vocabulary, no weights.

    Args:
        folder: folder to make.
        texts: every word of theirs becomes a token; other words are spelled with single letters.
    """
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = sorted({word for text in texts for word in text.lower().split()} - set(letters))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), *words]
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(vocabulary),
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "pad_token_id": 0,
    }
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64}
    folder.mkdir()
    for name, content in (("config.json", config), ("tokenizer_config.json", tokenizer)):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


def write_picture(path: Path, picture_HWC: np.ndarray) -> None:
    """Write a generated picture, (H, W, 3) uint8, as jpeg."""
    from PIL import Image

    Image.fromarray(picture_HWC).save(path, quality=90)


def drawn_words(
    rng: np.random.Generator, own: Sequence[str], others: Sequence[str], neutral: Sequence[str], *, share: float
) -> list[str]:
    """Draw six to ten words: two of a class and the rest neutral, in random order.

    Args:
        rng: draws everything.
        own: words of the class.
        others: words of the other classes.
        neutral: words of no class.
        share: probability that a class word is from ``own``, else from ``others``.
    """
    words = list(rng.choice(neutral, size=rng.integers(4, 9)))
    for _ in range(2):
        words.insert(int(rng.integers(len(words) + 1)), rng.choice(own if rng.random() < share else others))
    return [str(word) for word in words]


Sizes = TypeVar("Sizes")


# The fields' names and order are those of the marker file, by which a generated data set is known again.
@dataclass(frozen=True, kw_only=True)
class ClipSizes:
    """How much is generated of a data set of clips.

    Attributes:
        per_class: training clips of each class.
        test_per_class: test clips of each class.
        seconds: mean length of a clip.
        sample_rate: in Hz.
        image_size: height and width of a frame in pixels.
    """

    per_class: int
    test_per_class: int
    seconds: float = 1.0
    sample_rate: int = 16000
    image_size: int


@dataclass(frozen=True)
class PerClass:
    """Posts of each class in the parts of a generated data set."""

    train: int
    val: int
    test: int


@dataclass(frozen=True)
class PostSizes:
    """How much is generated of a data set of posts.

    Attributes:
        sizes: posts of each class.
        image_size: height and width of a picture in pixels.
    """

    sizes: PerClass
    image_size: int = 80


FULL = 2**20
"""Bytes; a disk with less than this free is full."""


def tone(
    rng: np.random.Generator,
    *,
    seconds: float,
    sample_rate: int,
    frequency: float,
    sweep: float = 0.0,
    tremolo: float = 0.0,
    noise: float = 0.4,
) -> np.ndarray:
    """Draw a tone of three harmonics under white noise.

    Args:
        rng: draws the phase, the detuning (up to a semitone either way) and the noise.
        seconds: length.
        sample_rate: in Hz.
        frequency: of the first harmonic at the middle of the clip, in Hz.
        sweep: how far the pitch rises over the clip, in octaves; negative falls.
        tremolo: how often a second the loudness goes to zero and back, in Hz; 0 is steady.
        noise: standard deviation of the noise; the tone's own is about 0.4.

    Returns:
        (round(seconds * sample_rate),) float32 in [-1, 1].
    """
    time_T = np.arange(round(seconds * sample_rate)) / sample_rate
    detuned = frequency * 2 ** rng.uniform(-1 / 12, 1 / 12)
    pitch_T = detuned * 2 ** (sweep * (time_T / seconds - 0.5))
    phase_T = 2 * np.pi * (rng.uniform() + np.cumsum(pitch_T) / sample_rate)
    sound_T = sum(np.sin(k * phase_T) / k for k in (1, 2, 3)) / 2
    if tremolo:
        sound_T = sound_T * (0.5 + 0.5 * np.sin(2 * np.pi * (tremolo * time_T + rng.uniform())))
    sound_T = 0.5 * (sound_T + noise * rng.standard_normal(time_T.size))
    return np.clip(sound_T, -1, 1).astype(np.float32)


def texture(
    rng: np.random.Generator,
    *,
    size: int,
    angle: float,
    hue: float,
    cycles: float = 8.0,
    contrast: float = 0.1,
    tint: float = 0.1,
    noise: float = 0.3,
    colour_noise: float = 0.15,
) -> np.ndarray:
    """Draw a weak striped pattern with a weak tint under strong noise.

    Use angles that a horizontal flip does not turn into one another (0, 45 and 90 degrees): training flips.

    Args:
        rng: draws the phase of the stripes and the noise.
        size: height and width in pixels.
        angle: direction of the stripes in degrees.
        hue: direction of the tint in the plane of colours, in degrees.
        cycles: stripes across the picture.
        contrast: amplitude of the stripes, of a range of 0 to 1.
        tint: amplitude of the tint.
        noise: standard deviation of the noise of single pixels.
        colour_noise: standard deviation of the tint's own noise, drawn once a picture. It does not average
            out over the pixels, so ``tint / colour_noise`` bounds what any network can see in the colour.

    Returns:
        (size, size, 3) uint8, RGB.
    """
    y_HW, x_HW = np.mgrid[0:size, 0:size] / size
    turn = np.deg2rad(angle)
    wave_HW = np.sin(2 * np.pi * (cycles * (np.cos(turn) * x_HW + np.sin(turn) * y_HW) + rng.uniform()))
    plane = np.array([[2, -1, -1], [0, 3**0.5, -(3**0.5)]]) / 6**0.5  # orthonormal, orthogonal to grey
    chroma = tint * np.array([np.cos(np.deg2rad(hue)), np.sin(np.deg2rad(hue))])
    colour = (chroma + colour_noise * rng.standard_normal(2)) @ plane
    picture_HWC = 0.5 + contrast * wave_HW[..., None] + colour + noise * rng.standard_normal((size, size, 3))
    return np.clip(255 * picture_HWC + 0.5, 0, 255).astype(np.uint8)


def write_once(
    root: str | os.PathLike, stem: str, sizes: Sizes, seed: int, write_tree: Callable[[Path, Sizes, int], None]
) -> Path:
    """Write a generated data set, unless the very same is there already.

    The tree appears under its name only when it is whole.

    Args:
        root: folder to make; its parent is made too.
        stem: name of the data set that it is like.
        sizes: a dataclass that says how much is generated.
        seed: non-negative; with the sizes, everything that the tree is a function of. Both are kept beside it in
            :data:`MARKER`.
        write_tree: writes a tree of these sizes and this seed into the (existing, empty) folder that it is given.

    Returns:
        ``root``.

    Raises:
        DataError: ``root`` holds something else, or a sample of other parameters, and nothing is overwritten; or it
            cannot be written there.
    """
    root = Path(root)
    # Version 1 of what the data sets' modules draw from a seed: another one makes another tree out of the same numbers.
    parameters = {"data set": stem, "version": 1, **asdict(sizes), "seed": seed}
    try:
        if not _holds(root, parameters):
            _write(root, parameters, lambda building: write_tree(building, sizes, seed))
    except BssError:
        raise
    except OSError as error:
        raise DataError(
            f"cannot write the generated sample to {root}: {error.strerror or error}.\n"
            "Pass --out with a run folder elsewhere: the sample lies in sample-data beside it"
        ) from error
    return root


def _write(root: Path, parameters: dict[str, Any], write_tree: Callable[[Path], None]) -> None:
    try:
        with whole_folder(root, replace=False) as building:
            try:
                write_tree(building)
                inventory = sorted(str(path.relative_to(building)) for path in building.iterdir())
                content = {"parameters": parameters, "inventory": inventory}
                (building / MARKER).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            except Exception as error:
                # Not every library that writes media says what went wrong, so the disk is asked, before the tree goes.
                if shutil.disk_usage(building).free < FULL:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                raise
    except OSError:
        # Another process was faster: its tree is as good, if it is the same.
        if not _holds(root, parameters):
            raise


def _holds(root: Path, parameters: dict[str, Any]) -> bool:
    """Whether ``root`` is a whole sample of these parameters; DataError if it is anything but free."""
    if not root.exists():
        return False
    if root.is_dir() and not any(root.iterdir()):
        return False
    try:
        stored = json.loads((root / MARKER).read_text(encoding="utf-8"))
        same, inventory = stored["parameters"] == parameters, stored["inventory"]
    except (OSError, ValueError, TypeError, KeyError):
        raise DataError(f"{root} holds something else than a generated sample; choose another folder") from None
    if not same:
        raise DataError(f"{root} holds a sample of other parameters; delete it or choose another folder")
    if not all((root / name).exists() for name in inventory):
        raise DataError(f"{root} holds a damaged sample: delete this folder, and --sample writes it again")
    return True
