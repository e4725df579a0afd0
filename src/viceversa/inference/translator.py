"""Translation by a trained generator: `Translator.load("ab.safetensors")(image)`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..checkpoint import read_header, translator_file
from ..config.speed import InferencePrecision
from ..errors import UserError
from ..fields import ImageSize, listed
from ..images import Pixels, Source, Tags, suffix_for
from ..images.domain import Domain
from ..images.loading import to_domain_pixels
from ..images.nodata import value_for_dtype
from ..images.preprocessing import Part, Preprocessing
from ..images.values import fill_nodata
from ..images.zarr_rows import write_image
from ..networks.config import Policy
from ..networks.noise import seed_dropout
from ..networks.norms import use_policy
from ..networks.sizes import multiple_of
from ..runtime.device import prepare_device
from .batches import batches, shape_as
from .exported import checked_device
from .forward import check_tensor, forward
from .masked import with_alpha
from .model_files import description, load_generator, read_domain
from .pixels import to_files, to_network
from .precision import inference_precision
from .spread import forward_with_spread

LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".npy", ".zarr")  # lossy formats mix classes
UNKNOWN = Preprocessing()


class Translator:
    """Translator of images of any size; a result never depends on other images of a batch.

    Threads may share a translator: a call changes no state, and draws no global random number. If
    a process forks after torch has computed in it, the child must not translate, since the threads
    of torch do not survive a fork: load the translator in each process, or start processes with the
    method `spawn` or `forkserver`.

    Args:
        network: The generator; it is set to eval mode in place.
        source: Domain of the images.
        target: Domain of the results: their channels, dtype and value range.
        device: `auto` or a torch device.
        policy: `image` (batch norm with the statistics of the image, no dropout), `running` (batch
            norm with the statistics of training, no dropout), or `paper` (like `image`, but with
            dropout: pix2pix sec. 3.4).
        seed: Seed of the dropout of policy `paper`, the same for each image.
        max_megapixels: Maximum size of an image.
        preprocessing: Preparation of files in training.
        size: Size to translate at: `own`, `trained`, or pixels as `256` or `256,512` (h,w).
        precision: `fp32`; `bf16` or `fp16` (autocast); `auto`: bf16 if results have 8 bits and the
            device supports it natively, else fp32.
    """

    def __init__(
        self,
        network: nn.Module,
        source: Domain,
        target: Domain,
        device: str = "auto",
        policy: Policy = "image",
        seed: int = 0,
        max_megapixels: int = 64,
        preprocessing: Preprocessing = UNKNOWN,
        size: str = "own",
        precision: InferencePrecision = "fp32",
    ) -> None:
        self.source, self.target, self.policy, self.seed = source, target, policy, seed
        self.max_megapixels, self.preprocessing, self.size = max_megapixels, preprocessing, size
        self.network, self.device = network, prepare_device(device)
        self.precision, self.precision_reason = inference_precision(
            precision, self.device, target.dtype
        )
        self.description = type(network).__name__
        if policy == "paper":
            seed_dropout(network)
        network.to(self.device)
        use_policy(network, "running" if policy == "running" else "image", policy == "paper")

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        policy: Policy = "image",
        seed: int = 0,
        max_megapixels: int = 64,
        size: str | ImageSize = "own",
        flips: bool = False,
        precision: InferencePrecision = "fp32",
    ) -> Translator:
        """Load a translator from the file that training or `viceversa ensemble` wrote.

        Args:
            path: The model file, a run folder with one translator, or a file of `viceversa export`.
            device: `auto` or a torch device.
            policy: Batch norm and dropout at inference, see the class.
            seed: Seed of the dropout of policy `paper`.
            max_megapixels: Maximum size of an image.
            size: Size at which images are translated: `own`, `trained` (resized as in training, not
                cropped), or pixels: one number, or (height, width). Tensors are never resized.
            flips: Test-time augmentation: average the outputs for the image and for its mirror
                images; the flips are those of training.
            precision: Precision of the network, see the class.

        Raises:
            UserError: The file is not a translator, or an argument is invalid.
        """
        path, size = translator_file(Path(path)), listed(size)
        if policy not in get_args(Policy):
            raise UserError(f"policy is one of {', '.join(get_args(Policy))}, not {policy!r}")
        if not 0 <= seed < 2**63:
            raise UserError(f"the seed must be from 0 to 2**63 - 1, not {seed}", option="--seed")
        header = read_header(path)
        if header.get("kind") not in ("translator", "ensemble"):
            raise UserError(f"{path} is a {header.get('kind')}, not a translator", path=path)
        source, target = (read_domain(header, key, path) for key in ("source", "target"))
        preprocessing = Preprocessing.of(header)
        preprocessing.check(size, path, max_megapixels * 10**6)
        device, precision = checked_device(device, header, path, policy, precision)
        network = load_generator(header, (source, target), path, flips)
        settings = device, policy, seed, max_megapixels, preprocessing, size, precision
        translator = cls(network, source, target, *settings)
        translator.description = description(header, path)
        return translator

    def __repr__(self) -> str:
        """Return model, direction, channels, supported sizes, policy and device in one line."""
        before, after = (f"{one.config.width}x {one.dtype}" for one in (self.source, self.target))
        return (
            f"Translator({self.description}; channels {before} -> {after}, sizes padded to "
            f"multiples of {multiple_of(self.network)}, policy {self.policy}, "
            f"{self.precision.name} on {self.device})"
        )

    @overload
    def __call__(self, image: Tensor, half: Part = None, batch_size: int = 8) -> Tensor: ...
    @overload
    def __call__(
        self, image: NDArray[Any], half: Part = None, batch_size: int = 8
    ) -> NDArray[Any]: ...
    @overload
    def __call__(
        self, image: list[Any] | tuple[Any, ...], half: Part = None, batch_size: int = 8
    ) -> list[Any]: ...
    @overload
    def __call__(self, image: Any, half: Part = None, batch_size: int = 8) -> Any: ...

    def __call__(self, image: Any, half: Part = None, batch_size: int = 8) -> Any:
        """Translate one image, or several.

        Args:
            image: A path, the bytes of an image file, a file object opened in binary mode, a Pillow
                image, an array (h, w) or (h, w, channels) with the values of a file (uint8, uint16,
                int16 or float32), or a tensor (channels, h, w) in [-1, 1]. Several: a tensor
                (n, channels, h, w), an array (n, h, w, channels), or a list, tuple or iterator of
                images of any kind and size.
            half: Part of an image to translate, `left`, `right` or `whole`, if it has the shape of
                a training file with A and B side by side. Not for tensors.
            batch_size: Images of a list, iterator or array that are translated at once, if they
                have the same size. It changes speed and memory, not the results.

        Returns:
            A tensor on the CPU for a tensor, an array for an array; else a Pillow image if one can
            hold the result (8 bits, grey or RGB) and an array if not. A list for a list or tuple.
            An iterator for an iterator: it reads as many images ahead as a batch has, and an
            error in an image is raised in its place.

        Raises:
            UserError: The image is damaged, empty, too large, has several frames or non-finite
                values, does not fit the model, or the output is not finite.
        """
        if isinstance(image, Tensor):
            return self._tensor(image)
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, not {batch_size}", option="batch_size")
        if isinstance(image, np.ndarray) and image.ndim == 4:
            if not len(image):
                raise UserError(f"the array is empty: {image.shape}")
            return np.stack(list(self._each(image, half, batch_size)))
        if isinstance(image, list | tuple):
            return list(self._each(image, half, batch_size))
        if isinstance(image, Iterator) and not hasattr(image, "read"):
            return self._each(image, half, batch_size)
        return next(self._each([image], half, 1))

    def save(self, image: Any, path: str | Path, half: Part = None) -> Path:
        """Translate one image and write the result to a file, atomically.

        The file has the dtype, channels, ICC profile and no-data value of the target domain. An
        existing file is replaced. GeoTIFF tags are kept by `viceversa translate` only.

        Args:
            image: An image as for a call, except tensors.
            path: The file; its extension chooses the format.
            half: As for a call.

        Returns:
            The path.

        Raises:
            UserError: As a call; or the format cannot store the result, or the file cannot be
                written.
        """
        path = Path(path)
        if isinstance(image, Tensor | list | tuple | Iterator) and not hasattr(image, "read"):
            raise UserError("save takes one image: a path, bytes, a Pillow image or an array")
        if (fits := self.suffix(path.suffix)) != path.suffix:
            raise UserError(
                f"{path}: this format cannot store the output of the model; name the file "
                f"{path.with_suffix(fits).name}",
                path=path,
            )
        pixels = self.preprocess(self.read(image), half)
        output, alpha = with_alpha(
            self.pixels([pixels])[0], pixels, self.source, self.target, path.suffix
        )
        labels = self.target.config.kind == "labels"
        write_image(path, output, self.tags, alpha, labels)
        return path

    def _each(self, images: Iterable[Any], half: Part, batch_size: int) -> Iterator[Any]:
        """Yield the results of images of any kind, in their order."""

        def prepared(image: Any) -> Pixels | None:
            tensor = isinstance(image, Tensor)
            return None if tensor else self.preprocess(self.read(image), half)

        for given, pixels in batches(images, prepared, batch_size):
            if pixels is None:
                yield from map(self._tensor, given)
                continue
            for image, output in zip(given, self.pixels(pixels), strict=True):
                yield shape_as(image, output)

    def read(self, image: Any, mask: Source | None = None) -> Pixels:
        """Read an image, of a path with a mask file, as (h, w, channels). Raises UserError."""
        source, most = self.source, self.max_megapixels * 10**6
        return to_domain_pixels(image, source.config, most, source.nodata_value, mask)

    @property
    def tags(self) -> Tags:
        """ICC profile, metadata and no-data value of results, if all training targets agree."""
        target = self.target
        kept = value_for_dtype(target.dtype, target.nodata) is not None
        return Tags(target.profile, target.metadata, target.nodata if kept else "")

    def preprocess(self, pixels: Pixels, half: Part = None, name: object = "the image") -> Pixels:
        """Return the chosen half of an image at the size to translate. Raises UserError."""
        part = self.preprocessing.part(pixels, half, name)
        return self.preprocessing.resized(part, self.size, self.source.config)

    def suffix(self, suffix: str) -> str:
        """Return the suffix of a result: that of the image if its format supports the result."""
        config = self.target.config
        if config.kind == "labels" and suffix.lower() not in LOSSLESS:
            suffix = ".png"
        return suffix_for(suffix, (self.target.dtype, config.file_channels))

    def pixels(
        self, images: Sequence[Pixels], spreads: list[NDArray[np.float32]] | None = None
    ) -> list[Pixels]:
        """Translate a batch of images (h, w, channels) of one size and dtype, with values of files.

        Where all channels of an image are masked, the result has the no-data value of the target
        or, if it has none, its `nodata_fill`. The spread of each image is appended to `spreads`,
        see `with_spread`; it is 0 there.
        """
        values = to_network(images, self.source)
        result = self.tensor(fill_nodata(values, self.source), spreads)
        return to_files(result, values, self.source, self.target, self.tags.nodata, spreads)

    def tensor(self, images: Tensor, spreads: list[NDArray[np.float32]] | None = None) -> Tensor:
        """Translate a batch (n, channels, h, w) in [-1, 1]; append the spreads as `pixels`."""
        seed = self.seed if self.policy == "paper" else None
        images = images.to(self.device)
        with self.precision.autocast():
            if spreads is None:
                return forward(self.network, images, seed)
            return forward_with_spread(self.network, images, seed, spreads)

    def _tensor(self, image: Tensor) -> Tensor:
        single = image.ndim == 3
        batch = image[None] if single else image
        check_tensor(image, batch, self.source.config.width, self.max_megapixels * 10**6)
        output = self.tensor(batch.float())
        return output[0] if single else output
