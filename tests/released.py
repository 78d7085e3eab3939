"""How the released networks call their layers, to show that ours have the same ones with the same shapes."""

from collections.abc import Mapping

from torch import Tensor

from bss.models.encoders.i3d import STEM

_AUDIOVISUAL = {
    "encoders.audio.resnet.": "audio_net.",
    "encoders.visual.resnet.": "visual_net.",
    "heads.audio.": "linear_a.",
    "heads.visual.": "linear_v.",
    "fusion.classifier.": "linear_last.",
}

# Task -> prefix of our state-dict keys -> prefix in the released network (with ``fusion="concat"``). Sources:
# Sarcasm/models/basic_model.py:12-24, Twitter/models/basic_model.py:6-20.
KEYS = {
    "cremad": _AUDIOVISUAL,
    "ks": _AUDIOVISUAL,
    "nvgesture": {
        "encoders.rgb.": "rgb_encoder.rgbmodel.",
        "encoders.flow.": "of_encoder.ofmodel.",
        "encoders.depth.": "depth_encoder.depthmodel.",
        f"encoders.depth.{STEM}.": f"depth_encoder.depthmodel.{STEM}_1.",
        "heads.rgb.": "cls_m1.",
        "heads.flow.": "cls_m2.",
        "heads.depth.": "cls_m3.",
        "fusion.classifier.": "cls_mm.",
    },
    "sarcasm": {
        "encoders.image.resnet.": "visual_net.",
        "encoders.image.fc.": "visual_net.fc.",
        "encoders.image.projection.": "fix.",
        "encoders.text.bert.": "text_net.",
        "heads.shared.": "cls_shared.",
        "fusion.classifier.": "cls_mm.",
    },
    "twitter15": {
        "encoders.image.": "visual_net.",
        "encoders.text.bert.bert.": "text_net.bert.",
        "encoders.text.projection.": "fc.",
        "heads.image.": "linear_img.",
        "heads.text.": "linear_txt.",
        "fusion.classifier.": "linear_last.",
    },
}


def renamed(state_dict: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """A state dict under other names: each key's longest matching prefix is replaced.

    Raises:
        ValueError: a key that no prefix matches, or two keys that become the same.
    """
    result: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        prefix = max((p for p in prefixes if key.startswith(p)), key=len, default=None)
        if prefix is None:
            raise ValueError(f"no prefix of {sorted(prefixes)} matches the key {key!r}")
        name = prefixes[prefix] + key[len(prefix) :]
        if name in result:
            raise ValueError(f"two keys become {name!r}")
        result[name] = value
    return result
