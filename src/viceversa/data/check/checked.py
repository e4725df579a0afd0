"""Look at a whole data set: what lies there, what is wrong with it, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import UserError
from ...images import Source
from ..config import DataConfig
from ..index import FileTree, Manifest, SplitIndex, index_split, index_splits, list_images
from .copies import of_copies, of_groups
from .faults import Fault, Seen, faults, seen, usual_depth
from .findings import Finding, of_domain, of_faults, of_names, of_split, of_splits, of_tree
from .no_data import of_nodata
from .records import Options, Record
from .survey import Progress, Store, survey
from .words import headline, in_shell, some

__all__ = ["Checked", "Finding", "Progress", "check", "usable"]

Records = dict[Source, Record]


@dataclass(frozen=True)
class Checked:
    """What a check of a data set tells.

    `paired`: whether A and B were looked at as pairs. `seen`: the images of A and of B in each
    split. `records`: what is known of each file (where A and B read one file in two ways: what is
    known of the domain that holds images), and `sides` the same of A's files and of B's. `bad`: the
    files that can't be used and why, in words that follow their name.
    """

    path: str
    paired: bool
    config: DataConfig
    found: Mapping[str, SplitIndex]
    seen: Mapping[str, tuple[Seen, Seen]]
    records: Records
    sides: tuple[Records, Records]
    bad: Mapping[Source, str]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """What keeps training from starting, under the policy for bad files it was checked with."""
        return _errors(self, self.config)

    def left_out(self) -> tuple[int, int]:
        """How many files can't be used, those without a partner among them, and of how many."""
        files = {source for one in self.found.values() for source in (*one.a, *one.b)}
        alone = {source for one in self.found.values() for source in one.unmatched if self.paired}
        return len(self.bad.keys() | alone), len(files | alone)


def check(
    path: Path | str,
    paired: bool | None,
    config: DataConfig,
    *,
    names_first: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
    store: Store = "user",
) -> Checked:
    """Decode every file once, and tell all that is to know; `paired` None tries pairs first.

    `verify`, `progress` and `store` as `survey` has them. Raises UserError where nothing is found
    that could be looked at: no data, no domain B, not one pair; and, with `names_first`, before
    anything is decoded, where names alone are enough to refuse.
    """
    data = list_images(path)
    paired = _looks_paired(data, config) if paired is None else paired
    found = index_splits(data, paired, config)
    if names_first and config.on_bad == "refuse":
        unmatched = [f for split, one in found.items() for f in of_names(split, one, paired)]
        if told := [headline(finding) for finding in unmatched if finding.level == "error"]:
            raise UserError(f"{'; '.join(told)}; {unmatched[0].do}")
    a, b = _surveyed(found.values(), Path(path), config, verify, progress, store)
    domains = {
        split: (seen(split, "a", one, config.a, a), seen(split, "b", one, config.b, b))
        for split, one in found.items()
    }
    sides = list(zip(*domains.values(), strict=True))
    depths = [usual_depth(side) for side in sides]
    wrong: dict[Source, Fault] = {}
    for split, one in found.items():
        wrong |= faults(one, domains[split], depths, config, paired)
    every = [domain for pair in domains.values() for domain in pair]
    findings = [
        *of_faults(wrong, every),
        *(
            finding
            for split, one in found.items()
            for finding in of_split(split, one, domains[split], paired, config.layout == "auto")
        ),
        *(f for side in sides for f in of_domain(side, config)),
        *(f for side in sides for f in of_nodata(side)),
        *of_copies(domains, paired),
        *of_groups(found),
        *of_splits(found, config),
        *(of_tree(data) if isinstance(data, FileTree) else ()),
    ]
    order = ("error", "warning", "note")
    findings.sort(key=lambda finding: order.index(finding.level))
    bad = {source: fault.reason for source, fault in wrong.items()}
    records = a | b if config.b.kind == "image" else b | a
    return Checked(str(path), paired, config, found, domains, records, (a, b), bad, tuple(findings))


def _looks_paired(data: FileTree | Manifest, config: DataConfig) -> bool:
    """Whether A and B are pairs: most names have a partner, or there is no other way to read it."""
    try:
        found = index_split(data, "train", True, config)
    except UserError:
        return False
    return found is not None and len(found.unmatched) <= len(found.a) + len(found.b)


def _surveyed(
    found: Iterable[SplitIndex],
    root: Path,
    config: DataConfig,
    verify: bool,
    progress: Progress | None,
    store: Store,
) -> tuple[Records, Records]:
    """The records of A's files and of B's: one survey, where both are read in the same way."""
    due: dict[Options, dict[Source, None]] = {}
    read_as = []
    for side, domain in (("a", config.a), ("b", config.b)):
        read_as.append(
            Options(
                domain.pages,
                domain.indices,
                config.max_megapixels * 10**6,
                0 if domain.indices else domain.file_channels,
                str(domain.nodata) if domain.has_nodata else "none",
            )
        )
        for one in found:
            files = one.a if side == "a" else one.b
            due.setdefault(read_as[-1], {}).update(dict.fromkeys(files))
    total, before = sum(map(len, due.values())), 0
    made: dict[Options, Records] = {}
    for options, sources in due.items():
        told = _from(before, total, progress)
        made[options] = survey(
            sources,
            **options._asdict(),
            verify=verify,
            progress=told,
            store=store,
            root=root,
        )
        before += len(sources)
    return made[read_as[0]], made[read_as[1]]


def _from(before: int, total: int, progress: Progress | None) -> Progress | None:
    return (lambda done, _: progress(before + done, total)) if progress else None


def usable(
    checked: Checked, config: DataConfig, note: Callable[[str], None] = lambda text: None
) -> dict[str, SplitIndex]:
    """What can be trained on of each split, by `config.on_bad`; `note` is told what is left out.

    Raises UserError where anything is wrong, or, under `skip`, where it is not single files or
    more than `max_bad` of them. Pairs lose both images; nothing takes the place of what is bad.
    """
    if errors := _errors(checked, config):
        raise UserError(_refusal(checked, config, errors))
    bad = [f"{source} {reason}" for source, reason in checked.bad.items()]
    alone = [f"{s} belongs to nothing" for one in checked.found.values() for s in one.unmatched]
    if not (bad or alone):
        return dict(checked.found)
    note(f"left out: {len(bad + alone)} files: {some(bad + alone)}")
    return {split: _without(one, checked) for split, one in checked.found.items()}


def _without(found: SplitIndex, checked: Checked) -> SplitIndex:
    a, b = found.a, found.b
    if checked.paired or found.side_by_side:
        pairs = [pair for pair in zip(a, b, strict=True) if not checked.bad.keys() & set(pair)]
        a, b = tuple(one for one, _ in pairs), tuple(two for _, two in pairs)
    else:
        a, b = (tuple(s for s in side if s not in checked.bad) for side in (a, b))
    if not (a and b):
        raise UserError(f"{found.layout}: nothing is left without the files that can't be used")
    return replace(found, a=a, b=b, unmatched={})


def _errors(checked: Checked, config: DataConfig) -> list[Finding]:
    errors = [finding for finding in checked.findings if finding.level == "error"]
    if not errors or config.on_bad == "refuse":
        return errors
    count, total = checked.left_out()
    tolerated = count <= config.max_bad * total
    return [finding for finding in errors if not (tolerated and finding.skippable)]


def _refusal(checked: Checked, config: DataConfig, errors: list[Finding]) -> str:
    count, total = checked.left_out()
    parts = [headline(finding) for finding in errors]
    if config.on_bad == "skip" and count > config.max_bad * total:
        parts.insert(
            0,
            f"{count} of {total} files can't be used, more than data.max_bad "
            f"{config.max_bad:g} allows",
        )
    return f"{'; '.join(parts)}; viceversa check {in_shell(checked.path)} tells more"
