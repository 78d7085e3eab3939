"""Encoders: one modality's tensor to a feature vector."""

from bss.encoders.i3d import I3DEncoder, load_i3d
from bss.encoders.resnet import ResNetEncoder, load_resnet50, resnet18, resnet50
from bss.encoders.text import TextEncoder, text_encoder

__all__ = [
    "I3DEncoder",
    "ResNetEncoder",
    "TextEncoder",
    "load_i3d",
    "load_resnet50",
    "resnet18",
    "resnet50",
    "text_encoder",
]
