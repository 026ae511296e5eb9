"""Networks as colleagues hand them over: files of their own, found by name in the tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu


class _Basic(nn.Module):
    """A residual block whose shortcut has no weights (option A of He et al., 2015)."""

    def __init__(self, taken: int, given: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(taken, given, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(given)
        self.conv2 = nn.Conv2d(given, given, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(given)
        self.stride, self.more = stride, given - taken

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.stride == 1 else pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))) + short)


class CifarResNet(nn.Module):
    def __init__(self, blocks: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(_Basic(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(_Basic(16, 32, 2), *(_Basic(32, 32, 1) for _ in range(blocks - 1)))
        self.layer3 = nn.Sequential(_Basic(32, 64, 2), *(_Basic(64, 64, 1) for _ in range(blocks - 1)))
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def resnet20(num_classes: int = 10) -> nn.Module:
    return CifarResNet(3, num_classes)


def resnet56() -> nn.Module:
    return CifarResNet(9)


class _Shuffle(nn.Module):
    def __init__(self, taken: int, given: int, stride: int) -> None:
        super().__init__()
        inner = given // 2
        made = given - taken if stride == 2 else inner
        self.stride = stride
        self.branch_main = nn.Sequential(
            nn.Conv2d(taken if stride == 2 else inner, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.Conv2d(inner, made, 1, bias=False),
            nn.BatchNorm2d(made),
            nn.ReLU(),
        )
        if stride == 2:
            self.branch_proj = nn.Sequential(
                nn.Conv2d(taken, taken, 3, 2, 1, groups=taken, bias=False),
                nn.BatchNorm2d(taken),
                nn.Conv2d(taken, taken, 1, bias=False),
                nn.BatchNorm2d(taken),
                nn.ReLU(),
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 2:
            return torch.cat([self.branch_proj(x), self.branch_main(x)], 1)
        n, c, h, w = x.shape
        kept, taken = x.reshape(n * c // 2, 2, h * w).permute(1, 0, 2).reshape(2, n, c // 2, h, w)
        return torch.cat([kept, self.branch_main(taken)], 1)


class ShuffleNetV2(nn.Module):
    """A backbone alone: images → maps."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 192)) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for place, (blocks, taken, given) in enumerate(zip((4, 8, 4), widths, widths[1:], strict=False)):
            stage = [_Shuffle(taken, given, 2), *(_Shuffle(given, given, 1) for _ in range(blocks - 1))]
            setattr(self, f"stage{place + 2}", nn.Sequential(*stage))

    def forward(self, x: Tensor) -> Tensor:
        return self.stage4(self.stage3(self.stage2(self.maxpool(self.first_conv(x)))))


def shufflenet() -> nn.Module:
    return ShuffleNetV2()


class Small(nn.Module):
    """Convolution → maps → pooled → classifier."""

    def __init__(self, width: int = 8, num_classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


def small(width: int = 8, num_classes: int = 5) -> nn.Module:
    return Small(width, num_classes)


class Ends(nn.Module):
    """The same, with something after its classifier."""

    def __init__(self, end: nn.Module, features: bool = False) -> None:
        super().__init__()
        self.small, self.end, self.features = Small(), end, features

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.small(x))


def softmaxed() -> nn.Module:
    return Ends(nn.Softmax(1))


def maps() -> nn.Module:
    return Small().features


def everywhere() -> nn.Module:
    """Classifies every place, then pools, as SqueezeNet does."""
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))


def broken(width: int = 0) -> nn.Module:
    return Small(1 // width)


def broken_forward() -> nn.Module:
    class Bad(Small):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("stem")

    return Bad()


def pair() -> tuple[nn.Module, object]:
    return nn.Linear(2, 3), lambda row: torch.as_tensor(row)[:2]


def nothing() -> None:
    return None


def weightless() -> nn.Module:
    return nn.Flatten()


def tokens() -> nn.Module:
    class Tokens(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.features(x).flatten(2)

    return Tokens()


COUNT = 3


def broken_pair() -> tuple[nn.Module, int]:
    return Small(), 3
