"""A generated NVGesture: short clips of a pattern that drifts, with their optical flow, and a disc in depth video."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bss.data.datasets.nvgesture import CLASSES, DATA_SET, FLOW_FOLDER, VIDEO_FOLDER
from bss.data.synthetic import signals
from bss.data.transforms import video
from bss.utils.seeding import mixed_seed

_FIRST_SUBJECT = 101  # the real ones are 1 to 20


_LEAD = 2  # frames before the window, so that it is one


_MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # pixels a frame to the right and downwards


@dataclass(frozen=True, kw_only=True)
class NVGestureSizes:
    """How much is generated of NVGesture.

    Attributes:
        per_class: training clips of each class.
        test_per_class: test clips of each class.
        frames: length of a clip; its videos are 4 longer.
        size: height and width of a frame in pixels, even, 16 or more.
    """

    per_class: int
    test_per_class: int
    frames: int
    size: int


SIZES = NVGestureSizes(per_class=8, test_per_class=2, frames=12, size=36)
"""The sizes of what ``--sample`` trains on."""


def write_sample(root: str | os.PathLike, sizes: NVGestureSizes = SIZES, *, seed: int = 0) -> Path:
    """Write a small generated data set in the layout of the real one: clear in colour, faint in depth.

    Colour shows five tints times five levels of light on a pattern that drifts in one of five ways by tint: so the
    flow, which is computed from the colour video as for the real clips, tells the tint's part of the class only. Depth
    shows a disc whose nearness tells the other part, under strong noise.

    Subjects are numbered from 101, so that no clip can be taken for a real one, and differ between the lists.

    Args:
        root: folder to make; its parent is made too.
        sizes: how much is generated.
        seed: non-negative; everything is a function of the arguments.

    Returns:
        ``root``.

    Raises:
        DataError: see :func:`bss.data.synthetic.signals.write_once`.
    """
    return signals.write_once(root, "nvgesture", sizes, seed, _write_tree)


def _write_tree(root: Path, sizes: NVGestureSizes, seed: int) -> None:
    subject = _FIRST_SUBJECT
    start, stop = _LEAD, _LEAD + sizes.frames
    for split, per_class in (("train", sizes.per_class), ("test", sizes.test_per_class)):
        rows = []
        for label, folder in enumerate(CLASSES):
            for take in range(per_class):
                name = f"{folder}/subject{subject + take % 2}_r{take // 2}"
                entropy = (seed, DATA_SET.splits.index(split), label, take)
                rng = np.random.default_rng(mixed_seed("nvgesture sample", *entropy))
                color, depth = _sample_clip(rng, label, length=stop + _LEAD, size=sizes.size)
                place = root / VIDEO_FOLDER / name
                video.write_video(place / "sk_color.avi", color)
                video.write_video(place / "sk_depth.avi", depth)
                grey_THW = video.read_video(place / "sk_color.avi", start, stop, grey=True)[:, 0].numpy()
                flow = root / FLOW_FOLDER / f"{name}.npy"
                flow.parent.mkdir(parents=True, exist_ok=True)
                np.save(flow, video.pack_flow(video.optical_flow(grey_THW)))
                window = f"{start}:{stop}"
                rows.append(
                    f"path:./{VIDEO_FOLDER}/{name} depth:sk_depth:{window} color:sk_color:{window} label:{label + 1} \n"
                )
        (root / DATA_SET.places[split][0]).write_text("".join(rows), encoding="utf-8")
        subject += 2


def _sample_clip(rng: np.random.Generator, label: int, *, length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the colour and the depth frames of a clip of one class, (T, H, W, 3) uint8 each."""
    first, second = divmod(label, 5)
    look = {"angle": rng.uniform(0, 180), "hue": 72.0 * first, "tint": 0.3, "noise": 0.1, "colour_noise": 0.03}
    canvas = signals.texture(rng, size=size + length, **look) * (0.4 + 0.15 * second)
    color = []
    for t in range(length):
        # The window moves against the motion that is seen.
        left, top = (length // 2 - move * (t - length // 2) for move in _MOVES[first])
        color.append(canvas[top : top + size, left : left + size].astype(np.uint8))
    y_HW, x_HW = np.mgrid[0:size, 0:size] / size - 0.5
    disc_HW = x_HW**2 + y_HW**2 < 0.09
    level = 0.3 + 0.1 * second + 0.15 * rng.standard_normal()
    depth_THW = level * disc_HW + 0.2 * rng.standard_normal((length, size, size))
    depth_THW = np.clip(255 * depth_THW, 0, 255).astype(np.uint8)
    return np.stack(color), np.repeat(depth_THW[..., None], 3, axis=3)
