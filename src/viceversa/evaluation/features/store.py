"""Feature networks as files: which there are, where they lie, and whether they are the known ones.

A number such as FID means something only with the weights that everybody uses. So a file whose
SHA-256 is not the known one is refused, not used under the known name.
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
    """A feature network that is known."""

    make: Callable[[], nn.Module]
    sha256: str
    """Of its file, byte by byte."""
    megabytes: int
    purpose: str
    licence: str
    """SPDX, as its authors state it."""


NETWORKS: dict[str, Network] = {
    "inception": Network(
        Inception,
        "412aca40cbcdff83649a87c5ef71616dc2d91578237d2def93ca064920efe3a3",
        87, "FID and KID", "Apache-2.0"),
    "alexnet": Network(
        alexnet,
        "5b3e1b9e5614ed89b0b45a5bdbab31d05774586201d83b1c6452746b66507601",
        10, "LPIPS", "BSD-3-Clause AND BSD-2-Clause"),
    "vgg": Network(
        vgg,
        "65a2b66dbca68d00521483dff67b33b80691f433d1d7c4b3af48d18d414d2e4d",
        59, "LPIPS as some papers report it", "BSD-3-Clause AND BSD-2-Clause"),
}  # fmt: skip
NAMES = tuple(NETWORKS)
NO_FOLDER = (
    "feature networks are kept in the user's cache folder, and HOME is not set; set HOME, or name "
    "a folder (viceversa features --to, --features, validate.features)"
)


def user_folder() -> Path | None:
    """Where networks are kept for all of a user's projects; None if there is no home folder."""
    cache = user_cache()
    return None if cache is None else cache / "features"


def find(name: str, folder: Path | None = None) -> Path | None:
    """A network's file in `folder` and nowhere else, or in the user's cache; None where it is not.

    `name`: one of NAMES.
    """
    file, folder = file_name(name), folder or user_folder()
    return folder / file if folder is not None and (folder / file).is_file() else None


def load(name: str, folder: Path | None = None) -> tuple[nn.Module, str]:
    """A network on the CPU, to use and not to train, and its file's SHA-256.

    `name`, `folder`: as of `find`. Raises UserError where it is absent, damaged or another's.
    """
    path = find(name, folder)
    if path is None:
        folder, place = folder or user_folder(), f" --to {folder}" if folder else ""
        if folder is None:
            raise UserError(f"{NETWORKS[name].purpose}: {NO_FOLDER}")
        wanted = folder / file_name(name)
        raise UserError(f"{NETWORKS[name].purpose}: the network {wanted} is not there; "
                        f"get it with: viceversa features --get {name}{place}")  # fmt: skip
    header = read_header(path)
    if (header.get("kind"), header.get("name")) != ("features", name):
        raise UserError(f"{path} holds a {header.get('name') or header.get('kind')}, "
                        f"not the feature network {name}")  # fmt: skip
    network = load_network(path, NETWORKS[name].make)
    found = sha256(path)
    if found != NETWORKS[name].sha256:
        raise UserError(
            f"{path} has the SHA-256 {found[:12]}..., not the {NETWORKS[name].sha256[:12]}... of "
            f"the known {name}: numbers made with it could not be compared; move it away and get "
            f"the known one with: viceversa features --get {name}"
        )
    return network.eval().requires_grad_(False), found


def file_name(name: str) -> str:
    """What a network's file is called. Raises UserError for a name that is none of NAMES."""
    if name not in NETWORKS:
        raise UserError(f"there is no feature network {name!r}; there are {', '.join(NAMES)}")
    return f"{name}.safetensors"
