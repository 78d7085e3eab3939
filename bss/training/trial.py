"""What is tried on a network before it is trained, because the training would say nothing of it."""

import torch
from torch import Tensor, nn

from bss.data.batches import to_device
from bss.data.splits import Splits
from bss.models.late_fusion import has_two_stages
from bss.models.modes import device_of, evaluating
from bss.utils.errors import RecipeError


def check_texts(model: nn.Module, data: Splits) -> None:
    """Refuse an encoder that gives one feature for texts that differ in a word: nothing can be learnt from it.

    The state of the first token is such a feature in networks that look backwards only, such as OPT, LLaMA and CLIP's
    text model. Tried are the longest training text and the same with another word in its middle.

    Args:
        model: other networks than a :class:`bss.models.late_fusion.TwoStageNetwork` are not looked into.
        data: of other training sets than :class:`bss.data.datasets.imagetext.ImageText` nothing is tried.

    Raises:
        RecipeError: names the encoder and the way out.
    """
    tokens_N3L = getattr(data.train, "tokens_N3L", None)
    if tokens_N3L is None or not has_two_stages(model) or "text" not in model.encoders:
        return
    texts_23L = _texts_of_one_word_apart(tokens_N3L)
    encoder = model.encoders["text"]
    if texts_23L is None or device_of(encoder).type == "meta":
        return
    with evaluating(encoder), torch.no_grad():
        one, other = encoder(to_device({"tokens": texts_23L}, device_of(encoder)))
    if torch.allclose(one, other, rtol=1e-5, atol=1e-6):  # a word moves a BERT's feature by 1e-3 and more
        raise RecipeError(
            "the text encoder gives one feature for two texts that differ in a word, so nothing can be learnt from the "
            "texts: a network that looks backwards only has the text in its last token, and not in its first.\n"
            "Pass --set text_pooling=last, or text_pooling=mean"
        )


def _texts_of_one_word_apart(tokens_N3L: Tensor) -> Tensor | None:
    """The longest text and its twin with another token in the middle, (2, 3, L); None if all have that one there."""
    lengths_N = tokens_N3L[:, 1].sum(dim=1)
    longest = int(lengths_N.argmax())
    middle = int(lengths_N[longest]) // 2
    ids_N = tokens_N3L[torch.arange(len(tokens_N3L), device=tokens_N3L.device), 0, lengths_N // 2]
    others = ids_N[ids_N != tokens_N3L[longest, 0, middle]]
    if not len(others):
        return None
    pair_23L = tokens_N3L[longest].repeat(2, 1, 1)[:, :, : int(lengths_N[longest])]
    pair_23L[1, 0, middle] = others[0]
    return pair_23L
