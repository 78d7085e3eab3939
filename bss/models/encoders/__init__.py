"""Encoders: one modality's tensor to a feature vector."""

import lazy_loader

# Listed in __init__.pyi, and imported when first used: torchvision and transformers take seconds, and few need both.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
