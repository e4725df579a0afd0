"""The directories of a TIFF: how many pages there are, before anything else is read."""

from __future__ import annotations

from typing import Any, BinaryIO

from .layout import MOST_PAGES, Refused


def full_pages(file: BinaryIO) -> list[int]:
    """Which directories of the file's chain are pages: no reduced copies, no masks."""
    file.seek(0)
    head = file.read(16)
    order: Any = "little" if head[:2] == b"II" else "big"
    big = int.from_bytes(head[2:4], order) == 43
    start, counts, entry, offsets = (8, 8, 20, 8) if big else (4, 2, 12, 4)
    at = int.from_bytes(head[start : start + offsets], order)
    seen: set[int] = set()
    pages: list[int] = []
    while at:
        if at in seen:
            raise Refused("is damaged or cannot be read: its pages come round to the first again")
        if len(seen) == MOST_PAGES:
            raise Refused(f"holds more than {MOST_PAGES} pages")
        file.seek(at)
        number = int.from_bytes(file.read(counts), order)
        entries = file.read(number * entry + offsets) if number <= 4096 else b""
        if not number or len(entries) < number * entry + offsets:
            raise Refused("is damaged or cannot be read: a page's directory is cut short")
        if not _partial(entries[: number * entry], entry, order):
            pages.append(len(seen))
        seen.add(at)
        at = int.from_bytes(entries[number * entry :], order)
    if not pages:
        raise Refused("holds no page of full size")
    return pages


def _partial(entries: bytes, size: int, order: Any) -> bool:
    """Whether a directory is a reduced copy or a mask of another one."""
    for at in range(0, len(entries), size):
        tag = int.from_bytes(entries[at : at + 2], order)
        value = entries[at + (8 if size == 12 else 12) :]
        if tag == 254 and int.from_bytes(value[:4], order) & 0b101:  # NewSubfileType
            return True
        if tag == 255 and int.from_bytes(value[:2], order) == 2:  # SubfileType
            return True
        if tag > 255:  # they are sorted
            return False
    return False
