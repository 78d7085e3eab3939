"""Balance-aware sequence sampling: choose the order in which a multimodal network sees its samples.

table = bss.ScoreTable(len(dataset))
sampler = bss.SelfPacedSampler(len(dataset), table=table, seed=0)
loader = DataLoader(bss.IndexedDataset(dataset), batch_size=32, sampler=sampler)
for epoch in range(epochs):
    sampler.set_epoch(epoch)
    for index, (audio, image, target) in loader:
        ...  # the usual step, from any model that gives one set of logits per modality and a fused one
        table.update(index, unimodal=[audio_logits, image_logits], fused=fused_logits, target=target)
    table.synchronize()
"""

from bss.data import IndexedDataset
from bss.hooks import attach
from bss.loops import score_dataset
from bss.models import Logits
from bss.pacing import (
    exponential_pacing,
    geometric_pacing,
    linear_pacing,
    logarithmic_pacing,
    root_pacing,
    step_pacing,
)
from bss.samplers import CurriculumSampler, RandomPacingSampler, SelfPacedSampler
from bss.scores import ScoreTable
from bss.scoring import (
    curriculum_order,
    difficulty,
    min_max,
    order_weights,
    prediction_similarity,
    sample_loss,
    weighted_order,
)

__version__ = "0.1.0"

__all__ = [
    "CurriculumSampler",
    "IndexedDataset",
    "Logits",
    "RandomPacingSampler",
    "ScoreTable",
    "SelfPacedSampler",
    "attach",
    "curriculum_order",
    "difficulty",
    "exponential_pacing",
    "geometric_pacing",
    "linear_pacing",
    "logarithmic_pacing",
    "min_max",
    "order_weights",
    "prediction_similarity",
    "root_pacing",
    "sample_loss",
    "score_dataset",
    "step_pacing",
    "weighted_order",
]
