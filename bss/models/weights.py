"""The initial weights of a network."""

from torch import nn

from bss.utils.seeding import seeded


def initialize(model: nn.Module, seed: int) -> nn.Module:
    """Draw the weights of all linear, convolution and BatchNorm layers anew, as a function of the seed alone.

    Returns the model. Other layers (attention) keep the weights that they were made with, so build the network inside
    :func:`bss.utils.seeding.seeded`.

    Linear: Xavier normal, bias 0. Conv2d: Kaiming normal, fan out, ReLU. BatchNorm2d: weight 1, bias 0.
    Source: ``weight_init`` of the released utils/utils.py, applied to KS, CREMA-D and NVGesture.
    """
    with seeded("initialize", seed):
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
    return model
