"""Numbers that Sarcasm and Twitter15 share."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from typing_extensions import override

from bss.recipes.limits import Need, batch_need, weights_need
from bss.recipes.published import PublishedRecipe
from bss.recipes.settings import cache_setting, setting
from bss.utils.choices import Cleaning, FusionName, Interpolation, Normalization, TextPooling
from bss.utils.errors import RecipeError

AS_RELEASED: dict[str, Any] = {"published_val": False, "max_tokens": None}
"""Fields in which the released scripts of both data sets differ from ours as well; the README files say why."""


@dataclass(frozen=True, kw_only=True)
class ImageTextRecipe(PublishedRecipe):
    """A recipe with the numbers of a picture, a text and their encoders."""

    published_val: bool = setting(
        True,
        "the epoch is chosen on the published validation list, and the whole training list trains. False "
        "takes val_fraction of the training list instead; no picture is in both parts.",
    )
    text_model: str = setting(
        "bert-base-uncased",
        "a folder under the data root or the working directory, or a name on the Hugging Face hub.",
        path=True,
    )
    text_pretrained: bool = setting(True, "load the text model's weights; false takes its shape and vocabulary only.")
    text_pooling: TextPooling = setting(
        "cls",
        'what stands for a text: the state of its first token ("cls"), BERT\'s "pooler" on that, the state of '
        'the "last" token (for models that look backwards only, such as OPT, LLaMA and CLIP\'s), or the "mean" '
        "of all.",
    )
    max_tokens: int | None = setting(
        64,
        "texts are cut to so many tokens, [CLS] and [SEP] included; none cuts nothing (as released). Of the "
        "texts of Sarcasm 0.4 % are longer than 64 and 15 % longer than 30; of Twitter15 none and 15 %.",
    )
    cleaning: Cleaning = setting(
        "none", '"none"; "caption": small letters, less punctuation; "letters": only words of A to Z.'
    )
    max_words: int | None = setting(None, "words beyond this number are cut off before the tokens are; none keeps all.")
    image_weights: Literal["imagenet"] | str | None = setting(
        "imagenet", "of the ResNet-50: imagenet (torchvision's, downloaded), a file of them, or none.", path=True
    )
    image_size: int = setting(224, "pixels, height and width.")
    augment: bool = setting(
        True,
        "training pictures are cropped, flipped and changed at random; false shows them as in tests.",
    )
    normalization: Normalization = setting("imagenet", "means and deviations that the pixels are scaled with.")
    interpolation: Interpolation = setting("bilinear", "how pictures are resized.")
    width: int = setting(64, "channels of the ResNet's first stage; 64 is ResNet-50.")
    fusion: FusionName = setting("concat", "the fused head.")
    cache: str | None = cache_setting("pictures as they are scored and tested")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("image_size", "width"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name, least in (("max_tokens", 4), ("max_words", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise RecipeError(f"{name} must be >= {least}, or none, got {value}")
        if self.image_weights is not None and self.width != 64:
            raise RecipeError(
                f"image_weights={self.image_weights} needs width=64, got {self.width}; or --set image_weights=none"
            )

    @override
    def needs(self) -> list[Need]:
        picture = float(self.image_size**2)  # a ResNet's first convolution halves both sides
        return [
            batch_need("pictures", self.batch_size, 3 * picture, self.width * picture / 4, ("image_size", "width")),
            weights_need(23.5e6 * (self.width / 64) ** 2),
        ]

    @override
    def without_cache(self) -> Self:
        return replace(self, cache=None)

    @override
    def from_random_weights(self) -> Self:
        return replace(self, image_weights=None, text_pretrained=False)
