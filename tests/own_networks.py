"""Methods, a generator and discriminators as a user may define them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from viceversa.losses import GAN_LOSSES, GANLoss
from viceversa.methods import Batch, Discriminator, Method, Turn
from viceversa.networks import PatchGAN, PatchGrid


class OneWay(Method):
    """Unpaired method with one generator, one discriminator and no cycle."""

    paired: ClassVar[bool] = False

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(
        self, config: Config, channels: tuple[int, int], generator: Any, discriminator: Any
    ):
        super().__init__()
        self.gan = GAN_LOSSES["hinge"]
        self.generator, self.critic = generator(*channels), discriminator(channels[1])

    def players(self) -> dict[str, list[nn.Module]]:
        return {"critic": [self.critic], "generator": [self.generator]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.generator}

    def discriminators(self) -> dict[str, Discriminator]:
        return {"b": Discriminator(self.critic, conditional=False)}

    @property
    def objective(self) -> GANLoss:
        return self.gan

    def step(self, batch: Batch) -> Iterator[Turn]:
        fake = self.generator(batch.a)
        real_scores, fake_scores = self.critic(batch.b), self.critic(fake.detach())
        yield "critic", {"total": self.gan.real(real_scores) + self.gan.fake(fake_scores)}
        yield "generator", {"fool": self.gan.fool(self.critic(fake))}
        yield None, {"brightness": fake.detach().mean()}


class Regression(Method):
    """Paired method without a discriminator."""

    paired: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(
        self, config: Config, channels: tuple[int, int], generator: Any, discriminator: Any
    ):
        super().__init__()
        self.network = generator(*channels)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"network": [self.network]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.network}

    def step(self, batch: Batch) -> Iterator[Turn]:
        yield "network", {"mse": (self.network(batch.a) - batch.b).square().mean()}


class Plain(nn.Module):
    """A generator that is one convolution; height and width must be even."""

    multiple, smallest = 2, 4

    @dataclass(frozen=True)
    class Config:
        kernel: int = 3

    def __init__(self, config: Config, channels_in: int, channels_out: int):
        super().__init__()
        self.convolution = nn.Conv2d(
            channels_in, channels_out, config.kernel, padding=config.kernel // 2
        )

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        return [self.convolution(x) for _ in layers]

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        return [self.convolution.out_channels for _ in layers]

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError("an odd size")
        return self.convolution(x).tanh()


class MultiScale(nn.Module):
    """PatchGANs at two scales; the patch grid is that of the finer one."""

    @dataclass(frozen=True)
    class Config:
        width: int = 2

    def __init__(self, config: Config, channels_in: int):
        super().__init__()
        settings = PatchGAN.Config(width=config.width, layers=1, norm="instance")
        self.scales = nn.ModuleList(PatchGAN(settings, channels_in) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.scales[0](x) + self.scales[1](F.avg_pool2d(x, 2))

    def features(self, x: Tensor) -> list[Tensor]:
        return self.scales[0].features(x) + self.scales[1].features(F.avg_pool2d(x, 2))

    def patch_grid(self, height: int, width: int) -> PatchGrid:
        return self.scales[0].patch_grid(height, width)


class Whole(nn.Module):
    """A discriminator without a patch grid: one score of the mean color."""

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(self, config: Config, channels_in: int):
        super().__init__()
        self.linear = nn.Linear(channels_in, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.linear(x.mean((2, 3)))]
