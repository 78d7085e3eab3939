"""What PyTorch computes wrongly in bfloat16 on some processors is refused, and nothing else is."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bss.models import precision as bf16
from bss.training.engine import fit
from bss.training.run import Run
from bss.utils.errors import TrainingError
from tests import tiny

KINDS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def convolution(size, *, kernel=3, stride=2):
    return KINDS[len(size)](4, 8, kernel, stride=stride, padding=kernel // 2).bfloat16(), torch.ones(
        2, 4, *size
    ).bfloat16()


@pytest.mark.parametrize("size", [(9, 1), (9, 2), (2, 1), (4, 7, 2)])
def test_a_strided_convolution_to_one_column_is_refused_by_name(size):
    layer, image = convolution(size)
    model = nn.Sequential(nn.Identity(), layer)
    remove = bf16.guard(model)
    with pytest.raises(TrainingError, match="precision=bf16: PyTorch computes the convolution 1 wrongly"):
        model(image)
    remove()
    model(image)


@pytest.mark.parametrize(
    ("size", "options"), [((9, 3), {}), ((2, 2), {}), ((9, 1), {"stride": 1}), ((9, 1), {"kernel": 1})], ids=str
)
def test_what_is_computed_rightly_passes_and_is_right(size, options):
    layer, image = convolution(size, **options)
    bf16.guard(layer)
    assert torch.allclose(layer(image).float(), layer.float()(image.float()), atol=0.05)


def test_fp32_passes():
    layer, image = convolution((9, 2))
    bf16.guard(layer.float())
    assert layer(image.float()).shape == (2, 8, 5, 1)


class Narrow(nn.Module):
    """The tiny network behind a convolution to one column."""

    def __init__(self):
        super().__init__()
        self.stem, self.network = nn.Conv2d(1, 5, 3, stride=2, padding=1), tiny.model()

    def forward(self, batch):
        column = batch["visual"].reshape(-1, 1, 5, 1)
        return self.network({**batch, "visual": self.stem(column).mean(dim=(2, 3))})


@pytest.mark.parametrize(
    ("precision", "amx", "refused"), [("bf16", True, True), ("bf16", False, False), ("fp32", True, False)]
)
def test_a_run_is_refused_where_the_processor_has_the_defect(tmp_path, monkeypatch, precision, amx, refused):
    monkeypatch.setattr(bf16, "affected", lambda: amx)
    recipe = replace(tiny.CL, epochs=1, precision=precision)
    run = Run(tmp_path, tmp_path, torch.device("cpu"))
    with torch.backends.mkldnn.flags(enabled=False):  # other kernels, which are right everywhere
        if refused:
            with pytest.raises(TrainingError, match="the convolution stem wrongly"):
                fit(Narrow(), tiny.splits(), recipe, run)
        else:
            fit(Narrow(), tiny.splits(), recipe, run)
