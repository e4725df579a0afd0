"""Issues of a dataset: a function for each kind, from the records of all files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ...config.run import recipe_for
from ...fields import counted
from ...images import Source
from ...images.domain import full_range
from ...images.sources import FORMATS, is_sidecar, printable, unread
from ..config import is_smaller, resized_size
from ..index import FileTree, SplitIndex
from .invalid import colours, different_sizes, usual_dtype
from .masks import empty_images, lossy_masks, nodata_values
from .result import CheckResult, Issue, Severity, issue_of

WIDE = 1.5  # minimum width / height of a file that may have two images side by side
ENOUGH = 20  # minimum number of images of each domain to hold some of them out
NARROW = 8  # a range of values that is this many times smaller than that of the dtype looks flat
OBLONG = 2  # minimum change of the aspect ratio of an image that loses its proportions
SAME_NAME = "give both images of a pair the same name, or move the others elsewhere"
SAME_SPLIT = "it would make results look better than they are"


def unmatched_files(splits: Iterable[tuple[str, SplitIndex]], paired: bool) -> Iterator[Issue]:
    """Yield the images without a partner, by names alone."""
    severity: Severity = "error" if paired else "warning"
    for split, index in splits:
        for domain in dict.fromkeys(index.unmatched.values()):
            names = [source for source, side in index.unmatched.items() if side == domain]
            text = f"images of {split} that are in no domain"
            if domain:
                text = f"images of {domain.upper()} in {split} without a partner"
            advice = "move the images that are in no domain elsewhere"
            if paired:
                advice = SAME_NAME
            yield from issue_of(severity, text, names, advice, skippable=paired)


def failed_pairing(index: SplitIndex) -> Iterator[Issue]:
    """Yield why images are read as unpaired although some names of A and B match."""
    domains, count = Counter(index.unmatched.values()), len(index.a)
    advice = f"{SAME_NAME}, and train a paired method such as {recipe_for(paired=True)}"
    yield Issue(
        "warning",
        f"only {count} of {counted(count + domains['a'], 'image')} of A and "
        f"{count} of {counted(count + domains['b'], 'image')} of B have a partner with the same "
        "name, so A and B are read as unpaired",
        advice=f"if A and B are pairs, {advice}",
        condition="if A and B are not pairs",
    )
    for issue in unmatched_files([("train", index)], paired=True):
        yield replace(issue, severity="warning", advice="", skippable=False)


def few_images(check: CheckResult) -> Iterator[Issue]:
    """Yield the splits with no or a single image of a domain."""
    for split, parts in check.domains.items():
        for part in parts:
            name = part.domain.upper()
            if not any(True for _ in part.readable()):
                advice = f"put images of {name} into {split}" if not part.records else ""
                text = f"{split} has no image of {name} that can be read"
                yield Issue("error", text, advice=advice)  # invalid files have their own advice
            elif len(part.records) == 1:
                advice = "training needs hundreds or thousands of images" * (split == "train")
                yield Issue("note", f"{split} has a single image of {name}", advice=advice)


def unusual_halves(check: CheckResult) -> Iterator[Issue]:
    """Yield side-by-side files of `train` whose halves are far from square."""
    index, (part, _) = check.splits["train"], check.domains["train"]
    sizes = [(record.height, record.width) for _, record in part.readable()]
    if not (index.side_by_side and sizes):
        return
    height, whole = Counter(sizes).most_common(1)[0][0]
    width = whole // 2
    if 0.8 * height <= width <= 1.25 * height:
        return
    text = f"each file is cut in the middle into A and B, {width}x{height} each"
    folders = len({source.name.parent for source in index.a})
    if check.config.layout == "auto" and folders > 1 and whole < WIDE * height:
        advice = "name the folders of the two domains A and B, or set --data.layout side-by-side"
        text += f", and the files of {folders} folders are too narrow to be side by side; {advice}"
        yield Issue("error", text, advice=advice)
        return
    advice = "if they are not pairs, make folders A/ and B/, or set data.layout photos"
    text += f"; {advice}"
    if check.config.layout == "auto":
        yield Issue("warning", text, advice=advice, condition="if the files are pairs")
    else:  # the user chose the layout
        yield Issue("note", text)


def unequal_pairs(check: CheckResult) -> Iterator[Issue]:
    """Yield pairs that differ in size, and pairs of one image."""
    for split, index in check.splits.items():
        if not check.paired or index.a == index.b:
            continue
        texts = [
            f"{source} is {one.width}x{one.height}, {target} {other.width}x{other.height}"
            for source, one, target, other in different_sizes(check, split)
        ]
        text = f"pairs of {split} whose A and B differ in size"
        yield from issue_of("warning", text, texts, "save A and B of a pair at one size")
        a, b = (part.records for part in check.domains[split])
        pairs = zip(index.a, index.b, strict=True)
        same = [one for one, two in pairs if a[one].sha256 and a[one].sha256 == b[two].sha256]
        text = f"pairs of {split} whose A and B have the same content"
        yield from issue_of("warning", text, same, "remove the pairs whose A and B are equal")


def value_ranges(check: CheckResult, domain: str) -> Iterator[Issue]:
    """Yield domains of floats without a range, and values that fill little of their dtype."""
    parts, name = check.domain(domain), domain.upper()
    settings, dtype = parts[0].config, usual_dtype(parts)
    if settings.kind != "image" or not dtype or settings.range != "dtype":
        return
    usual = [(part, r) for part in parts for _, r in part.readable() if r.read_dtype == dtype]
    ranges = [part.range(record) for part, record in usual]
    low, high = min(min(low) for low, _ in ranges), max(max(high) for _, high in ranges)
    values = f"(they are from {low:g} to {high:g})"
    advice = f"set --data.{domain}.range minmax, or two numbers {values}"
    if dtype == "float32":
        text = f"the values of {name} are not of 8 or 16 bits: their dtype has no range"
        yield Issue("error", text, advice=advice)
        return
    least, most = full_range(dtype)
    if 0 < high - low < (most - least) / NARROW:
        text = f"the values of {name} are from {low:g} to {high:g} only; {dtype} goes to {most:g}"
        if dtype == "uint8":
            advice += f"; or, if these are label maps, --data.{domain}.kind labels and its ids"
        yield Issue("warning", text, advice=advice)


def converted_images(check: CheckResult, domain: str) -> Iterator[Issue]:
    """Yield images whose channels are converted."""
    changes: dict[str, list[Source]] = {}
    for part in check.domain(domain):
        for source, record in part.readable() if not part.config.ids else ():
            if text := _conversion(*colours(part.config, record), part.config.file_channels):
                changes.setdefault(text, []).append(source)
    for text, files in changes.items():
        yield from issue_of("note", f"images of {domain.upper()} that will be {text}", files)


def _conversion(channels: int, alpha: bool, wanted: int) -> str:
    if channels == wanted:
        return ""
    over = ["blended over white"] if alpha and wanted in (1, 3) else []
    grey = {(1, 3): ["converted from grey to RGB"], (3, 1): ["converted from RGB to grey"]}
    return " and ".join(over + grey.get((channels - alpha, wanted), []))


def resized_images(check: CheckResult, domain: str) -> Iterator[Issue]:
    """Yield images that lose their aspect ratio, and images that are enlarged."""
    config, name = check.config, domain.upper()
    if not config.preprocess.startswith("resize"):
        return
    sizes = {s: part.size(r) for part in check.domain(domain) for s, r in part.readable()}
    height, width = resized_size(1, 1, config, "")  # of any image
    scaled = {source: (w, h * width / height) for source, (h, w) in sizes.items()}
    changes = {source: max(sides) / max(1, min(sides)) for source, sides in scaled.items()}
    oblong = [source for source, change in changes.items() if change >= OBLONG]
    worst = sizes[max(changes, key=changes.__getitem__)] if changes else (1, 1)
    text = f"images of {name} that lose their proportions: {worst[1]}x{worst[0]} becomes"
    advice = "to keep proportions, set data.load_size and data.crop_size to height and width, or "
    advice += "--data.preprocess scale_width, scale_shortside or crop"
    yield from issue_of("warning", f"{text} {width}x{height}", oblong, advice)
    small = [source for source, size in sizes.items() if is_smaller(size, config.crop_size)]
    text = f"images of {name} smaller than data.crop_size, which will be enlarged"
    yield from issue_of("note", text, small)


def constant_images(check: CheckResult, domain: str) -> Iterator[Issue]:
    """Yield images with one value everywhere."""
    ranges = {s: part.range(r) for part in check.domain(domain) for s, r in part.readable()}
    name, settings = domain.upper(), check.domain(domain)[0].config
    if settings.kind != "labels":
        text = f"images of {name} with one value everywhere"
        files = [source for source, (low, high) in ranges.items() if low == high]
        advice = "check the images of one value, and remove empty ones"
        yield from issue_of("warning", text, files, advice)


def duplicate_images(check: CheckResult) -> Iterator[Issue]:
    """Yield contents that are in several splits, several times in one, or in both domains."""
    where: dict[str, dict[str, dict[Source, str]]] = {}  # content -> split -> file -> domain
    for split, parts in check.domains.items():
        for part in parts:
            if part.config.kind != "labels":  # many label maps may be equal
                for source, record in part.readable():
                    files = where.setdefault(record.sha256, {}).setdefault(split, {})
                    files.setdefault(source, part.domain)
    twice, across, leaks = [], [], []
    for splits in where.values():
        for files in splits.values():
            for domain in "ab":
                if len(equal := [source for source, side in files.items() if side == domain]) > 1:
                    twice.append(" = ".join(map(str, equal)))
            if not check.paired and len(set(files.values())) > 1:
                across.append(" = ".join(map(str, files)))
        if len(splits) > 1:
            leaks.append(" = ".join(str(next(iter(files))) for files in splits.values()))
    advice = f"remove images of train from val and test: {SAME_SPLIT}"
    yield from issue_of("warning", "images that are in more than one split", leaks, advice)
    text = "images that are more than once in a split"
    yield from issue_of("warning", text, twice, "remove the copies")
    advice = "remove these images from one of the domains"
    yield from issue_of("warning", "images that are in both A and B", across, advice)


def divided_groups(check: CheckResult) -> Iterator[Issue]:
    """Yield groups (patients, slides, scenes) that are divided between splits."""
    splits: dict[str, list[str]] = {}
    for split, index in check.splits.items():
        for group in sorted(set(index.groups.values())):
            splits.setdefault(group, []).append(split)
    parts = {printable(group): names for group, names in splits.items() if len(names) > 1}
    divided = [f"{group} in {' and '.join(names)}" for group, names in parts.items()]
    advice = f"keep the similar images of a group in one split: {SAME_SPLIT}"
    yield from issue_of("warning", "groups that are in more than one split", divided, advice)


def no_validation_split(check: CheckResult) -> Iterator[Issue]:
    """Suggest a held-out split if there is none and there are enough images."""
    train, config = check.splits["train"], check.config
    if len(check.splits) > 1 or config.hold_out or min(len(train.a), len(train.b)) < ENOUGH:
        return
    groups = {train.group_of(source) for source in (*train.a, *train.b)} if train.groups else ()
    if not train.groups or len(groups) > 1:
        part = f"a tenth of the {'groups' if train.groups else 'images'}"
        text = "there is no val or test split to validate on"
        yield Issue("note", f"{text}; --data.hold_out 0.1 holds out {part}")


def other_files(check: CheckResult) -> Iterator[Issue]:
    """Yield files among the images that are not used."""
    if not isinstance(check.data, FileTree):
        return
    skipped = [f"{name}: {reason}" for name, reason in check.data.skipped]
    advice = "check whether the skipped files should be images"
    yield from issue_of("warning", "skipped files and folders", skipped, advice)
    for group in unread(check.data.other):
        text = f"files {group.kind}, which are not read"
        advice = f"convert the files that are not read, or remove them; {FORMATS} are read"
        yield from issue_of("warning", text, map(printable, group.names), advice)
    others = [printable(name) for name in check.data.other if is_sidecar(name)]
    yield from issue_of("note", "text and other files, which are not images", others)


def all_issues(check: CheckResult) -> Iterator[Issue]:
    """Yield every issue of the dataset; `invalid_files` yields those of single files."""
    yield from unmatched_files(check.splits.items(), check.paired)
    for issues in (few_images, unusual_halves, unequal_pairs):
        yield from issues(check)
    for domain in "ab":
        yield from value_ranges(check, domain)
        yield from converted_images(check, domain)
        yield from resized_images(check, domain)
        yield from constant_images(check, domain)
        yield from nodata_values(check, domain)
        yield from empty_images(check, domain)
        yield from lossy_masks(check, domain)
    for issues in (duplicate_images, divided_groups, no_validation_split, other_files):
        yield from issues(check)
