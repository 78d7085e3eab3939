"""Text encoders: BERT and its relatives through transformers."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from bss.data.transforms.text import load_config, readable_model
from bss.utils.errors import DataError, RecipeError

Pool = Literal["cls", "pooler"]


class TextEncoder(nn.Module):
    """Token ids to one feature vector a text.

    Args:
        bert: a network of transformers with a ``last_hidden_state``, such as ``BertModel``.
        pool: ``"cls"``: the last hidden state of the first token; the network's pooler is taken out (released Sarcasm,
            models/basic_model.py:16-37). ``"pooler"``: the pooler's output, a linear layer and tanh on that state
            (released Twitter, models/backbone.py, ``TextEncoder``).

    Attributes:
        feature_dim: length D of the feature vector, 768 for BERT-base.

    Raises:
        RecipeError: ``pool="pooler"`` of a network that has none.
    """

    def __init__(self, bert: nn.Module, *, pool: Pool):
        super().__init__()
        if pool == "pooler" and getattr(bert, "pooler", None) is None:
            raise RecipeError(f"a {type(bert).__name__} has no pooler, which this data set's text branch needs")
        if pool == "cls" and hasattr(bert, "pooler"):
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
        return output.last_hidden_state[:, 0] if self.pool == "cls" else output.pooler_output


def text_encoder(model: str, root: Path, *, pool: Pool, pretrained: bool = True) -> TextEncoder:
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
