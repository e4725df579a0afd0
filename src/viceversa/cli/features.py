"""The command features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UserError
from .app import command


@command(
    ("features", "list the networks, installed or missing"),
    ("features --get inception alexnet", "install those of FID, KID and LPIPS"),
)
def features(
    *,
    get: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    to: Path | None = None,
    packages: Annotated[Path | None, Parameter(name="--from")] = None,
) -> None:
    """List or install the feature networks that FID, KID and LPIPS need.

    Without options: list installed networks with their files and licences, and the missing ones.

    Parameters
    ----------
    get
        Networks to install: inception (FID, KID), alexnet and vgg (LPIPS).
    every
        Install all networks.
    to
        Folder of the networks (default: the user's cache).
    packages
        Folder of the published packages, if there is no network connection.
    """
    from ..evaluation.features import NAMES, NO_FOLDER, file_name, user_folder

    if get is not None and every:
        raise UserError("--get names the networks to get, and --all gets all of them: give one")
    if get == []:
        raise UserError(f"--get needs the networks to get: {', '.join(NAMES)}; or give --all")
    if packages and get is None and not every:
        raise UserError(
            "--from is the folder of packages: name the networks with --get or --all",
            option="--from",
        )
    names = list(NAMES) if every else get or []
    for name in names:
        file_name(name)
    if names:
        from ..evaluation.features.download import obtain
        from ..terminal import say

        if (folder := to or user_folder()) is None:
            raise UserError(NO_FOLDER, option="--to")
        obtain(names, folder, packages, say)
    missing = [name for name in names or NAMES if not _list(name, to)]
    if missing:
        option = f" --to {to}" if to else ""
        print(f"get what is missing with: viceversa features --get {' '.join(missing)}{option}")


def _list(name: str, folder: Path | None) -> bool:
    """Print the state of a network, and return whether its file is the known one."""
    from ..evaluation.features import NETWORKS, file_name, find, user_folder
    from ..files import sha256

    network, path = NETWORKS[name], find(name, folder)
    known = path is not None and sha256(path) == network.sha256
    print(f"{name}: for {network.purpose}; licence {network.licence}")
    if path is None:
        parent = folder or user_folder()
        missing = file_name(name) if parent is None else parent / file_name(name)
        print(f"  missing: {missing}, {network.megabytes} MB")
    elif known:
        print(f"  {path}, {path.stat().st_size / 1e6:.0f} MB, SHA-256 {network.sha256}")
    else:
        print(f"  {path} is damaged or not the known one, and will be refused")
    return known
