"""What is wrong or odd with a data set, in sentences, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...images import Source
from ...images.domain import full_range
from ...images.endings import FORMATS, is_sidecar, unread
from ...images.sources import printable
from ..config import DataConfig
from ..index import FileTree, SplitIndex
from ..sizes import fitted
from .faults import Fault, Kind, Seen, Side, dtype_read, unlike, usual_depth

Level = Literal["error", "warning", "note"]
FIRST = 10  # files are named up to here
WIDE = 1.5  # width by height of a file that may have two images side by side
ENOUGH = 20  # images of each domain, from which on a part of them may be held out
NARROW = 8  # values that fill less than this part of their type's range look black or flat
SQUASHED = 2  # ratio of an image's sides from which on a square loses its proportions


@dataclass(frozen=True)
class Finding:
    """One thing to know. An error ends training before it starts; `do` says what to do about it.

    `text` is a sentence, or names what the `files` are: the first ten of `total`, where need be
    with what is wrong with them.
    `skippable`: an error of single files, which `on_bad skip` leaves out.
    """

    level: Level
    text: str
    files: tuple[str, ...] = ()
    total: int = 0
    do: str = ""
    skippable: bool = False


# what has a fault, and what to do; where nothing is said, that depends on the images
WORDS: dict[Kind, tuple[str, str]] = {
    "unread": ("files that can't be read", "repair or remove the files that can't be read"),
    "nan": ("images of {shown} with NaN",
            "set --data.{side}.nodata nan if NaN means no data in {shown}, or repair these images"),
    "bands": ("images of {shown} whose bands don't fit data.{side}.channels", ""),
    "depth": ("images of {shown} that are not of 8 bits",
              "save all images of {shown} with 8 bits, or choose another --data.{side}.kind"),
    "mixed": ("images of {shown} of another depth than most",
              "save all images of {shown} in one depth, or give --data.{side}.range in numbers"),
    "ids": ("label maps of {shown} with numbers that are no class's", ""),
    "odd": ("files with A and B side by side whose width is odd",
            "cut the files of odd width to an even one: A is the left half, B the right"),
    "small": ("images of {shown} smaller than data.crop_size", ""),
    "pair": ("images of B that are not of their partner's size",
             "save both images of a pair at one size, or set --data.preprocess resize_and_crop"),
}  # fmt: skip


def named(
    level: Level, text: str, files: Iterable[object], do: str = "", skippable: bool = False
) -> Finding:
    """A finding about files, or about what is said of each."""
    names = [str(file) for file in files]
    return Finding(level, text, tuple(names[:FIRST]), len(names), do, skippable)


def of_faults(faults: Mapping[Source, Fault], domains: Sequence[Seen]) -> Iterator[Finding]:
    """A finding for each kind of fault, and each domain that has it."""
    groups: dict[tuple[Kind, Side | None], list[Source]] = {}
    for source, fault in faults.items():
        side = None if fault.kind in ("unread", "odd", "pair") else fault.side
        groups.setdefault((fault.kind, side), []).append(source)
    for kind, side in sorted(groups, key=lambda group: list(WORDS).index(group[0])):
        sources = groups[kind, side]
        what, do = WORDS[kind]
        words = {"shown": side.upper() if side else "", "side": side}
        if side and not do:
            mine = [domain for domain in domains if domain.side == side]
            do = _remedy(kind, sources, mine)
        told = (f"{source} {faults[source].reason}" for source in sources)
        yield named("error", what.format(**words), told, do.format(**words), skippable=True)


def _remedy(kind: Kind, sources: Sequence[Source], domains: Sequence[Seen]) -> str:
    """What to do where it depends on the images of the domain."""
    side, records = domains[0].side, domains[0].records
    if kind == "bands":
        bands = {records[source].bands for source in sources}
        every = sum(len(members) for domain in domains for members in domain.shapes.values())
        if len(bands) == 1 and every == len(sources) and domains[0].config.kind == "image":
            return f"set --data.{side}.channels {bands.pop()}"
        return f"save the images of {side.upper()} with {domains[0].config.file_channels} bands"
    if kind == "ids":
        top = max(domains[0].range(records[source])[1][0] for source in sources)
        return f"set --data.{side}.ids {int(top) + 1}, or mend these label maps"
    least = min(min(domains[0].size(records[source])) for source in sources)
    return f"set --data.crop_size to {least} or less, or --data.preprocess resize_and_crop"


def of_domain(domain: Sequence[Seen], config: DataConfig) -> Iterator[Finding]:
    """What is to know of a domain's images, over all splits."""
    side, settings = domain[0].side, domain[0].config
    shown = side.upper()
    if settings.kind == "image":
        yield from _of_depths(domain)
    changed: dict[str, list[Source]] = {}
    enlarged: list[Source] = []
    flat: list[Source] = []
    for part in domain:
        for shape, members in part.shapes.items():
            if words := _converted(shape.bands, shape.alpha, settings.file_channels):
                changed.setdefault(words, []).extend(members)
            smaller = min(part.size(part.records[members[0]])) < config.crop_size
            if smaller and config.preprocess.startswith("resize"):
                enlarged += members
        for source, record in part.read():
            low, high = part.range(record)
            if low == high and settings.kind != "labels":
                flat.append(source)
    if not settings.ids:
        for words, members in changed.items():
            yield named("note", f"images of {shown} that will be {words}", members)
    yield from _squashed(domain, config)
    if enlarged:
        text = f"images of {shown} smaller than data.crop_size, which will be enlarged"
        yield named("note", text, enlarged)
    if flat:
        text = f"images of {shown} with one value everywhere"
        yield named("warning", text, flat, "look at the images of one value; remove empty ones")


def _squashed(domain: Sequence[Seen], config: DataConfig) -> Iterator[Finding]:
    """Oblong images that the preprocessing makes square."""
    if not config.preprocess.startswith("resize"):
        return
    squashed: list[Source] = []
    worst = 1, 1
    for part in domain:
        for members in part.shapes.values():
            size = part.size(part.records[members[0]])
            if max(size) >= SQUASHED * min(size):
                squashed += members
                worst = max(worst, size, key=lambda one: max(one) / min(one))
    if squashed:
        height, width = fitted(*worst, config, "")
        yield named(
            "warning", f"images of {domain[0].side.upper()} that lose their proportions: "
            f"{worst[1]}x{worst[0]} becomes {width}x{height}", squashed,
            "set --data.preprocess scale_width, scale_shortside or crop to keep the proportions of "
            "oblong images",
        )  # fmt: skip


def _converted(bands: int, alpha: bool, wanted: int) -> str:
    if bands == wanted:
        return ""
    colours = bands - alpha
    over = ["laid over white"] if alpha and wanted in (1, 3) else []
    grey = {(1, 3): ["turned from grey into RGB"], (3, 1): ["turned from RGB into grey"]}
    changes = over + grey.get((colours, wanted), [])
    return " and ".join(changes)


def _of_depths(domain: Sequence[Seen]) -> Iterator[Finding]:
    """Floats without a range, and values that fill little of their type's range."""
    side, settings, depth = domain[0].side, domain[0].config, usual_depth(domain)
    if not depth or settings.range != "dtype":
        return
    usual = [r for part in domain for _, r in part.read() if dtype_read(r.dtype) == depth]
    ranges = [domain[0].range(record) for record in usual]
    low, high = min(min(low) for low, _ in ranges), max(max(high) for _, high in ranges)
    do = f"set --data.{side}.range minmax, or two numbers (it goes from {low:g} to {high:g})"
    if depth == "float32":
        text = f"the values of {side.upper()} are not of 8 or 16 bits: their type has no range"
        yield Finding("error", text, do=do)
        return
    least, most = full_range(depth)
    if 0 < high - low < (most - least) / NARROW:
        text = f"the values of {side.upper()} go from {low:g} to {high:g} only; {depth} goes"
        if depth == "uint8":
            do += f"; or, if these are label maps, --data.{side}.kind labels and its ids"
        yield Finding("warning", f"{text} to {most:g}", do=do)


def of_names(split: str, found: SplitIndex, paired: bool) -> Iterator[Finding]:
    """What names alone tell of a split: the images that have no partner."""
    groups: dict[str, list[str]] = {}
    for source in found.unmatched:
        groups.setdefault(found.unmatched[source].upper(), []).append(str(source))
    for side, names in groups.items():
        which = f"images of {side} in {split} without a partner"
        text = which if side else f"images of {split} that belong to nothing"
        do = "move the images that belong to nothing elsewhere"
        if paired:
            do = "give an image of A and its B one name, or move those without a partner elsewhere"
        yield named("error" if paired else "warning", text, names, do, skippable=paired)


def of_split(
    split: str, found: SplitIndex, domains: Sequence[Seen], paired: bool, guessed: bool
) -> Iterator[Finding]:
    """What is to know of one split; `guessed`: its layout was detected, not given."""
    yield from of_names(split, found, paired)
    for domain in domains:
        number = len(set(found.a if domain.side == "a" else found.b))
        if not domain.shapes:
            text = f"{split} has no image of {domain.side.upper()} that can be read"
            put = f"put images of {domain.side.upper()} into {split}"
            yield Finding("error", text, do="" if number else put)  # what is there has a fault
        elif number < 2:
            text = f"{split} has a single image of {domain.side.upper()}"
            few = "a translator needs hundreds of images, or thousands" if split == "train" else ""
            yield Finding("note", text, do=few)
    if found.side_by_side and split == "train" and domains[0].shapes:
        yield from _of_halves(found, domains[0], guessed)
    if paired and not found.side_by_side and found.a != found.b:
        yield from _of_pairs(split, found, domains)


def _of_halves(found: SplitIndex, domain: Seen, guessed: bool) -> Iterator[Finding]:
    """Side-by-side files whose halves are not shaped like most photos."""
    whole = max(domain.shapes, key=lambda shape: len(domain.shapes[shape]))
    height, width = whole.height, whole.width // 2
    if 0.8 * height <= width <= 1.25 * height:
        return
    text = f"each file is cut in the middle into A and B, {width}x{height} each"
    folders = {source.name.parent for source in found.a}
    if guessed and len(folders) > 1 and whole.width < WIDE * height:  # such as three domains
        yield Finding(
            "error",
            f"{text}, and the files of {len(folders)} folders are too narrow to be side by side; "
            "name the folders of the two domains A and B, or set --data.layout side-by-side",
            do="name the folders of the two domains A and B, or set --data.layout side-by-side",
        )
        return
    text += "; where they are no pairs, make folders A/ and B/, or set data.layout photos"
    yield Finding("note", text)


def of_splits(found: Mapping[str, SplitIndex], config: DataConfig) -> Iterator[Finding]:
    """Advise a held-out split where there is none and there are enough images."""
    train = found["train"]
    if len(found) > 1 or config.hold_out or min(len(train.a), len(train.b)) < ENOUGH:
        return
    groups = {train.group_of(source) for source in (*train.a, *train.b)} if train.groups else ()
    if not train.groups or len(groups) > 1:
        what = "groups" if train.groups else "images"
        part = f"--data.hold_out 0.1 holds out a tenth of the {what}"
        yield Finding("note", f"there is no val or test split to validate on; {part}")


def _of_pairs(split: str, found: SplitIndex, domains: Sequence[Seen]) -> Iterator[Finding]:
    a, b = (domain.records for domain in domains)
    if sizes := list(unlike(found, domains)):
        told = [
            f"{one} is {a[one].width}x{a[one].height}, {two} {b[two].width}x{b[two].height}"
            for one, two in sizes
        ]
        text = f"pairs of {split} whose A and B differ in size"
        yield named("warning", text, told, "save A and B of a pair at one size, so that they fit")
    same = [
        one
        for one, two in zip(found.a, found.b, strict=True)
        if a[one].sha256 and a[one].sha256 == b[two].sha256
    ]
    if same:
        text = f"pairs of {split} whose A and B have the same content"
        yield named("warning", text, same, "remove the pairs whose A and B are one file")


def of_tree(tree: FileTree) -> Iterator[Finding]:
    """What lies among the images and is no image file."""
    if tree.skipped:
        told = (f"{name}: {why}" for name, why in tree.skipped)
        do = "see whether what was left alone should be images"
        yield named("warning", "left alone among the files", told, do)
    for group in unread(tree.other):
        first = tuple(map(printable, group.names[:3]))
        do = (
            f"convert the files that are not read, or remove them; formats that are read: {FORMATS}"
        )
        text = f"files {group.kind}, which are not read"
        yield Finding("warning", text, first, len(group.names), do)
    if others := [name for name in tree.other if is_sidecar(name)]:
        first = tuple(map(printable, others[:3]))
        yield Finding("note", "text and other files, which are not images", first, len(others))
