"""Text encoders that give one feature for all texts, of each kind of network that looks backwards only."""

from types import SimpleNamespace

import pytest
import torch
import transformers
from torch import nn

from bss.models.encoders.text import TextEncoder
from bss.models.fusion import ConcatFusion
from bss.models.late_fusion import LateFusion
from bss.training.trial import check_texts
from bss.utils.errors import RecipeError
from bss.utils.seeding import seeded
from tests.conftest import random_states

SIZE = {"vocab_size": 32, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
WIDTH = {"intermediate_size": 16, "max_position_embeddings": 16}
NETWORKS = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**SIZE, **WIDTH)),
    "opt": lambda: transformers.OPTModel(
        transformers.OPTConfig(**SIZE, ffn_dim=16, max_position_embeddings=16, word_embed_proj_dim=8)
    ),
    "llama": lambda: transformers.LlamaModel(transformers.LlamaConfig(**SIZE, **WIDTH)),
    "gpt2": lambda: transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=32, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    ),
    "clip": lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(**SIZE, **WIDTH)),
}
IDS = torch.tensor([[1, 5, 6, 7, 2], [1, 8, 9, 2, 0], [1, 5, 9, 4, 2]])
TOKENS = torch.stack([IDS, (IDS > 0).long(), torch.zeros_like(IDS)], dim=1)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    with seeded("test", 0):
        return request.param, NETWORKS[request.param]()


def fused(encoder, dim=8):
    dims = {"image": 4, "text": dim}
    return LateFusion({"image": nn.Linear(2, 4), "text": encoder}, ConcatFusion(dims, 3), 3, feature_dims=dims)


def data(tokens=TOKENS):
    return SimpleNamespace(train=SimpleNamespace(tokens_N3L=tokens))


@pytest.mark.parametrize("pool", ["cls", "last", "mean"])
def test_a_first_token_that_has_seen_nothing_of_the_text_is_refused_with_the_way_out(network, pool):
    name, text_model = network
    model = fused(TextEncoder(text_model, pool=pool)).train()
    before = random_states()
    if pool == "cls" and name != "bert":
        with pytest.raises(RecipeError, match=r"(?s)one feature for two texts.*--set text_pooling=last"):
            check_texts(model, data())
    else:
        check_texts(model, data())
    assert random_states() == before
    assert all(module.training for module in model.modules())


def test_what_knows_no_texts_is_passed_over():
    constant = fused(nn.Sequential(nn.Flatten(), nn.LazyLinear(8)))
    check_texts(constant, SimpleNamespace(train=[]))
    check_texts(nn.Linear(2, 2), data())
    check_texts(constant, data(TOKENS[:1].repeat(3, 1, 1)))  # all texts are one
