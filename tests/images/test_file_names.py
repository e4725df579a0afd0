"""Test file names: images, other known files, and files that are not read, by extension."""

from __future__ import annotations

import pytest

from viceversa.images import SUFFIXES
from viceversa.images.sources import ending, is_hidden, is_image_name, is_sidecar, unread


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A/1.dcm", ".dcm"),
        ("1.DCM", ".dcm"),
        ("10.nii.gz", ".nii.gz"),
        ("x.NII.GZ", ".nii.gz"),
        ("x.tar.gz", ".tar.gz"),
        ("x.ome.zarr", ".ome.zarr"),
        ("x.ome.tif", ".ome.tif"),
        ("a.b.c.dcm", ".dcm"),
        ("x.gz", ".gz"),
        ("x.2024.gz", ".gz"),
        ("noext", ""),
        ("folder.dcm/noext", ""),
        ("IM.0001", ""),
        ("1.2.840.113.2", ""),
        ("a. strange name", ""),
        ("x.", ""),
        ("x.mp4", ".mp4"),
        ("x.é", ".é"),
        ("x.jpg.part", ".part"),
    ],
)
def test_extension_of_a_file_name(name: str, expected: str) -> None:
    assert ending(name) == expected


def test_images_sidecars_and_hidden_files_by_name() -> None:
    images = ["x.jfif", "x.JPE", "x.ppm", "x.pgm", "x.pnm", "x.pbm", "x.jp2", "x.j2k", "x.ome.tif"]
    sidecars = [
        "a/notes.txt",
        "x.CSV",
        "x.json",
        "x.xml",
        "x.tif.aux.xml",
        "README.md",
        "x.html",
        "x.py",
        "README",
        "license",
        "x.pgw",
        "SHA256SUMS",
    ]
    others = ["x.dcm", "x.nii.gz", "x.avif", "x.heic", "x.exr", "x.pdf", "x", "x.part", "x.tga"]
    assert all(map(is_image_name, images)) and not any(map(is_sidecar, images))
    assert all(map(is_sidecar, sidecars)) and not any(map(is_image_name, sidecars))
    assert not any(map(is_sidecar, others)) and not any(map(is_image_name, others))
    assert all(map(is_hidden, [".x.png", "._1.jpg", "Thumbs.db", "__MACOSX", "desktop.ini"]))
    assert not any(map(is_hidden, [*images, *others]))
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)


def test_unread_files_are_grouped_by_extension() -> None:
    names = [f"A/{i}.nii.gz" for i in range(9, 4, -1)] + ["x", "B/1.DCM", "notes.txt", "n\nl.dcm"]
    groups = unread(names)
    assert [(group.ending, len(group.names)) for group in groups] == [
        (".nii.gz", 5),
        (".dcm", 2),
        ("", 1),
    ]
    assert list(map(str, groups)) == [
        "5 files ending in .nii.gz: A/5.nii.gz, A/6.nii.gz, A/7.nii.gz and 2 more",
        r"2 files ending in .dcm: B/1.DCM, n\nl.dcm",
        "1 file without an ending: x",
    ]
    assert unread(["notes.txt", "README"]) == []
