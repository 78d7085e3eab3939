"""What a modality may be called: refused once, first, by whatever names it first."""

import pytest
import torch
from torch import nn

import bss
from bss.data import tensor_splits
from bss.models import FUSIONS, LateFusion
from bss.utils.errors import DataError

EVERYWHERE = ["label", "bss_index", "bss_keep", "bss_variant", "fused", "all", "right.eye", "", 3]
IN_MODULES = ["keys", "type", "forward", "training", "to"]
SAID = "a modality cannot be called {!r}: any text without a dot will do, but for 'all', 'fused', 'label'"


class Own(nn.Module):
    """A network without modules that bear its modalities' names."""

    def __init__(self, names):
        super().__init__()
        self.names = names
        self.layers = nn.ModuleList(nn.Linear(3, 2) for _ in names)

    def forward(self, batch):
        unimodal = {name: layer(batch["x"]) for name, layer in zip(self.names, self.layers, strict=True)}
        return bss.Logits(sum(unimodal.values()), unimodal)


def parts(names):
    return tensor_splits(
        {name: torch.randn(12, 3, generator=torch.Generator().manual_seed(0)) for name in names},
        torch.arange(12) % 2,
        train=range(8),
        val=range(8, 10),
        test=range(10, 12),
        names=[str(row) for row in range(12)],
        classes=("a", "b"),
    )


@pytest.mark.parametrize("name", EVERYWHERE + IN_MODULES, ids=str)
def test_a_network_of_modules_refuses_it(name):
    dims = {"audio": 3, name: 3}
    with pytest.raises(DataError) as refused:
        LateFusion({key: nn.Linear(3, 3) for key in dims}, nn.Identity(), 2, feature_dims=dims)
    assert str(refused.value).startswith(SAID.format(name)) and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["keys", "right.eye"])
@pytest.mark.parametrize("fusion", FUSIONS.values(), ids=list(FUSIONS))
def test_every_fusion_head_refuses_it(fusion, name):
    with pytest.raises(DataError, match="cannot be called"):
        fusion({"audio": 4, name: 4}, 2)


@pytest.mark.parametrize("name", EVERYWHERE, ids=str)
def test_samples_in_memory_refuse_what_else_a_sample_carries(name):
    with pytest.raises(DataError) as refused:
        parts(("audio", name))
    assert str(refused.value).startswith(SAID.format(name))


@pytest.mark.parametrize("name", ["keys", "right-eye", "right eye", "a/b", "eye_1", "Auge"])
def test_other_names_are_taken(name):
    assert name in parts(("audio", name)).train[0]
    if name != "keys":
        LateFusion({key: nn.Linear(3, 3) for key in ("a", name)}, nn.Identity(), 2, feature_dims={"a": 3, name: 3})


@pytest.mark.parametrize("name", ["fused", "all"])
def test_a_network_of_ones_own_with_a_head_of_another_ones_name_is_refused(name):
    from bss.models.modes import logits_and_target

    with pytest.raises(DataError, match=f"cannot be called '{name}'"):
        logits_and_target(Own(("audio", name)), {"x": torch.ones(2, 3), "label": torch.zeros(2)})
