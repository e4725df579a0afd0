"""A finished generator: `Translator.load("ab.safetensors")(image)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..checkpoint import fit_weights, read_header, read_weights
from ..config import fill
from ..errors import UserError
from ..images import Pixels, from_pil, read, to_pil, to_pixels, to_tensor
from ..networks import GENERATORS, use_policy
from ..runtime import Runtime

Policy = Literal["image", "running", "paper"]


class Translator:
    """Translates images of any size; a result never depends on other images of a batch.

    `policy`: `image` (batch norm by the image's own statistics, no dropout) is the default;
    `running` takes the statistics gathered in training; `paper` is `image` with dropout on, as in
    pix2pix sec. 3.4, its noise drawn from `seed`, the same for each image.
    """

    def __init__(self, network: nn.Module, header: dict[str, Any], runtime: Runtime,
                 policy: Policy = "image", seed: int = 0):  # fmt: skip
        self.header, self.policy, self.seed = header, policy, seed
        self.channels_in, self.channels_out = header["channels"]
        self.network, self.runtime = network, runtime
        self.multiple, self.smallest = int(network.multiple), int(network.smallest)  # type: ignore[arg-type]
        runtime.place(network)
        use_policy(network, "running" if policy == "running" else "image", policy == "paper")

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", policy: Policy = "image",
             seed: int = 0) -> Translator:  # fmt: skip
        """A translator from the file that training wrote. Raises UserError for any other file."""
        path = Path(path)
        header = read_header(path)
        if header.get("kind") != "translator":
            raise UserError(f"{path} is a {header.get('kind')}, not a translator")
        settings = dict(header["generator"])
        name = settings.pop("name", None)
        if name not in GENERATORS:
            raise UserError(f"{path} holds a generator {name!r} that this version does not know")
        network_class, config_class = GENERATORS[name]
        network = network_class(fill(config_class, settings, str(path)), *header["channels"])
        fit_weights(network, read_weights(path), path)
        return cls(network, header, Runtime(device), policy, seed)

    def __call__(self, image: Any) -> Any:
        """Translate one image.

        A path or Pillow image gives a Pillow image; a uint8 array (h, w) or (h, w, channels) gives
        such an array; a tensor (channels, h, w) or (n, channels, h, w) in [-1, 1] gives a tensor.
        """
        if isinstance(image, str | Path):
            return to_pil(self.pixels([read(image, self.channels_in)])[0])
        if isinstance(image, Image.Image):
            return to_pil(self.pixels([from_pil(image, self.channels_in)])[0])
        if isinstance(image, Tensor):
            return self._tensor(image)
        if isinstance(image, np.ndarray):
            return self._array(image)
        raise UserError(f"an image is a path, a Pillow image, an array or a tensor, not {image!r}")

    def pixels(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Translate uint8 images (h, w, channels) of one size, in one batch."""
        made = self.tensor(torch.stack([to_tensor(image).float() for image in images]))
        return [to_pixels(one) for one in made]

    @torch.inference_mode()
    def tensor(self, images: Tensor) -> Tensor:
        """(n, channels in, h, w) in [-1, 1] -> (n, channels out, h, w): padded, cropped back."""
        height, width = images.shape[2:]
        images = images.to(self.runtime.device)
        for dim in (2, 3):
            images = _reflected(images, dim, self.multiple, self.smallest)
        if self.policy == "paper":
            made = torch.cat([self._noisy(one) for one in torch.split(images, 1)])
        else:
            made = self.network(images)
        return made[:, :, :height, :width].float().cpu()

    def _noisy(self, image: Tensor) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            out: Tensor = self.network(image)
            return out

    def _tensor(self, image: Tensor) -> Tensor:
        single = image.ndim == 3
        batch = image[None] if single else image
        if batch.ndim != 4 or batch.shape[1] != self.channels_in or not image.is_floating_point():
            raise UserError(
                f"a tensor is ({self.channels_in}, h, w) floats in [-1, 1], or n of them, "
                f"not {tuple(image.shape)} {image.dtype}"
            )
        made = self.tensor(batch.float())
        return made[0] if single else made

    def _array(self, image: Any) -> Pixels:
        array = image[:, :, None] if image.ndim == 2 else image
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != self.channels_in:
            raise UserError(
                f"an array is (h, w, {self.channels_in}) uint8, not {image.shape} {image.dtype}"
            )
        made = self.pixels([array])[0]
        return made[:, :, 0] if image.ndim == 2 and made.shape[2] == 1 else made


def _reflected(images: Tensor, dim: int, multiple: int, smallest: int) -> Tensor:
    """Mirror an axis beyond its end up to the next size that fits, however short it is."""
    size = images.shape[dim]
    wanted = max(smallest, -(-size // multiple) * multiple)
    if wanted == size:
        return images
    index = torch.arange(wanted, device=images.device)
    if size == 1:
        return images.index_select(dim, torch.zeros_like(index))
    index = index % (2 * size - 2)
    return images.index_select(dim, torch.where(index < size, index, 2 * size - 2 - index))
