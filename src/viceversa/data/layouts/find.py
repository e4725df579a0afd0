"""What lies in a data set: pairs side by side, folders, patterns of names, photos, or a manifest.

Found by names alone, before any image is opened and any direction is applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ...errors import UserError
from ...images.sources import Source, printable
from ..config import DataConfig
from .manifest import SPLITS, Manifest, is_manifest, read_manifest
from .pairing import Keyed, Names, by_patterns, by_stem, hint, in_order, pair, some
from .trees import Tree, read_tree

TOPS = frozenset(split + domain for split in SPLITS for domain in ("", "A", "B"))
SHARDS = ("{name}.a", "{name}.b")  # WebDataset: KEY.a.png and KEY.b.png make a sample
FITS = {
    "folders": "folders A/ and B/, train/A/ and train/B/, or trainA/ and trainB/",
    "side-by-side": "files with A and B side by side, in train/ or by themselves",
    "patterns": "files named as data.pattern_a and data.pattern_b say, in train/ or by themselves",
    "photos": "images in train/ or by themselves",
}


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
    groups: Mapping[Source, str] = field(default_factory=dict, compare=False)
    """Group (patient, slide, scene) of each image that is in one; empty if there are no groups."""
    names: Mapping[Source, str] = field(default_factory=dict, compare=False)
    """Name of each image inside the data set, the same for both images of a pair."""

    def group_of(self, source: Source) -> str:
        """Return the group of an image, else its name: what a split must not divide.

        Both images of a pair return the same text, wherever the data set is stored.
        """
        return self.groups.get(source) or self.names.get(source) or source.name.as_posix()


def look(path: Path | str) -> Tree | Manifest:
    """What lies at a path, read once, for `find` to look for several splits in.

    Raises UserError where there is nothing that could be data.
    """
    path = Path(path)
    return read_manifest(path) if is_manifest(path) else read_tree(path)


def find(
    data: Path | str | Tree | Manifest, split: str, paired: bool, config: DataConfig | None = None
) -> Found | None:
    """The images of a split (`train`, `val`, `test`), or None where the data has no such split.

    Looks, as far as `config.layout` leaves it open, for `trainA/ trainB/`; `train/A/ train/B/`;
    files in `train/`; and, for `train` alone, `A/ B/` or files in the data itself. Files are named
    by patterns, if all fit, or have A and B side by side. Raises UserError where there is nothing
    to train on, a domain is empty, or not one pair is found.
    """
    config = config or DataConfig()
    if not isinstance(data, Tree | Manifest):
        data = look(data)
    if isinstance(data, Manifest):
        return _listed(data, split, paired, config.layout)
    data, folder = _unwrap(data)
    found = None
    if config.layout in ("auto", "folders"):
        found = _in_folders(data, folder, split, paired)
    if found is None and config.layout != "folders":
        found = _in_one(data, folder, split, paired, config)
    if found is None and split == "train":
        fits = "; or ".join(FITS.values() if config.layout == "auto" else [FITS[config.layout]])
        raise UserError(
            f"{printable(str(data.root))} holds no images to train on; it needs {fits}{_left(data)}"
        )
    return found


def _unwrap(tree: Tree) -> tuple[Tree, str]:
    """The tree below the one folder that holds all of it (archives often have one), and that."""
    folder, files = "", tree.files
    while files:
        top, slash, _ = next(iter(files)).partition("/")
        if not slash or top in TOPS | {"A", "B"}:
            break
        if not all(name.startswith(top + slash) for name in files):
            break
        folder, files = folder + top + slash, _below(files, top)
    return replace(tree, files=files), folder


def _below(names: Names, folder: str) -> Names:
    start = folder + "/"
    return {name[len(start) :]: names[name] for name in names if name.startswith(start)}


def _where(tree: Tree, *folders: str) -> str:
    """A place in the data set for a sentence, from its own name on."""
    return printable(str(PurePosixPath(tree.root.name or tree.root.resolve().name, *folders)))


def _left(tree: Tree) -> str:
    """A clause on what the walk left alone, where it may be what one misses."""
    if not tree.odd:
        return ""
    name, why = tree.odd[0]
    return f" (left alone: {len(tree.odd)}, such as {name}: {why})"


def _in_folders(tree: Tree, outer: str, split: str, paired: bool) -> Found | None:
    choices = [(f"{split}A", f"{split}B"), (f"{split}/A", f"{split}/B")]
    if split == "train":
        choices.append(("A", "B"))
    for first, second in choices:
        a, b = _below(tree.files, first), _below(tree.files, second)
        if not (a or b):
            continue
        if not (a and b):
            full, empty = (first, second) if a else (second, first)
            raise UserError(
                f"{printable(str(tree.root))} has images in {outer}{full}, but no folder "
                f"{outer}{empty} with images beside it{_left(tree)}"
            )
        where = f"{_where(tree, outer, first)} and {_where(tree, outer, second)}"
        if paired:
            found = _pairs(by_stem(a), by_stem(b), f"pairs by name in {where}")
        else:
            found = Found(f"folders {where}", tuple(a.values()), tuple(b.values()))
        others = len(_own(tree.files)) - (len(a) + len(b)) * (first == "A")
        if split == "train" and others:
            return replace(found, layout=f"{found.layout} ({others} images elsewhere are not used)")
        return found
    return None


def _own(files: Names) -> Names:
    """The files that lie in no folder of a split."""
    return {name: source for name, source in files.items() if name.split("/", 1)[0] not in TOPS}


def _in_one(tree: Tree, outer: str, split: str, paired: bool, config: DataConfig) -> Found | None:
    """The files of one folder, and those below it, by patterns, side by side or as photos."""
    names, where = _below(tree.files, split), _where(tree, outer, split)
    if not names and split == "train":
        names, where = _own(tree.files), _where(tree, outer)
        if config.layout == "auto":
            _refuse_deeper_splits(tree, names)
    if not names:
        return None
    files = tuple(names.values())
    if config.layout == "photos":
        return Found(f"photos in {where}, each both A and B", files, files)
    patterns = [(config.pattern_a, config.pattern_b)]
    if config.layout == "auto":
        patterns.append(SHARDS)
    for first, second in patterns if config.layout != "side-by-side" else []:
        a, b, rest = by_patterns(names, first, second)
        by_name = f"by the names {first} and {second} in {where}"
        if config.layout == "patterns" and not (a and b):
            missing = " or ".join(p for p, side in ((first, a), (second, b)) if not side)
            raise UserError(f"no image in {where} is named {missing}; there are {some(files)}")
        if config.layout == "auto" and (not (a and b) or len(rest) > len(files) / 2):
            continue
        if config.layout == "auto" and rest:
            raise UserError(
                f"most images in {where} are named {first} and {second}, but {len(rest)} are not: "
                f"{some(rest)}; move them, or set data.layout to patterns or side-by-side"
            )
        if paired:
            return _pairs(a, b, f"pairs {by_name}", rest)
        sides = [tuple(s for group in side.values() for s in group) for side in (a, b)]
        return Found(f"images {by_name}", sides[0], sides[1], alone=tuple(rest))
    if config.layout == "auto":
        _refuse_other_folders(names, where)
    return Found(f"side-by-side files in {where}", files, files, side_by_side=True)


def _refuse_other_folders(names: Names, where: str) -> None:
    """Images in a few folders, and none beside them, are domains by other names than A and B."""
    tops = sorted({name.partition("/")[0] for name in names if "/" in name})
    if len(tops) == 2 and all("/" in name for name in names):
        raise UserError(
            f"{where} holds the folders {' and '.join(map(printable, tops))}; if they are the two "
            "domains, name them A and B, or if each file holds both side by side, set data.layout "
            "to side-by-side"
        )


def _refuse_deeper_splits(tree: Tree, names: Names) -> None:
    """Files of a test split, somewhere below, must not be trained on because others lie above."""
    for name in names:
        if TOPS & set(name.split("/")[:-1]):
            raise UserError(
                f"{printable(str(tree.root))} has images outside of a folder that looks like a "
                f"data set of its own ({printable(name)}); name that folder, or set data.layout"
            )


def _pairs(a: Keyed, b: Keyed, layout: str, rest: list[Source] | None = None) -> Found:
    first, second, alone = pair(a, b)
    if not first:
        sides = [[source for group in side.values() for source in group] for side in (a, b)]
        fits = hint(a, b) or "an image of A and its B have one name, but for the ending"
        raise UserError(
            f"{layout}: none of the {len(sides[0])} images of A and {len(sides[1])} of B have the "
            f"same name to pair by; A has {some(sides[0])}; B has {some(sides[1])}; {fits}"
        )
    return Found(layout, tuple(first), tuple(second), alone=tuple(in_order(alone + (rest or []))))


def _listed(manifest: Manifest, split: str, paired: bool, layout: str) -> Found | None:
    shown, name = printable(str(manifest.path)), printable(manifest.path.name)
    if layout not in ("auto", "photos"):
        raise UserError(
            f"the manifest {shown} says itself what belongs together; leave data.layout at auto, "
            f"not {layout}"
        )
    rows = [row for row in manifest.rows if row.split == split]
    names = {source: row.name for row in rows for source in (row.a, row.b) if source}
    groups = {s: row.group for row in rows for s in (row.a, row.b) if s and row.group}
    if not rows and split == "train":
        raise UserError(f"the manifest {shown} lists nothing to train on")
    if not rows:
        return None
    # An image may stand in many pairs, but is one image of its domain.
    a = tuple(dict.fromkeys(row.a for row in rows if row.a))
    b = tuple(dict.fromkeys(row.b for row in rows if row.b))
    if layout == "photos":
        photos = tuple(dict.fromkeys(a + b))
        layout = f"photos listed in {name}, each both A and B"
        return Found(layout, photos, photos, groups=groups, names=names)
    if not paired and a and b:
        return Found(f"images listed in {name}", a, b, groups=groups, names=names)
    pairs = [(row.a, row.b) for row in rows if row.a and row.b]
    if not pairs or not paired:
        what = "pair, a line with both a and b" if paired else f"image of {'B' if a else 'A'}"
        raise UserError(f"the manifest {shown} lists no {what}, for {split}")
    single = [(row.a, row.b) for row in rows if not (row.a and row.b)]
    alone = in_order(source for sides in single for source in sides if source)
    first, second = zip(*pairs, strict=True)
    layout = f"pairs listed in {name}"
    return Found(layout, first, second, alone=tuple(alone), groups=groups, names=names)
