"""Text files saved by Windows programs: byte order marks are skipped, UTF-16 is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import noise_pairs, raises_user_error

from viceversa.config.recipes import read_recipe
from viceversa.data.index.manifest import read_manifest
from viceversa.reports.run_folder import RunFolder

RECIPES = {
    "mine.toml": 'base = "pix2pix"\r\n[train]\r\nepochs = 7\r\n',
    "config.json": json.dumps({"train": {"epochs": 7}}),
}
MANIFESTS = {
    "pairs.csv": "a,b\r\nA/00.png,B/00.png\r\n",
    "pairs.jsonl": '{"a": "A/00.png", "b": "B/00.png"}\r\n',
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_with_a_byte_order_mark(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(RECIPES[name].encode("utf-8-sig"))
    assert read_recipe(str(path))["train"]["epochs"] == 7
    for encoding in ("utf-16", "utf-16-be"):
        mark = b"\xfe\xff" * (encoding == "utf-16-be")
        path.write_bytes(mark + RECIPES[name].encode(encoding))
        with raises_user_error(path=path) as caught:
            read_recipe(str(path))
        assert "UTF-16" in str(caught.value)


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_with_a_byte_order_mark(name: str, tmp_path: Path) -> None:
    path = noise_pairs(tmp_path / "set", 2, 8) / name
    path.write_bytes(MANIFESTS[name].encode("utf-8-sig"))
    assert len(read_manifest(path).rows) == 1
    path.write_bytes(MANIFESTS[name].encode("utf-16"))
    with raises_user_error(path=path) as caught:
        read_manifest(path)
    assert "UTF-16" in str(caught.value)


def test_run_settings_with_a_byte_order_mark(tmp_path: Path) -> None:
    settings = {"train": {"epochs": 7}, "method": {"name": "pix2pix"}}
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "config.json").write_bytes(json.dumps(settings).encode(encoding))
        assert RunFolder(tmp_path).settings == settings
