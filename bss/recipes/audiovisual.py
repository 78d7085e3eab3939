"""Numbers that CREMA-D and Kinetics-Sounds share."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from typing_extensions import override

from bss.recipes.limits import Need, batch_need, weights_need
from bss.recipes.published import PublishedRecipe
from bss.recipes.settings import cache_setting, meaning, setting
from bss.utils.choices import FusionName
from bss.utils.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class AudioVisualRecipe(PublishedRecipe):
    """A recipe with the numbers of a sound, some frames and their encoders."""

    sample_rate: int = field(metadata=meaning("Hz; audio at another rate is resampled."))
    seconds: float = field(metadata=meaning("length of the audio window; shorter clips are repeated, longer ones cut."))
    n_fft: int = setting(512, "STFT window in samples.")
    hop_length: int = setting(353, "STFT hop in samples.")
    fps: int = setting(1, "which Image-XX-FPS folder holds the frames.")
    num_frames: int = setting(1, "frames per sample, averaged after the encoder.")
    frames: Literal["drawn", "first"] = setting(
        "drawn", 'training frames are "drawn" at random, or the "first" of the listing (as released).'
    )
    image_size: int = setting(224, "pixels, height and width.")
    width: int = setting(64, "channels of the ResNets' first stage; 64 is ResNet-18.")
    fusion: FusionName = setting("concat", "the fused head.")
    cache: str | None = cache_setting("sounds and frames")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("sample_rate", "n_fft", "hop_length", "fps", "num_frames", "image_size", "width"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.seconds * self.sample_rate < self.n_fft:
            raise RecipeError(f"seconds={self.seconds:g} is shorter than one STFT window of {self.n_fft} samples")

    @override
    def needs(self) -> list[Need]:
        sound, picture = self.seconds * self.sample_rate, float(self.num_frames * self.image_size**2)
        bins, columns = self.n_fft / 2, sound / self.hop_length
        return [  # a ResNet's first convolution halves both sides
            batch_need(
                "pictures",
                self.batch_size,
                3 * picture,
                self.width * picture / 4,
                ("image_size", "num_frames", "width"),
            ),
            batch_need(
                "sounds",
                self.batch_size,
                sound,
                self.width * bins * columns / 4,
                ("seconds", "sample_rate", "n_fft", "hop_length", "width"),
            ),
            weights_need(2 * 11.2e6 * (self.width / 64) ** 2),
        ]

    @override
    def without_cache(self) -> Self:
        return replace(self, cache=None)
