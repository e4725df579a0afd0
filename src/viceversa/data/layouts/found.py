"""Images of one split of a data set, with their domains, pairs and groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...images.sources import Source


@dataclass(frozen=True)
class Found:
    """The images of one split, as they lie on disk, before any direction is applied."""

    layout: str
    """What was found, in plain words."""
    a: tuple[Source, ...]
    b: tuple[Source, ...]
    """Paired: `a[i]` belongs to `b[i]`."""
    side_by_side: bool = False
    """Each file of `a` holds A in its left half and B in its right; then `b` is `a`."""
    alone: tuple[Source, ...] = ()
    """Images that belong to nothing: paired, those whose name has no partner or stands twice."""
    domains: Mapping[Source, str] = field(default_factory=dict, compare=False)
    """Domain (`a`, `b`) of each image of `alone` that is in one."""
    groups: Mapping[Source, str] = field(default_factory=dict, compare=False)
    """Group (patient, slide, scene) of each image that is in one; empty if there are no groups."""
    names: Mapping[Source, str] = field(default_factory=dict, compare=False)
    """Name of each image inside the data set, the same for both images of a pair."""

    def group_of(self, source: Source) -> str:
        """Return the group of an image, else its name: what a split must not divide.

        Both images of a pair return the same text, wherever the data set is stored.
        """
        return self.groups.get(source) or self.names.get(source) or source.name.as_posix()
