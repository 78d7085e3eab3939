"""Text encoders: BERT and its relatives through transformers."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bss.data.transforms.text import load_config, readable_model
from bss.utils.choices import TextPooling
from bss.utils.errors import DataError, RecipeError


class TextEncoder(nn.Module):
    """Token ids to one feature vector a text.

    Args:
        bert: a network of transformers with a ``last_hidden_state``, such as ``BertModel``.
        pool: ``"cls"``: the last hidden state of the first token (released Sarcasm, models/basic_model.py:16-37).
            ``"pooler"``: the pooler's output, a linear layer and tanh on that state (released Twitter,
            models/backbone.py, ``TextEncoder``). ``"last"``: the state of the last token, for networks that look
            backwards only (OPT, LLaMA, CLIP's text model), whose first token has seen nothing of the text.
            ``"mean"``: the mean of all tokens' states. Where the pooler is not used, it is taken out.

    Attributes:
        feature_dim: length D of the feature vector, 768 for BERT-base.

    Raises:
        RecipeError: ``pool="pooler"`` of a network that has none.
    """

    def __init__(self, bert: nn.Module, *, pool: TextPooling):
        super().__init__()
        if pool == "pooler" and getattr(bert, "pooler", None) is None:
            raise RecipeError(
                f"a {type(bert).__name__} has no pooler: --set text_pooling=cls takes the state of the first token, "
                "text_pooling=last that of the last one (for networks that look backwards only)"
            )
        if pool != "pooler" and hasattr(bert, "pooler"):
            bert.register_module("pooler", None)
        self.bert = bert
        self.pool = pool
        self.takes_types = "token_type_ids" in inspect.signature(bert.forward).parameters
        config: Any = bert.config  # transformers', and each kind of network has a class of its own
        self.feature_dim: int = config.hidden_size

    def forward(self, text: Tensor | Mapping[str, Tensor]) -> Tensor:
        """A batch of :class:`bss.data.transforms.text.Tokens`, or (B, 3, L) int64 as such, to (B, D)."""
        tokens_B3L = text if isinstance(text, Tensor) else text["tokens"]
        ids_BL, mask_BL, types_BL = tokens_B3L.unbind(dim=1)
        types = {"token_type_ids": types_BL} if self.takes_types else {}
        output = self.bert(input_ids=ids_BL, attention_mask=mask_BL, **types)
        return output.pooler_output if self.pool == "pooler" else _pooled(output.last_hidden_state, mask_BL, self.pool)


def _pooled(states_BLD: Tensor, mask_BL: Tensor, pool: TextPooling) -> Tensor:
    """One state of each text, (B, D); texts are padded at the right."""
    if pool == "cls":
        return states_BLD[:, 0]
    if pool == "last":
        return states_BLD[torch.arange(len(states_BLD), device=states_BLD.device), mask_BL.sum(dim=1) - 1]
    weights_BL1 = mask_BL.unsqueeze(2).to(states_BLD.dtype)
    return (states_BLD * weights_BL1).sum(dim=1) / weights_BL1.sum(dim=1)


def text_encoder(model: str, root: Path, *, pool: TextPooling, pretrained: bool = True) -> TextEncoder:
    """A text encoder of a model that is named.

    Args:
        model: a folder, under ``root`` or the working directory, or a name on the Hugging Face hub.
        root: the data root.
        pool: see :class:`TextEncoder`.
        pretrained: load the model's weights; False takes only its shape, and draws weights from torch's default
            generator, see :func:`bss.utils.seeding.seeded`.

    Returns:
        A float32 encoder in training mode. BERT-base has 109,482,240 parameters in 199 entries, 108,891,648 in 197
        without its pooler.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.transforms.text.readable_model`; also weights that lack a part
            of the network (a pooler may be lacking: language models are published without one).
        RecipeError: see :class:`TextEncoder`.
    """
    from transformers import AutoModel

    config = load_config(model, root)
    if not pretrained:
        return TextEncoder(AutoModel.from_config(config, trust_remote_code=False), pool=pool).float().train()
    with readable_model(model, root) as source:
        bert, report = AutoModel.from_pretrained(source, output_loading_info=True, trust_remote_code=False)
    if missing := sorted(key for key in report["missing_keys"] if not key.startswith("pooler.")):
        raise DataError(
            f"text_model={model}: the weights in {source} lack {len(missing)} tensors of a {type(bert).__name__}, the "
            f"first is {missing[0]}; they belong to another network"
        )
    return TextEncoder(bert, pool=pool).float().train()
