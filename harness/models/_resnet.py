"""The torch modules behind `harness.models.resnet`, with torchvision's parameter names.

Lives here: layers and their initialisation. Must not: plans.
"""

from torch import Tensor, nn, ones

from harness.models.resnet import ResNet


class BasicBlock(nn.Module):
    """Two 3x3 convolutions: (B, inputs, H, W) -> (B, width, H / stride, W / stride)."""

    def __init__(self, inputs: int, width: int, stride: int, *, scaled: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride, scaled=scaled)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Residual plus shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(y)) + self.downsample(x))
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 (it strides), 1x1: (B, inputs, H, W) -> (B, 4 width, H / stride, W / stride)."""

    def __init__(self, inputs: int, width: int, stride: int, *, scaled: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(inputs, 4 * width, stride, scaled=scaled)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Residual plus shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        out: Tensor = self.relu(self.bn3(self.conv3(y)) + self.downsample(x))
        return out


class ResNetModule(nn.Module):
    """(B, 3, S, S) -> (B, classes)."""

    def __init__(self, spec: ResNet) -> None:
        super().__init__()
        small = spec.stem == "cifar"
        self.conv1 = nn.Conv2d(
            3, spec.stem_width, 3 if small else 7, 1 if small else 2, padding=1 if small else 3, bias=False
        )
        self.bn1 = nn.BatchNorm2d(spec.stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        entering = (spec.stem_width, *(width * spec.expansion for width in spec.widths))
        self.layer1 = _stage(spec, 0, entering[0], stride=1)
        self.layer2 = _stage(spec, 1, entering[1], stride=2)
        self.layer3 = _stage(spec, 2, entering[2], stride=2)
        self.layer4 = _stage(spec, 3, entering[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(entering[4], spec.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class ChannelScale(nn.Module):
    """(B, channels, H, W) times a learned factor for each channel, 1 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The product."""
        return x * self.weight


def _stage(spec: ResNet, stage: int, inputs: int, stride: int) -> nn.Sequential:
    block = BasicBlock if spec.expansion == 1 else Bottleneck
    width, later, scaled = spec.widths[stage], spec.blocks[stage] - 1, spec.shortcut_scale
    repeats = [block(width * spec.expansion, width, stride=1, scaled=scaled) for _ in range(later)]
    return nn.Sequential(block(inputs, width, stride, scaled=scaled), *repeats)


def _shortcut(inputs: int, outputs: int, stride: int, *, scaled: bool) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return ChannelScale(inputs) if scaled else nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
