"""Range of the values of images: in the files, and in [-1, 1], where metrics compare them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..images.domain import Domain
from ..images.values import MAX_AB
from ..metrics.registry import UNIT_METRIC
from ..reports.text import scaled_range


@dataclass(frozen=True)
class ValueRange:
    """Values of the files that become -1 and 1, for each channel; empty for classes."""

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    unit: str = ""

    @classmethod
    def of(cls, domain: Domain) -> ValueRange:
        """Return the range of the images of a domain."""
        match domain.config.kind:
            case "labels":
                return cls()
            case "lab-l":
                return cls((0.0,), (100.0,))
            case "lab-ab":
                return cls((-MAX_AB,) * 2, (MAX_AB,) * 2)
        return cls(domain.low, domain.high, domain.config.unit)

    @property
    def peak(self) -> tuple[float, ...]:
        """Peak of PSNR in the values of the files: the width of the range."""
        return tuple(high - low for low, high in zip(self.low, self.high, strict=True))

    def __str__(self) -> str:
        """Return a line on range and peak, for a table."""
        return f"range: {scaled_range(self.as_json())}; PSNR is a mean over images"

    def label(self, name: str) -> str:
        """Return the name of a metric for a table."""
        return f"l1 in {self.unit}" if name == UNIT_METRIC else name

    def as_json(self) -> dict[str, Any]:
        """Return range and peak, a number or a list with one per channel; None for classes."""
        low, high, peak = map(_one, (self.low, self.high, self.peak))
        return {"low": low, "high": high, "peak": peak, "unit": self.unit}

    def as_row(self) -> dict[str, str]:
        """Return range and peak as cells of a table; several channels are separated by spaces."""
        columns = {"range_low": self.low, "range_high": self.high, "peak": self.peak}
        cells = {name: " ".join(map(repr, _distinct(values))) for name, values in columns.items()}
        return cells | {"unit": self.unit}


def _distinct(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return one value if all channels have the same."""
    return values[:1] if len(set(values)) == 1 else values


def _one(values: tuple[float, ...]) -> float | list[float] | None:
    few = _distinct(values)
    return None if not few else few[0] if len(few) == 1 else list(few)
