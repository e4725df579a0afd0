"""sRGB <-> CIE Lab under daylight (D65), as tensors: lightness separate from colour.

Source: IEC 61966-2-1 (sRGB); CIE 15, the 1976 L*a*b* space.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Linear sRGB -> XYZ; the sum of a row is white.
TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
EPSILON, KAPPA = 216 / 24389, 24389 / 27  # where CIE's cube root becomes a line


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB (n, 3, h, w) in [0, 1] to Lab: L from 0 to 100, a and b from -110 to 110."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = rgb.new_tensor(TO_XYZ)
    xyz = torch.einsum("ij,njhw->nihw", matrix / matrix.sum(1, keepdim=True), linear)
    f = torch.where(xyz > EPSILON, xyz.clamp_min(EPSILON) ** (1 / 3), (KAPPA * xyz + 16) / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert Lab (n, 3, h, w) to sRGB, clipped to [0, 1]."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    xyz = torch.where(f**3 > EPSILON, f**3, (116 * f - 16) / KAPPA)
    matrix = lab.new_tensor(TO_XYZ)
    inverse = torch.linalg.inv(matrix / matrix.sum(1, keepdim=True))
    linear = torch.einsum("ij,njhw->nihw", inverse, xyz).clamp(0, 1)
    return torch.where(
        linear > 0.0031308, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear
    )
