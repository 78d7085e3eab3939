"""NVGesture's numbers."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from typing_extensions import override

from bss.recipes.limits import Need, batch_need, weights_need
from bss.recipes.presets import paper, released
from bss.recipes.recipe import CurriculumSchedule, Recipe, SelfPacedSchedule
from bss.recipes.settings import setting
from bss.utils.choices import FlowInput, FlowWindow, FusionName, Pooling, RGBInput
from bss.utils.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class NVGestureRecipe(Recipe):
    """A recipe with the numbers of NVGesture's data and encoders."""

    split: Literal["published", "subject"] = setting(
        "published",
        "the validation part, which chooses the epoch, has val_fraction of the clips of every class "
        '("published": the lists as they are, and all 12 training subjects are in both parts), or all clips '
        'of that share of the subjects ("subject"): as in the test list, nobody in it is trained on.',
    )
    frames_train: int = setting(64, "length of the random window in training.")
    frames_test: int = setting(80, "frames in tests and scoring passes; a clip has 80.")
    resize: int = setting(256, "pixels that frames are squeezed to, height and width, before the crop.")
    image_size: int = setting(224, "pixels of the crop: random in training, central else.")
    rgb_input: RGBInput = setting(
        "i3d",
        'colour as "i3d" was trained on it (RGB in [-1, 1]), or "bgr_imagenet": BGR with ImageNet\'s '
        "statistics (as released).",
    )
    flow_input: FlowInput = setting(
        "unit",
        'flow cut to 20 pixels and in "unit" scaling, as I3D was trained on it, or in "pixels" (as released).',
    )
    flow_window: FlowWindow = setting(
        "shared",
        'in training the flow shows the window that is "shared" by all streams, or the "whole" clip (as released).',
    )
    pooling: Pooling = setting(
        "clip",
        'I3D\'s last feature map is averaged over the whole "clip", or over its "first" 8 positions in time '
        "(as released), which are all of them for 64 frames and 8 of 10 for 80.",
    )
    width: int = setting(64, "channels of I3D's first layer; 64 is I3D.")
    norm_momentum: float = setting(0.01, "weight of a batch in BatchNorm's running statistics.")
    rgb_weights: str | None = setting(
        "rgb_imagenet.pt",
        "file of pretrained weights, under the data root or the working directory; none starts from random ones.",
        path=True,
    )
    flow_weights: str | None = setting("flow_imagenet.pt", "the same for flow.", path=True)
    depth_weights: str | None = setting(
        "rgb_imagenet.pt",
        "the same for depth; its first layer stays random (the file's is for three channels).",
        path=True,
    )
    fusion: FusionName = setting("concat", "the fused head.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("frames_train", "frames_test", "resize", "image_size", "width"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.image_size > self.resize:
            raise RecipeError(f"image_size={self.image_size} is a crop of resize={self.resize} and cannot be larger")
        if not 0 < self.norm_momentum <= 1:
            raise RecipeError(f"norm_momentum must be in (0, 1], got {self.norm_momentum:g}")

    @override
    def needs(self) -> list[Need]:
        # Three streams of 3, 2 and 1 channels; I3D's first convolution halves all three sides.
        crop, decoded = float(self.frames_train * self.image_size**2), float(self.frames_test * self.resize**2)
        by = ("frames_train", "image_size", "width")
        return [
            batch_need("clips", self.batch_size, 6 * crop, 3 * self.width * crop / 8, by),
            Need("a decoded clip", 6 * decoded, ("frames_test", "resize")),
            weights_need(3 * 12.3e6 * (self.width / 64) ** 2),
        ]

    @override
    def from_random_weights(self) -> Self:
        return replace(self, rgb_weights=None, flow_weights=None, depth_weights=None)


# Released NVGesture/train-CL.py:21-46 (numbers), :217-218 (pacing); video and flow dataset/nvGesture.py:76-139.
# A batch is 2 clips, so the usual 8 batches would estimate BatchNorm's statistics from 16 clips, fewer than there are
# classes. 16 batches are 32 clips; they are held in memory at 96 MB a clip, so more would cost gigabytes.
CL = NVGestureRecipe(
    epochs=120,
    batch_size=2,
    lr=0.01,
    seed=42,
    schedule=CurriculumSchedule(start=0.1, grow_epochs=40, calibration_batches=16),
)


SPL = replace(CL, schedule=SelfPacedSchedule(floor=1e-2, calibration_batches=16))


# What the released scripts do where it differs from the method: see the table in NVGesture/README.md.
_AS_RELEASED = {"rgb_input": "bgr_imagenet", "flow_input": "pixels", "flow_window": "whole", "pooling": "first"}


# NVGesture/train-CL.py:142-148: cosine of raw logits; NVGesture/train-SPL.py:165: weights without the floor.
CL_OFFICIAL = released(CL, schedule={"space": "logit"}, **_AS_RELEASED)


SPL_OFFICIAL = released(SPL, schedule={"floor": 0.0}, **_AS_RELEASED)


CL_PAPER, SPL_PAPER = (paper(recipe) for recipe in (CL, SPL))


CL_PRESETS = {"default": CL, "released": CL_OFFICIAL, "paper": CL_PAPER}


SPL_PRESETS = {"default": SPL, "released": SPL_OFFICIAL, "paper": SPL_PAPER}
