"""Encoders: one modality's tensor to a feature vector."""

from bss.encoders.resnet import ResNetEncoder, resnet18, resnet50

__all__ = ["ResNetEncoder", "resnet18", "resnet50"]
