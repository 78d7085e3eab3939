"""Text encoders: BERT and its relatives through transformers."""

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bss.data.transforms.text import TEXT_KINDS, load_config, readable_model
from bss.models.modes import device_of
from bss.models.weights import matched, read_weights
from bss.utils.choices import TextPooling
from bss.utils.errors import DataError, RecipeError, first_line


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
    from transformers import MODEL_MAPPING, AutoModel

    config = load_config(model, root)
    if type(config) not in MODEL_MAPPING:
        raise DataError(
            f"text_model={model}: transformers has no network for a {type(config).__name__} by itself; {TEXT_KINDS} do"
        )
    with readable_model(model, root) as source:
        if not pretrained:
            network, report = AutoModel.from_config(config, trust_remote_code=False), {}
        else:
            network, report = AutoModel.from_pretrained(
                source, config=config, output_loading_info=True, trust_remote_code=False
            )
    part, place = _of_tokens(network.float().eval(), model)
    used = [key for key in report.get("missing_keys", ()) if key.startswith(place) and not key.startswith("pooler.")]
    if used and not _loaded_behind_prefix(network, source):
        raise DataError(
            f"text_model={model}: the weights in {source} lack {len(used)} tensors of a {type(network).__name__}, "
            f"the first is {min(used)}; they belong to another network"
        )
    encoder = TextEncoder(part, pool=pool)
    if pool == "cls" and not _has_no_values(network) and not _first_sees_more(encoder.bert):
        warnings.warn(
            f"text_model={model}: the first token of a {type(network).__name__} sees nothing of the text behind it, "
            "and text_pooling=cls takes its state alone: --set text_pooling=last or mean",
            stacklevel=2,
        )
    return encoder.float().train()


_PROBE_2L = ((1, 2, 1), (1, 2, 2))  # ids that every vocabulary has; the two texts differ at their end


def _has_no_values(network: nn.Module) -> bool:
    """Whether it lies on the meta device, where transformers 4 cannot be called: it asks for a mask's values."""
    return device_of(network).type == "meta"


def _states(network: nn.Module) -> Tensor:
    """What a network makes of two short texts, (2, 3, D)."""
    ids_2L = torch.tensor(_PROBE_2L, device=device_of(network))
    with torch.no_grad():
        return network(input_ids=ids_2L, attention_mask=torch.ones_like(ids_2L)).last_hidden_state


def _of_tokens(network: nn.Module, model: str) -> tuple[nn.Module, tuple[str, ...]]:
    """What makes states of token ids alone: a network, or its encoder where it wants a second text to decode.

    Returns:
        It, and what the names of its tensors begin with in the network.

    Raises:
        DataError: neither does.
    """
    whole: Any = network  # transformers' own, which is more than a Module
    parts: list[tuple[nn.Module, tuple[str, ...]]] = [(network, ("",))]
    if getattr(whole.config, "is_encoder_decoder", False):
        parts.append((whole.get_encoder(), ("encoder.", "shared.")))
    if _has_no_values(network):
        return parts[-1]
    fault: Exception | None = None
    for part, place in parts:
        try:
            states = _states(part)
        except Exception as error:  # each kind asks in its own way for what is lacking
            fault = error
            continue
        if states.ndim == 3 and states.shape[:2] == (2, 3):
            return part, place
    why = f" ({first_line(fault)})" if fault else ""
    raise DataError(
        f"text_model={model}: a {type(network).__name__} makes no states of the token ids of a text alone{why}; "
        f"{TEXT_KINDS} do"
    ) from fault


def _first_sees_more(network: nn.Module) -> bool:
    """Whether the state of the first token depends on what is behind it."""
    one_D, other_D = _states(network.eval())[:, 0]
    return not torch.equal(one_D, other_D)


def _loaded_behind_prefix(network: nn.Module, source: Path | str) -> bool:
    """Load weights whose names begin with something else, see :func:`bss.models.weights.matched`, if they are such."""
    files = [Path(source) / name for name in ("model.safetensors", "pytorch_model.bin")]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return False
    wanted = {key: value for key, value in network.state_dict().items() if not key.startswith("pooler.")}
    # All names may begin alike (CLIP's text half in transformers 4): what else begins so is then the other half's.
    first = f"{next(iter(wanted)).partition('.')[0]}."
    shared = first if all(key.startswith(first) for key in wanted) else ""
    bare = {key.removeprefix(shared): value for key, value in wanted.items()}
    try:
        found = matched(read_weights(file), bare, ignored=("pooler.",))
    except DataError:
        return False
    network.load_state_dict({shared + key: value for key, value in found.items()}, strict=False)
    return True
