"""ResNets for spectrograms (one channel) and frames (three channels, averaged over frames)."""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet


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
