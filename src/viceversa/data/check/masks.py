"""Issues of pixels without data: values that may mean it, empty images, lossy files."""

from __future__ import annotations

from collections.abc import Iterator

from ...images import Source
from ...images.sources import JPEG_SUFFIXES
from .result import LISTED, CheckResult, Issue, issue_of


def nodata_values(check: CheckResult, domain: str) -> Iterator[Issue]:
    """Yield values that may mean no data, and different declared values."""
    parts, name = check.domain(domain), domain.upper()
    nodata = parts[0].config.nodata if parts[0].config.has_nodata else "none"
    records = {source: record for part in parts for source, record in part.readable()}
    suspected: dict[float, list[Source]] = {}
    for source, record in records.items():
        if record.suspected_nodata is not None and nodata != "none":
            suspected.setdefault(record.suspected_nodata, []).append(source)
    for value, files in suspected.items():
        text = (
            f"images of {name} in which {value:.9g} fills many pixels and is far from all other "
            "values: it may mean no data"
        )
        advice = f"set --data.{domain}.nodata {value:.9g} if it means no data, else none"
        yield from issue_of("warning", text, files, advice)
    declared = list(dict.fromkeys(record.nodata for record in records.values()))
    if nodata == "tag" and len(declared) > 1:
        values = ", ".join(value or "none" for value in declared[:LISTED])
        text = (
            f"images of {name} declare different no-data values ({values}): each is read by its "
            "own, and none is written into translations"
        )
        advice = f"set --data.{domain}.nodata to the value that all images of {name} have"
        yield Issue("warning", text, advice=advice)


def empty_images(check: CheckResult, domain: str) -> Iterator[Issue]:
    """Yield images without any data."""
    text = f"images of {domain.upper()} without any data, which are left out"
    advice = f"remove the images of {domain.upper()} without data"
    yield from issue_of("warning", text, check.empty(domain), advice)


def lossy_masks(check: CheckResult, domain: str) -> Iterator[Issue]:
    """Yield masked images in JPEG, whose blocks mix masked and valid pixels."""
    files = [
        source
        for part in check.domain(domain)
        for source, record in part.readable()
        if part.masked(record) and source.name.suffix.lower() in JPEG_SUFFIXES
    ]
    text = (
        f"masked images of {domain.upper()} in JPEG, which mixes masked and valid pixels in blocks "
        "of 8x8 or 16x16; PNG and TIFF do not"
    )
    yield from issue_of("note", text, files)
