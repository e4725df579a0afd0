"""Test scans of image files: records, cached results, and when a file is read again."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from viceversa.data.check.scan import scan_files
from viceversa.images import Pixels, Source
from viceversa.images.io import ReadOptions


@pytest.fixture(autouse=True)
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of decoded files, in the order of decoding."""
    from viceversa.data.check import scan as module

    original = module.decode
    names: list[str] = []

    def spy(data: bytes, name: Source, *rest: object, **named: object) -> object:
        names.append(name.name.name)
        return original(data, name, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "decode", spy)
    yield names


def noise(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def images(folder: Path, count: int = 3) -> list[Source]:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(noise(number)).save(folder / f"{number}.png")
    return [Source(folder / f"{number}.png") for number in range(count)]


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace the contents of a file, keeping its size and modification time."""
    before = path.stat()
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def stored(store: Path) -> Path:
    (path,) = (store / "scans").iterdir()
    return path


def test_record_of_an_image(tmp_path: Path) -> None:
    values = np.arange(2 * 6 * 2, dtype=np.uint16).reshape(2, 6, 2) + 300
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack", planarconfig="contig")
    (record,) = scan_files([Source(tmp_path / "x.tif")], store=None).values()
    assert (record.height, record.width, record.channels, record.dtype) == (2, 6, 2, "uint16")
    assert record.range == ((300, 301), (322, 323))
    assert record.halves == (((300, 301), (316, 317)), ((306, 307), (322, 323)))
    assert not record.error and len(record.sha256) == 64


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 1, 1), (1, 5, 4), (7, 8, 3), (7, 9, 6)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_ranges_are_minima_and_maxima_of_the_pixels(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    values = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    (record,) = scan_files([Source(tmp_path / "x.npy")], store=None).values()
    assert record.range[0] == tuple(values.min(axis=(0, 1)))
    assert record.range[1] == tuple(values.max(axis=(0, 1)))
    middle = shape[1] // 2
    for half, (low, high) in zip(
        (values[:, : middle or 1], values[:, middle:]), record.halves, strict=True
    ):
        assert (low, high) == (tuple(half.min(axis=(0, 1))), tuple(half.max(axis=(0, 1))))


def test_second_scan_decodes_nothing(tmp_path: Path, decoded: list[str]) -> None:
    sources, store = images(tmp_path / "set"), tmp_path / "store"
    first = scan_files(sources, store=store)
    assert sorted(decoded) == ["0.png", "1.png", "2.png"]
    (tmp_path / "set" / "bad.png").write_bytes(b"not an image")
    sources.append(Source(tmp_path / "set" / "bad.png"))
    scan_files(sources, store=store)
    decoded.clear()
    again = scan_files(sources, store=store)
    assert decoded == [] and list(again) == sources
    assert {source: again[source] for source in first} == first
    assert "is not an image" in again[sources[-1]].error


def test_repeated_source_is_decoded_once(tmp_path: Path, decoded: list[str]) -> None:
    sources = images(tmp_path)
    assert list(scan_files(sources + sources, store=None)) == sources
    assert len(decoded) == 3


def test_only_changed_files_are_decoded(tmp_path: Path, decoded: list[str]) -> None:
    sources, store = images(tmp_path / "set"), tmp_path / "store"
    scan_files(sources, store=store)
    decoded.clear()
    Image.fromarray(noise(9)[:5]).save(sources[1].path)
    os.utime(sources[2].path, ns=(1, 1))  # another time, the same bytes
    records = scan_files(sources, store=store)
    assert decoded == ["1.png"] and records[sources[1]].height == 5
    assert records[sources[2]].mtime_ns == 1
    decoded.clear()
    scan_files(sources, store=store)
    assert decoded == []


def test_verify_detects_changes_of_the_same_size_and_time(
    tmp_path: Path, decoded: list[str]
) -> None:
    (source, *_), store = images(tmp_path / "set", 1), tmp_path / "store"
    before = scan_files([source], store=store)[source]
    data = source.path.read_bytes()
    replace_bytes(source.path, b"x" * len(data))
    decoded.clear()
    assert scan_files([source], store=store)[source] == before and decoded == []
    changed = scan_files([source], store=store, verify=True)[source]
    assert changed.error and changed.sha256 != before.sha256
    assert scan_files([source], store=store)[source] == changed
    replace_bytes(source.path, data)
    decoded.clear()
    assert scan_files([source], store=store, verify=True)[source] == before
    scan_files([source], store=store, verify=True)
    assert decoded == ["0.png"]  # the last scan only hashed it


@pytest.mark.parametrize(
    "damage",
    [b"", b"no store", b"0" * 64 + b"\n{}", b"\xff\xfe", b"null"],
    ids=["empty", "foreign", "wrong hash", "invalid text", "null"],
)
def test_damaged_store_is_rebuilt(tmp_path: Path, decoded: list[str], damage: bytes) -> None:
    sources, store = images(tmp_path / "set"), tmp_path / "store"
    first = scan_files(sources, store=store)
    stored(store).write_bytes(damage)
    decoded.clear()
    assert scan_files(sources, store=store) == first and len(decoded) == 3
    decoded.clear()
    assert scan_files(sources, store=store) == first and decoded == []


def test_store_of_another_structure_is_rebuilt(tmp_path: Path) -> None:
    import hashlib

    sources, store = images(tmp_path / "set"), tmp_path / "store"
    first = scan_files(sources, store=store)
    path = stored(store)
    body = path.read_bytes().partition(b"\n")[2]
    for content in (
        b"[]",
        b"{}",
        b'"x"',
        body.replace(b"[[[", b"[[", 1),
        body.replace(b"],[", b"],[[", 1),
    ):
        path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        assert scan_files(sources, store=store) == first


def test_store_that_cannot_be_written_is_not_an_error(tmp_path: Path, decoded: list[str]) -> None:
    sources = images(tmp_path / "set")
    (tmp_path / "file").write_text("not a folder")
    for _ in range(2):
        assert len(scan_files(sources, store=tmp_path / "file")) == 3
    assert len(decoded) == 6
    assert (tmp_path / "file").read_text() == "not a folder"


def test_results_are_stored_per_read_options(tmp_path: Path) -> None:
    path, store = tmp_path / "set" / "x.png", tmp_path / "store"
    path.parent.mkdir()
    Image.fromarray(noise(0)).quantize(9).save(path)
    colours = scan_files([Source(path)], store=store)[Source(path)]
    numbers = scan_files([Source(path)], ReadOptions(indices=True), store=store)[Source(path)]
    assert colours.channels == 3 and numbers.channels == 1 and numbers.range[1][0] < 9
    small = scan_files([Source(path)], ReadOptions(max_pixels=10), store=store)[Source(path)]
    assert "more than" in small.error
    assert scan_files([Source(path)], store=store)[Source(path)] == colours


def test_archive_is_scanned_without_unpacking(tmp_path: Path, decoded: list[str]) -> None:
    images(tmp_path / "set")
    archive, store = tmp_path / "set.zip", tmp_path / "store"
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(3):
            file.write(tmp_path / "set" / f"{number}.png", f"in/{number}.png")
    sources = [Source(archive, f"in/{number}.png") for number in range(3)]
    records = scan_files(sources, store=store, root=archive)
    in_folder = scan_files(images(tmp_path / "set"), store=None)
    assert [r.sha256 for r in records.values()] == [r.sha256 for r in in_folder.values()]
    decoded.clear()
    assert scan_files(sources, store=store, root=archive) == records and decoded == []
    missing = Source(archive, "in/9.png")
    assert "cannot be read" in scan_files([missing], store=store)[missing].error


def test_unusual_file_names_are_stored(tmp_path: Path, decoded: list[str]) -> None:
    (source, *_) = images(tmp_path / "set", 1)
    strange = [b"new\nline.png", b"not-utf8-\xff.png", "schön.png".encode(), b"\\u0000.png"]
    sources = []
    for name in strange:
        path = Path(os.fsdecode(os.fsencode(source.path.parent) + b"/" + name))
        path.write_bytes(source.path.read_bytes())
        sources.append(Source(path))
    first = scan_files(sources, store=tmp_path / "store")
    decoded.clear()
    assert scan_files(sources, store=tmp_path / "store") == first and decoded == []
    assert len({record.sha256 for record in first.values()}) == 1


def test_store_is_found_from_any_current_folder(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, store = images(tmp_path / "set"), tmp_path / "store"
    scan_files(sources, store=store, root=tmp_path / "set")
    decoded.clear()
    monkeypatch.chdir(tmp_path)
    records = scan_files([Source(Path("set/1.png"))], store=store, root=Path("set"))
    assert decoded == [] and list(records) == [Source(Path("set/1.png"))]


def test_special_files_are_reported_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    sources = [Source(tmp_path / name) for name in ("fifo.png", "folder.png", "gone.png")]
    errors = [record.error for record in scan_files(sources, store=None).values()]
    assert errors[:2] == ["is not a regular file"] * 2 and "No such file" in errors[2]


def test_file_too_large_for_an_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(10**12)
    (record,) = scan_files([Source(tmp_path / "huge.png")], store=None).values()
    assert record.error == "is a file of 1000 GB, too large for an image"


def test_progress_counts_every_file_and_ends_complete(tmp_path: Path) -> None:
    sources, store = images(tmp_path / "set", 20), tmp_path / "store"
    for _ in range(2):
        calls: list[tuple[int, int]] = []
        scan_files(sources, store=store, progress=lambda done, total: calls.append((done, total)))  # noqa: B023
        assert calls[-1] == (20, 20) and calls == sorted(calls)


def test_results_of_an_interrupted_scan_are_stored(tmp_path: Path, decoded: list[str]) -> None:
    sources, store = images(tmp_path / "set", 40), tmp_path / "store"

    def stop(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    blocks, threads = Image.core.get_blocks_max(), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        scan_files(sources, store=store, threads=1, progress=stop)
    assert threading.active_count() <= threads  # other tests may have left threads
    assert Image.core.get_blocks_max() == blocks
    decoded.clear()
    assert len(scan_files(sources, store=store)) == 40
    assert len(decoded) == 20


def test_scan_of_no_files(tmp_path: Path) -> None:
    assert scan_files([], store=tmp_path) == {}
