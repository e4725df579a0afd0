"""Files of feature networks: which exist, where they are stored, and their known digests.

FID and LPIPS can only be compared if computed with the published weights, so a file with another
SHA-256 is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import nn

from ...checkpoint import load_network, read_header
from ...errors import UserError
from ...files import sha256, user_cache
from .inception import Inception
from .lpips_networks import alexnet, vgg


class Network(NamedTuple):
    """A feature network."""

    make: Callable[[], nn.Module]
    sha256: str
    """Of its file."""
    megabytes: int
    purpose: str
    licence: str
    """SPDX expression, as stated by its authors."""


NETWORKS: dict[str, Network] = {
    "inception": Network(
        Inception,
        "412aca40cbcdff83649a87c5ef71616dc2d91578237d2def93ca064920efe3a3",
        87,
        "FID and KID",
        "Apache-2.0",
    ),
    "alexnet": Network(
        alexnet,
        "5b3e1b9e5614ed89b0b45a5bdbab31d05774586201d83b1c6452746b66507601",
        10,
        "LPIPS, and the perceptual loss",
        "BSD-3-Clause AND BSD-2-Clause",
    ),
    "vgg": Network(
        vgg,
        "65a2b66dbca68d00521483dff67b33b80691f433d1d7c4b3af48d18d414d2e4d",
        59,
        "the perceptual loss, and LPIPS as some papers report it",
        "BSD-3-Clause AND BSD-2-Clause",
    ),
}
NAMES = tuple(NETWORKS)
NO_FOLDER = (
    "feature networks are kept in the user's cache folder, and HOME is not set; set HOME, or name "
    "a folder (viceversa features --to, --features, validate.features)"
)


def user_folder() -> Path | None:
    """Return the folder of networks in the user's cache; None if there is no home folder."""
    cache = user_cache()
    return None if cache is None else cache / "features"


def find(name: str, folder: Path | None = None) -> Path | None:
    """Return the file of a network in `folder`, by default the user's cache; None if it is absent.

    Raises UserError for an unknown name.
    """
    file, folder = file_name(name), folder or user_folder()
    return folder / file if folder is not None and (folder / file).is_file() else None


def load(name: str, folder: Path | None = None) -> tuple[nn.Module, str]:
    """Load a frozen network on the CPU.

    Args:
        name: One of NAMES.
        folder: As of `find`.

    Returns:
        The network in eval mode, and the SHA-256 of its file.

    Raises:
        UserError: The file is absent, damaged, or has other weights.
    """
    path, known = find(name, folder), NETWORKS[name]
    if path is None:
        folder, option = folder or user_folder(), f" --to {folder}" if folder else ""
        if folder is None:
            raise UserError(f"{known.purpose}: {NO_FOLDER}")
        raise UserError(
            f"{known.purpose}: the network {folder / file_name(name)} is not there; get it with: "
            f"viceversa features --get {name}{option}",
            path=folder / file_name(name),
        )
    header = read_header(path)
    if (header.get("kind"), header.get("name")) != ("features", name):
        raise UserError(
            f"{path} contains {header.get('name') or header.get('kind')}, not the feature network "
            f"{name}",
            path=path,
        )
    network = load_network(path, known.make)
    digest = sha256(path)
    if digest != known.sha256:
        raise UserError(
            f"{path} has the SHA-256 {digest[:12]}..., not the {known.sha256[:12]}... of the known "
            f"{name}, so its metrics could not be compared; move it and get the known one with: "
            f"viceversa features --get {name}",
            path=path,
        )
    return network.eval().requires_grad_(False), digest


def file_name(name: str) -> str:
    """Return the name of a network's file. Raises UserError for an unknown network."""
    if name not in NETWORKS:
        raise UserError(f"there is no feature network {name!r}; there are {', '.join(NAMES)}")
    return f"{name}.safetensors"
