"""The values that recipe fields and arguments choose among; the functions that take them say what they mean.

They live apart because recipes need no PyTorch, and the code that they choose among does.
"""

from typing import Literal

Space = Literal["probability", "logit"]


Normalize = Literal["minmax", "rank"]


Order = Literal["balanced_first", "imbalanced_first"]


Weighting = Literal["linear", "softmax"]


HistoryOf = Literal["scores", "balance"]


Criterion = Literal["both", "loss", "similarity"]


Similarity = Literal["prediction", "feature"]


Information = Literal["loss", "gradient"]


ScoringMode = Literal["calibrated", "batch", "eval", "train"]


OptimizerName = Literal["sgd", "adam", "adamw"]


LearningRateSchedule = Literal["step", "cosine", "constant"]


Precision = Literal["fp32", "bf16", "fp16"]


Prediction = Literal["all", "unimodal", "entropy", "fused"]


Masking = Literal["mean", "zero"]


FusionName = Literal["concat", "sum", "film", "gated", "cross-attention", "deep", "adapter"]


Normalization = Literal["imagenet", "clip", "none"]


Interpolation = Literal["bilinear", "bicubic"]


Cleaning = Literal["none", "caption", "letters"]


RGBInput = Literal["i3d", "bgr_imagenet"]


FlowInput = Literal["unit", "pixels"]


FlowWindow = Literal["shared", "whole"]


Pooling = Literal["clip", "first"]


TextPooling = Literal["cls", "pooler", "last", "mean"]
