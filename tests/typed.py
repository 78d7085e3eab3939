"""What the code of a user may say by our types: mypy reads it, and nothing runs it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

import bss
from bss.methods import Method
from bss.models import LateFusion, TwoStageNetwork
from bss.scoring.imbalance import contributions


class Samples(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        raise IndexError(index)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict()

    def encode(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        return {name: encoder(batch[name]) for name, encoder in self.encoders.items()}

    def decode(self, features_BD: Mapping[str, Tensor]) -> bss.Logits:
        return bss.Logits(features_BD["fused"], dict(features_BD))

    def forward(self, batch: Mapping[str, Any]) -> bss.Logits:
        return self.decode(self.encode(batch))


class Scaled(Method):
    def settings(self) -> dict[str, object]:
        return {**super().settings(), "scale": 2.0}


def any_map_style_data_set_gets_an_index(samples: Samples) -> list[bss.IndexedDataset]:
    return [bss.IndexedDataset(samples), bss.IndexedDataset(Subset(samples, [0]))]


def networks_of_one_s_own_qualify_as_ours_do(ours: LateFusion, own: Network, features: dict[str, Tensor]) -> None:
    networks: list[TwoStageNetwork] = [ours, own]
    for network in networks:
        contributions(network, features, features, features["target"], prediction="all")


def a_sampler_says_what_it_yields(table: bss.ScoreTable) -> list[int]:
    return list(bss.SelfPacedSampler(table.num_samples, table=table))
