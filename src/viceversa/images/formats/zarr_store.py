"""Open arrays with the package zarr, without links to files outside of the folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from .zarr_paths import inside


class _Folder(LocalStore):  # type: ignore[misc]
    """Files of a folder. Links to files outside of it are refused."""

    def get_sync(self, key: str, **options: Any) -> Any:
        inside(self.root, key)
        return super().get_sync(key, **options)

    async def get(self, key: str, *options: Any, **more: Any) -> Any:
        await asyncio.to_thread(inside, self.root, key)
        return await super().get(key, *options, **more)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> Any:
        ranges = list(key_ranges)
        for key, _ in ranges:
            await asyncio.to_thread(inside, self.root, key)
        return await super().get_partial_values(prototype, ranges)


def open_array(folder: Path, path: str, version: int) -> Any:
    """Open an array to read it.

    Args:
        folder: The folder of the image.
        path: The folder of the array in it.
        version: Version of Zarr, 2 or 3.
    """
    store = _Folder(folder, read_only=True)
    return zarr.open_array(store, path=path, mode="r", zarr_format=version)
