"""NumPy's own files: (height, width) or (height, width, bands) of numbers."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .layout import Layout, Refused, Tags, guard, words


class Npy:
    """An opened .npy file. Never unpickles."""

    pages = 1

    def __init__(self, file: BinaryIO, most: int) -> None:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        if version not in ((1, 0), (2, 0)):
            raise Refused(f"is an array of version {version[0]}.{version[1]}, not 1.0 or 2.0")
        self._shape, self._fortran, self._dtype = read(file)
        self._file, self._start = file, file.tell()
        if self._dtype.hasobject or self._dtype.kind not in "biuf":
            raise Refused(f"holds {self._dtype} values, not real numbers")
        self._check_shape()
        self.height, self.width, self.bands = (*self._shape, 1)[:3]
        guard(self.height, self.width, most, self.bands)

    def _check_shape(self) -> None:
        shape = self._shape
        if len(shape) not in (2, 3):
            raise Refused(f"holds an array of shape {shape}, not (height, width, bands)")
        if len(shape) == 3 and shape[0] < shape[1] and shape[2] >= max(16, 4 * shape[0]):
            raise Refused(
                f"holds an array of shape {shape}, which looks like (bands, height, width); save "
                f"it as (height, width, bands): {(*shape[1:], shape[0])}"
            )

    def layout(self, page: int) -> Layout:
        mode = "RGB" if self.bands == 3 else words("grey", self.bands - 1, False)
        return Layout(self.height, self.width, self.bands, self._dtype.name, mode)

    def tags(self, page: int) -> Tags:
        return Tags()

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        self._file.seek(self._start)
        count = math.prod(self._shape)
        data = self._file.read(count * self._dtype.itemsize)
        if len(data) < count * self._dtype.itemsize:
            raise Refused(f"is damaged or cannot be read: it ends before its {count} values")
        values = np.frombuffer(data, self._dtype)
        return values.reshape(self._shape, order="F" if self._fortran else "C")
