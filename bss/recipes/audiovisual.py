"""Numbers that CREMA-D and Kinetics-Sounds share."""

from dataclasses import dataclass
from typing import Literal

from bss.recipes.recipe import Recipe
from bss.utils.choices import FusionName
from bss.utils.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class AudioVisualRecipe(Recipe):
    """A recipe with the numbers of a sound, some frames and their encoders.

    Attributes:
        sample_rate: Hz; audio at another rate is resampled.
        seconds: length of the audio window; shorter clips are repeated, longer ones cut.
        n_fft: STFT window in samples.
        hop_length: STFT hop in samples.
        fps: which ``Image-XX-FPS`` folder holds the frames.
        num_frames: frames per sample, averaged after the encoder.
        frames: training frames are ``"drawn"`` at random, or the ``"first"`` of the listing (as released).
        image_size: pixels, height and width.
        width: channels of the ResNets' first stage; 64 is ResNet-18.
        fusion: the fused head.
        cache: where sounds and frames are kept decoded, for all runs: ``"auto"`` = ``.bss-cache`` in the data root, or
            a folder; none decodes every file in every epoch. It changes no result.
    """

    sample_rate: int
    seconds: float
    n_fft: int = 512
    hop_length: int = 353
    fps: int = 1
    num_frames: int = 1
    frames: Literal["drawn", "first"] = "drawn"
    image_size: int = 224
    width: int = 64
    fusion: FusionName = "concat"
    cache: str | None = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("sample_rate", "n_fft", "hop_length", "fps", "num_frames", "image_size", "width"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.seconds * self.sample_rate < self.n_fft:
            raise RecipeError(f"seconds={self.seconds:g} is shorter than one STFT window of {self.n_fft} samples")
