"""A defect of PyTorch's bfloat16 convolutions on processors with AMX, and how runs are kept from it.

There a convolution with a stride whose result is one pixel wide reads memory that nobody wrote: NaN, or plausible
numbers that are wrong by several times their size, in the result or in the weights' gradient. Seen with torch 2.11.0 on
an Intel Xeon, in two and three dimensions, for kernels of 3 and 7, stride 2 and inputs of one or two columns. Wider
inputs, stride 1, kernels of 1, fp32, and two columns whose result is a single pixel were right. Of the recipes at their
full size no layer is so narrow; tiny pictures and sounds of a few frames make such. A like defect, with stride 3:
https://github.com/pytorch/pytorch/issues/169688

    conv, image = torch.nn.Conv2d(64, 128, 3, stride=2, padding=1), torch.randn(2, 64, 33, 2)
    print((conv.bfloat16()(image.bfloat16()).float() - conv.float()(image)).abs().max())  # 2.3

(0.005 with ``ONEDNN_MAX_CPU_ISA=AVX2`` in the environment.)
"""

import contextlib
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from bss.utils.choices import Precision
from bss.utils.errors import TrainingError


def affected() -> bool:
    """Whether this machine's processor computes bfloat16 convolutions with AMX."""
    return torch.cpu._is_amx_tile_supported()


def guard(model: nn.Module) -> Callable[[], None]:
    """Let every forward of a convolution that the defect concerns raise; returns what takes the guard away.

    The hooks look at shapes only: they cost microseconds.
    """
    handles = [
        module.register_forward_hook(partial(_refuse, name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if module.stride[-1] > 1 and module.kernel_size[-1] > 1
    ]

    def remove() -> None:
        for handle in handles:
            handle.remove()

    return remove


def _refuse(name: str, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
    narrow = output.shape[-1] == 1 and (output.shape[2:].numel() > 1 or inputs[0].shape[-1] == 1)
    if narrow and output.dtype == torch.bfloat16:
        raise TrainingError(
            f"precision=bf16: PyTorch computes the convolution {name} wrongly on this processor (AMX), for its result "
            "is one pixel wide:\nuse larger pictures or longer sounds, --set precision=fp32, or a GPU"
        )


def to_channels_last(model: nn.Module) -> None:
    """Lay the weights of 2-D convolutions out as NHWC, in place; what they are applied to follows them."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            # Not contiguous(): where both layouts are one (a single channel, a 1x1 kernel) it keeps the strides of the
            # other, and the convolution then goes by those: a spectrogram's first layer, the largest of a ResNet.
            parameter.data = parameter.data.to(memory_format=torch.channels_last)


# ---- small things --------------------------------------------------------------------------------------------------


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager:
    """Run the forward passes of a block in mixed precision; ``"fp32"`` leaves them, and an outer autocast, as they are.

    Only the network belongs inside: losses and scores are float32 or better, whatever its logits are.
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)
