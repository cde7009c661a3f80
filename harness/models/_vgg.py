"""The torch module behind `harness.models.vgg`.

Lives here: layers and their initialisation. Must not: plans.
"""

from torch import Tensor, nn

from harness.models.vgg import VGG


class VGGModule(nn.Module):
    """(B, 3, S, S) -> (B, classes)."""

    def __init__(self, spec: VGG) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for number, block in enumerate(spec.blocks):
            if number > 0:
                layers.append(nn.MaxPool2d(2))
            for width in block:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(spec.pooled)
        self.classifier = _classifier(spec, channels * spec.pooled**2)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.classifier(self.pool(self.features(images)).flatten(1))
        return logits


def _classifier(spec: VGG, inputs: int) -> nn.Module:
    """(B, inputs) -> (B, classes); without hidden layers the last one itself, so that its name stays `classifier`."""
    layers: list[nn.Module] = []
    for size in spec.hidden:
        layers += [nn.Linear(inputs, size), nn.ReLU(inplace=True), nn.Dropout(spec.dropout)]
        inputs = size
    last = nn.Linear(inputs, spec.classes)
    return nn.Sequential(*layers, last) if layers else last
