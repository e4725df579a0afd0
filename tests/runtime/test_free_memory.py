"""The free memory of a container, from the files of its control group."""

from pathlib import Path

import pytest

from viceversa.runtime.device import free_in_group


def group(folder: Path, limit: str, used: int, cached: int) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\nactive_file 3\ninactive_file {cached}\n")
    return folder


@pytest.mark.parametrize(
    ("limit", "used", "cached", "free"),
    [
        ("1000", 400, 0, 603),
        ("1000", 1000, 700, 703),  # a container that has read large files is not full
        ("1000", 1100, 0, 0),
        ("max", 400, 0, None),
    ],
)
def test_cached_files_are_free_memory(
    tmp_path: Path, limit: str, used: int, cached: int, free: int | None
) -> None:
    assert free_in_group(group(tmp_path, limit, used, cached)) == free


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert free_in_group(tmp_path) is None
