"""ResNets for spectrograms (one channel) and frames (three channels, averaged over frames)."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet, ResNet50_Weights

from bss.models.weights import matched, read_weights
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from bss.utils.network import silence

_CLASSIFIER = "fc."


class ResNetEncoder(ResNet):
    """torchvision's ResNet without its classifier, with any number of input channels and any width.

    At ``width=64`` its state dict has torchvision's keys and shapes without ``fc`` (and, for one channel, a
    (64, 1, 7, 7) stem): 120 entries and 11,176,512 parameters for ResNet-18 (11,170,240 with one channel), 318 and
    23,508,032 for ResNet-50. The backbone of the released code has the same keys, so its state dict loads without
    renaming once the prefix of its place in the network (``audio_net.``, ``visual_net.``) is cut off.

    Args:
        block: torchvision's ``BasicBlock`` or ``Bottleneck``.
        layers: blocks in each of the four stages.
        in_channels: channels of the input.
        width: channels of the first stage; later stages double it.

    Attributes:
        feature_dim: length D of the feature vector: 512 for ResNet-18, 2048 for ResNet-50 at width 64.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, int, int, int],
        *,
        in_channels: int = 3,
        width: int = 64,
    ):
        nn.Module.__init__(self)  # ResNet.__init__ fixes the widths; its layer builder and initialisation are reused
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = width, 1, 1, 64
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, width, layers[0])
        self.layer2 = self._make_layer(block, 2 * width, layers[1], stride=2)
        self.layer3 = self._make_layer(block, 4 * width, layers[2], stride=2)
        self.layer4 = self._make_layer(block, 8 * width, layers[3], stride=2)
        self.feature_dim = 8 * width * block.expansion

    def feature_map(self, images_BCHW: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, D, ceil(H / 32), ceil(W / 32))."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images_BCHW))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W), or (B, channels, T, H, W) for T frames, to (B, D), averaged over space and frames.

        Raises:
            ValueError: another number of axes.
        """
        if images.ndim == 4:
            return self.feature_map(images).mean(dim=(2, 3))
        if images.ndim == 5:
            frames = images.shape[2]
            flat = images.transpose(1, 2).flatten(0, 1)
            return self.feature_map(flat).mean(dim=(2, 3)).unflatten(0, (-1, frames)).mean(dim=1)
        raise ValueError(f"images must be (B, channels, H, W) or (B, channels, T, H, W), got {tuple(images.shape)}")


def resnet18(*, in_channels: int = 3, width: int = 64) -> ResNetEncoder:
    """ResNet-18, D = 8 * width. 11.2 M parameters at width 64."""
    return ResNetEncoder(BasicBlock, (2, 2, 2, 2), in_channels=in_channels, width=width)


def resnet50(*, in_channels: int = 3, width: int = 64) -> ResNetEncoder:
    """ResNet-50, D = 32 * width. 23.5 M parameters at width 64."""
    return ResNetEncoder(Bottleneck, (3, 4, 6, 3), in_channels=in_channels, width=width)


def resnet50_weights(weights: str, root: Path) -> dict[str, Tensor]:
    """The state dict of torchvision's ResNet-50 with its classifier ``fc``: 320 entries.

    Args:
        weights: ``"imagenet"``: torchvision's ImageNet weights, version 1 (``resnet50-0676ba61.pth``, the released
            code's), downloaded once into torch's cache; or a file under ``root`` or the working directory, in any form
            that :func:`bss.models.weights.read_weights` reads.
        root: the data root.

    Raises:
        DataNotFoundError: no such file, or the download failed.
        DataError: the file holds no state dict.
    """
    if weights == "imagenet":
        url = ResNet50_Weights.IMAGENET1K_V1.url
        try:
            kept = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
            if not kept.is_file() and (reason := silence(url)):  # torchvision would wait for minutes
                raise OSError(reason)
            return ResNet50_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:  # no network, a full disk; a damaged download
            raise DataNotFoundError(
                f"image_weights=imagenet: {url} did not arrive ({error}).\n"
                "Fetch it elsewhere and pass --set image_weights=FILE, or start from random weights: "
                "--set image_weights=none"
            ) from error
    path = next((file for file in (root / weights, Path(weights)) if file.is_file()), None)
    if path is None:
        raise DataNotFoundError(
            f"image_weights={weights}: no such file in {root} or the working directory.\n"
            "Pass --set image_weights=FILE, imagenet (downloads torchvision's), or none (random weights)"
        )
    try:
        return read_weights(path)
    except DataError as error:
        detail = str(error).removeprefix(f"{path}: ")
        raise DataError(f"image_weights={weights}: {path} is not a file of weights: {detail}") from error


def load_resnet50(encoder: ResNetEncoder, weights: str, root: Path, *, classifier: nn.Linear | None = None) -> None:
    """Load pretrained weights into a ResNet-50 of width 64.

    Args:
        encoder: from :func:`resnet50`.
        weights: see :func:`resnet50_weights`.
        root: the data root.
        classifier: takes the ImageNet classifier ``fc``, 2048 to 1000; None leaves it out.

    Raises:
        DataError, DataNotFoundError: see :func:`resnet50_weights`; also for weights of another network.
        RecipeError: an encoder of another width.
    """
    if encoder.feature_dim != 2048:
        raise RecipeError(f"image_weights={weights} needs width=64; start a narrower one with --set image_weights=none")
    state = resnet50_weights(weights, root)
    wanted = dict(encoder.state_dict())
    if classifier is not None:
        wanted |= {f"{_CLASSIFIER}{name}": value for name, value in classifier.state_dict().items()}
    try:
        found = matched(state, wanted, ignored=(_CLASSIFIER,))
    except DataError as error:
        raise DataError(f"image_weights={weights}: not the weights of a ResNet-50 with fc: {error}") from error
    head = {name: found.pop(name) for name in list(found) if name.startswith(_CLASSIFIER)}
    encoder.load_state_dict(found, strict=False)  # matched has looked, and weights of old may lack counters
    if classifier is not None:
        classifier.load_state_dict({name.removeprefix(_CLASSIFIER): value for name, value in head.items()})
