"""Texts: cleaning as the released code does it, tokenizers from a folder or the hub, and token ids made once."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from bss.data.batches import Content, Preview, batch_zeros
from bss.utils.choices import Cleaning
from bss.utils.errors import BssError, DataError, DataNotFoundError, RecipeError, first_line
from bss.utils.extras import need
from bss.utils.network import silence

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Tokens(Content):
    """A text as its token ids.

    Attributes:
        tokens_3L: (3, L) int64, one text of :func:`encode`; L is the same in a whole data set.
        text: the same for a person to read.
    """

    tokens_3L: Tensor
    text: str

    @classmethod
    def batch(cls, contents: Sequence[Self]) -> dict[str, Tensor]:
        """``"tokens"`` (B, 3, longest) int64: positions that are padding in the whole batch are cut off.

        A data set is padded to its longest text, a batch is rarely that long, and attention never looks there.
        """
        longest = max(int(content.tokens_3L[1].sum()) for content in contents)
        tokens_B3L = batch_zeros((len(contents), 3, longest), torch.int64)
        for row_3L, content in zip(tokens_B3L, contents, strict=True):
            row_3L.copy_(content.tokens_3L[:, :longest])
        return {"tokens": tokens_B3L}

    def preview(self) -> Preview:
        """The text."""
        return Preview(text=self.text)


_CAPTION = str.maketrans("-/", "  ", ",.'!?\"()*#:;~")


def clean_text(text: str, cleaning: Cleaning = "none", max_words: int | None = None) -> str:
    r"""A text with characters and words left out as the released code does it.

    Args:
        text: any text, the empty one included.
        cleaning: ``"none"`` keeps everything; ``"caption"`` makes small letters, leaves out ``,.'!?"()*#:;~`` and
            turns ``-`` and ``/`` into spaces (released code, Sarcasm/dataset/sarcasm.py:12-29); ``"letters"`` keeps
            whole words of the letters A to Z before that, so digits, emoji and words with an accent are lost
            (released code, Twitter/utils/utils.py:94-99).
        max_words: words beyond this number are cut off, 1 or more; None keeps all.

    Returns:
        Words with single spaces between them, or with ``"none"`` and None the text as it was. White space of every
        kind separates words; the released code takes a single tab or line feed for a part of a word, which no
        tokenizer sees (1 of the 24,635 texts of Sarcasm has one).
    """
    if cleaning == "none" and max_words is None:
        return text
    if cleaning == "letters":
        text = " ".join(re.findall(r"\b[A-Za-z]+\b", text))
    if cleaning != "none":
        text = text.lower().translate(_CAPTION).replace("<person>", "person")
    return " ".join(text.split()[:max_words])


def model_source(model: str, root: Path) -> Path | str:
    """Where a text model is: a folder under the data root, one under the working directory, or a name on the hub."""
    return next((folder for folder in (root / model, Path(model)) if folder.is_dir()), model)


@contextlib.contextmanager
def readable_model(model: str, root: Path) -> Iterator[Path | str]:
    """Hand out :func:`model_source`, and turn what transformers raises for a bad one into an error of ours.

    Raises:
        DataNotFoundError: neither a folder nor a name that the hub (or its cache) gives.
        DataError: a folder without the files of a text model, or with damaged ones.
    """
    source = model_source(model, root)
    if not isinstance(source, Path) and any(file.is_file() for file in (root / model, Path(model))):
        raise DataError(
            f"text_model={model} is a file; a text model is a folder with config.json, the tokenizer's files and "
            "model.safetensors (or pytorch_model.bin)"
        )
    if isinstance(source, str):
        source = _reached(source, root)
    try:
        yield source
    except BssError:
        raise  # said well already
    except Exception as error:
        # transformers 4 asks for protobuf, which nobody needs, while it handles what is wrong with a file.
        fault = error.__context__ if isinstance(error, ImportError) else error
        if fault is None or isinstance(fault, ImportError):
            raise  # a package that is not installed
        # transformers takes most of a file's content on trust, so that a wrong one raises whatever comes up.
        detail = first_line(fault)
        if not isinstance(fault, OSError | ValueError):
            detail = f"{type(fault).__name__}: {detail}"
        if isinstance(source, Path) and not (source / "tokenizer.json").is_file() and list(source.glob("*.model")):
            detail = (
                "its tokenizer is a SentencePiece file alone: install sentencepiece, or save the tokenizer where that "
                "is installed, by AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER), which writes "
                "tokenizer.json"
            )
        if isinstance(source, Path):
            raise DataError(
                f"text_model={model}: {source} is not a whole text model ({detail}).\n"
                "It needs config.json, the tokenizer's files and model.safetensors (the last not with "
                "text_pretrained=false)"
            ) from error
        raise _not_found(model, root, f"not from the hub ({detail})") from error


def _reached(name: str, root: Path) -> Path | str:
    """A name on the hub, or where its files are kept on this machine if the hub does not answer.

    transformers asks a hub that cannot be reached six times, for 24 s, before it looks there.

    Raises:
        DataNotFoundError: they are not.
    """
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or not (reason := silence(constants.ENDPOINT)):
        return name
    try:
        return Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    except (OSError, ValueError) as error:  # not kept; not a name that the hub can have
        raise _not_found(name, root, f"{constants.ENDPOINT} cannot be reached ({reason})") from error


def _not_found(model: str, root: Path, where: str) -> DataNotFoundError:
    return DataNotFoundError(
        f"text_model={model}: no such folder in {root} or the working directory, and {where}.\n"
        "Pass --set text_model=FOLDER with config.json, the tokenizer's files and model.safetensors"
    )


TEXT_KINDS = "BERT, RoBERTa, DeBERTa, GPT-2, OPT, LLaMA, XLNet, the encoder of T5, the text half of CLIP and their like"
"""Kinds of networks that read token ids alone, for errors."""


def load_config(model: str, root: Path) -> "PretrainedConfig":
    """The configuration of a text model: its type, shape and size. Code in its folder is not run, nor asked about.

    Of a network with a half for texts, as CLIP is, it is that of this half.

    Args:
        model: a folder, under ``root`` or the working directory, or a name on the Hugging Face hub.
        root: the data root.

    Raises:
        DataError, DataNotFoundError: see :func:`readable_model`; also a network that reads no texts.
    """
    need("a text model", "text")
    from transformers import AutoConfig

    with readable_model(model, root) as source:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        halves = getattr(config, "sub_configs", {})
        text = config if hasattr(config, "vocab_size") else getattr(config, "text_config", None)
    if text is None or not isinstance(getattr(text, "vocab_size", None), int):
        parts = f" (it is made of {', '.join(halves)})" if halves else ""
        raise DataError(
            f"text_model={model}: a network of the kind {config.model_type} reads no texts{parts}; {TEXT_KINDS} do"
        )
    return text


def load_tokenizer(model: str, root: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of a text model, which pads and truncates at the right, and takes "[SEP]" in a text for text.

    Its ``model_max_length`` is set to what both the tokenizer and the network's positions allow.

    Args:
        model: see :func:`load_config`.
        root: the data root.

    Raises:
        DataError, DataNotFoundError: see :func:`readable_model`; also a folder without a vocabulary, or with one that
            is larger than the network's.
    """
    from transformers import AutoTokenizer

    config = load_config(model, root)  # first: its error is the plainer one
    with readable_model(model, root) as source:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        limit = min(tokenizer.model_max_length, _positions(config) or tokenizer.model_max_length)
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):  # transformers makes an empty one without complaint
        raise DataError(f"text_model={model}: {source} has no vocabulary; it needs tokenizer.json or vocab.txt")
    if len(tokenizer) > config.vocab_size:
        raise DataError(
            f"text_model={model}: {source} has {len(tokenizer)} tokens, but its network has {config.vocab_size}; "
            "config.json and the tokenizer's files belong to different models"
        )
    if tokenizer.pad_token is None:  # LLaMA and GPT-2 have none; what is padding, the attention mask says
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.model_max_length = limit
    tokenizer.split_special_tokens = True
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


_SHIFTED = frozenset(
    "camembert data2vec-text esm ibert layoutlmv3 lilt longformer luke markuplm mpnet roberta roberta-prelayernorm "
    "xlm-roberta xlm-roberta-xl xmod".split()
)
"""Kinds whose first token has the position after that of padding (``create_position_ids_from_input_ids`` of fairseq).

Source: transformers 5.24, ``models/*/modeling_*.py``: a table of ``max_position_embeddings`` rows, in which those up to
the padding id are no position of a token."""


def _positions(config: "PretrainedConfig") -> int | None:
    """How many tokens a text may have by a network's table of positions; None where it has no table."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:  # T5 has none, XLNet -1: their positions are relative
        return None
    if config.model_type not in _SHIFTED or getattr(config, "position_embedding_type", "absolute") != "absolute":
        return positions
    padding = config.pad_token_id
    return positions - (1 if padding is None else padding) - 1


def write_text_model(model: str, root: Path, folder: Path) -> None:
    """Write a text model's shape and tokenizer, without its weights, into a folder that :func:`load_config` reads.

    Args:
        model: see :func:`load_config`.
        root: the data root.
        folder: made when missing.

    Raises:
        DataError, DataNotFoundError: see :func:`load_tokenizer`.
    """
    load_tokenizer(model, root)  # for its errors: what is written is as published, and it changes its own
    from transformers import AutoConfig, AutoTokenizer

    with readable_model(model, root) as source:
        AutoConfig.from_pretrained(source, trust_remote_code=False).save_pretrained(folder)
        AutoTokenizer.from_pretrained(source, trust_remote_code=False).save_pretrained(folder)


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    *,
    listed: Sequence[str],
    max_tokens: int | None = None,
    targets: Sequence[str] | None = None,
) -> Tensor:
    """Token ids of all texts at once, padded to the longest.

    Args:
        tokenizer: from :func:`load_tokenizer`.
        texts: N texts, at least one.
        listed: where each text is listed, for errors.
        max_tokens: texts are cut at the right to so many tokens, the special ones ([CLS], [SEP]) included; None cuts
            nothing (the released code passes 30 without switching truncation on, Sarcasm/train-CL.py:48).
        targets: second text of each pair, which is never cut.

    Returns:
        (N, 3, L) int64, L >= 1: input ids, attention mask (1 = token, 0 = padding) and token types (1 = target). A text
        of which the tokenizer makes no token has one all the same: that of a beginning, an end or padding.

    Raises:
        RecipeError: ``max_tokens`` beyond the model's positions.
        DataError: naming the row: a text longer than the model's positions, or a target that leaves no room for text.
    """
    texts = _without_control(tokenizer, texts)
    targets = None if targets is None else _without_control(tokenizer, targets)
    limit = tokenizer.model_max_length
    if max_tokens is not None and max_tokens > limit:
        raise RecipeError(f"max_tokens={max_tokens}, but the text model has {limit} positions")
    # A target is never cut, so its room is checked before: cutting the text to nothing would say nothing.
    if targets is not None:
        special = tokenizer.num_special_tokens_to_add(pair=True)
        lengths = map(len, tokenizer(targets, add_special_tokens=False, verbose=False)["input_ids"])
        for where, length in zip(listed, lengths, strict=True):
            if length + special >= (max_tokens or limit):
                raise DataError(
                    f"{where}: the target has {length} tokens, which leaves no room for the text in "
                    f"max_tokens={max_tokens or limit}: shorten it, or --set use_target=false"
                )
    # All texts at once, padded to the longest of the whole data set: a batch's padding then depends on no batch-mate.
    encoded = tokenizer(
        texts,
        targets,
        truncation=False if max_tokens is None else "only_first",
        max_length=max_tokens,
        padding="longest",
        return_attention_mask=True,
        return_tensors="pt",
        verbose=False,
    )
    ids_NL, mask_NL = encoded["input_ids"], encoded["attention_mask"]
    if ids_NL.shape[1] > limit:
        longest = int(mask_NL.sum(dim=1).argmax())
        raise DataError(
            f"{listed[longest]}: a text of {int(mask_NL[longest].sum())} tokens, but the text model has {limit} "
            f"positions: --set max_tokens={limit} cuts it"
        )
    types_NL = encoded.get("token_type_ids", torch.zeros_like(ids_NL))
    # A tokenizer without special tokens (GPT-2's) makes nothing of no text, which would have no feature.
    if not ids_NL.shape[1]:
        ids_NL, mask_NL, types_NL = (values_NL.new_zeros(len(texts), 1) for values_NL in (ids_NL, mask_NL, types_NL))
    empty_N = mask_NL.sum(dim=1) == 0
    ids_NL[empty_N, 0], mask_NL[empty_N, 0] = _stand_in(tokenizer), 1
    return torch.stack([ids_NL, mask_NL, types_NL], dim=1)


def _stand_in(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The token of a text without any: that of a beginning, an end, or padding."""
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return next((token for token in known if token is not None), 0)


def _without_control(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[str]:
    """Texts in which no word is a control token: a tweet that says "[SEP]" would end there.

    transformers 5 has ``split_special_tokens`` for that, which its tokenizers in Python ignore (those of BERT do). For
    them such a word is torn into two, of which BERT makes the same pieces as of the whole.
    """
    if tokenizer.is_fast:
        return list(texts)
    torn = {token: f"{token[0]} {token[1:]}" for token in tokenizer.all_special_tokens}
    pattern = re.compile("|".join(map(re.escape, torn)))
    return [pattern.sub(lambda found: torn[found[0]], text) for text in texts]
