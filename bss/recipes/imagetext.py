"""Numbers that Sarcasm and Twitter15 share."""

from dataclasses import dataclass
from typing import Any, Literal

from bss.recipes.recipe import Recipe
from bss.utils.choices import Cleaning, FusionName, Interpolation, Normalization, TextPooling
from bss.utils.errors import RecipeError

AS_RELEASED: dict[str, Any] = {"published_val": False, "max_tokens": None}
"""Fields in which the released scripts of both data sets differ from ours as well; the README files say why."""


@dataclass(frozen=True, kw_only=True)
class ImageTextRecipe(Recipe):
    """A recipe with the numbers of a picture, a text and their encoders.

    Attributes:
        published_val: the epoch is chosen on the published validation list, and the whole training list trains. False
            takes ``val_fraction`` of the training list instead; no picture is in both parts.
        text_model: a folder under the data root or the working directory, or a name on the Hugging Face hub.
        text_pretrained: load the text model's weights; false takes its shape and vocabulary only.
        text_pooling: what stands for a text: the state of its first token (``"cls"``), BERT's ``"pooler"`` on that, the
            state of the ``"last"`` token (for models that look backwards only, such as OPT, LLaMA and CLIP's), or the
            ``"mean"`` of all.
        max_tokens: texts are cut to so many tokens, [CLS] and [SEP] included; none cuts nothing (as released). Of the
            texts of Sarcasm 0.4 % are longer than 64 and 15 % longer than 30; of Twitter15 none and 15 %.
        cleaning: ``"none"``; ``"caption"``: small letters, less punctuation; ``"letters"``: only words of A to Z.
        max_words: words beyond this number are cut off before the tokens are; none keeps all.
        image_weights: of the ResNet-50: ``imagenet`` (torchvision's, downloaded), a file of them, or none.
        image_size: pixels, height and width.
        augment: training pictures are cropped, flipped and changed at random; false shows them as in tests.
        normalization: means and deviations that the pixels are scaled with.
        interpolation: how pictures are resized.
        width: channels of the ResNet's first stage; 64 is ResNet-50.
        fusion: the fused head.
    """

    published_val: bool = True
    text_model: str = "bert-base-uncased"
    text_pretrained: bool = True
    text_pooling: TextPooling = "cls"
    max_tokens: int | None = 64
    cleaning: Cleaning = "none"
    max_words: int | None = None
    image_weights: Literal["imagenet"] | str | None = "imagenet"
    image_size: int = 224
    augment: bool = True
    normalization: Normalization = "imagenet"
    interpolation: Interpolation = "bilinear"
    width: int = 64
    fusion: FusionName = "concat"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("image_size", "width"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name, least in (("max_tokens", 4), ("max_words", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise RecipeError(f"{name} must be >= {least}, or none, got {value}")
        if self.published_val and self.val_fraction == 0:
            raise RecipeError(
                "val_fraction=0 measures the test set after every epoch, but published_val=true chooses the epoch on "
                "the validation list: set published_val=false as well"
            )
        if self.image_weights is not None and self.width != 64:
            raise RecipeError(
                f"image_weights={self.image_weights} needs width=64, got {self.width}; or --set image_weights=none"
            )
