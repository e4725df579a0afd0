"""Logs as columns: appended and replaced files, lines written again, invalid lines."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import common, training_lines, validation_line, write_log

from viceversa import run_log
from viceversa.reports import log_columns
from viceversa.reports.log_columns import LogColumns, parse


def text(*lines: dict[str, Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def opened(folder: Path) -> LogColumns:
    """Return the table of a log that is read at once."""
    table = LogColumns(folder / "log.jsonl")
    table.refresh()
    return table


def equal(one: LogColumns, two: LogColumns) -> bool:
    """Return whether two tables have the same contents."""
    same = one.rows.keys() == two.rows.keys() and one.others == two.others
    return same and all(np.array_equal(one.rows[n], two.rows[n], True) for n in one.rows)


def test_columns_contain_the_values_of_the_lines(tmp_path: Path) -> None:
    lines = [*training_lines(2000), validation_line(2000)]
    write_log(tmp_path, lines)
    table = opened(tmp_path)
    assert table.names("loss") == ["d_real", "d_fake", "g_l1", "g_gan"]
    assert table.names("grad_norm") == ["generator", "discriminator"]
    for name in ("images", "time", "lr", "images_per_s", "loss.g_l1"):
        assert table.column(name).tolist() == [line[name] for line in lines[:-1]]
    assert table.last("epoch") == 5 and table.others == lines[-1:]
    assert np.isnan(table.column("loss.unknown")).all() and len(table.column("x")) == len(table)


@pytest.mark.parametrize("block", [1, 200, 10**6])
def test_appended_lines_are_read_as_if_at_once(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_columns, "BLOCK", block)
    lines = [*training_lines(1000), validation_line(1000), *training_lines(2000)[5:]]
    lines += training_lines(1600, seed=3)[6:]  # of a run that was resumed at 1,200 images
    data, path = text(*lines).encode(), tmp_path / "log.jsonl"
    table = LogColumns(path)
    table.refresh()
    assert len(table) == 0
    for end in (0, 1, 100, 900, 901, 2500, 2600, len(data) - 1, len(data)):
        path.write_bytes(b"")  # the same file, which grows
        with path.open("r+b") as file:
            file.write(data[:end])
        table.refresh()
        assert equal(table, opened(tmp_path))
    assert table.column("images").tolist() == list(range(200, 1601, 200))
    expected = [*training_lines(1200), *training_lines(1600, seed=3)[6:]]
    assert table.column("loss.g_l1").tolist() == [line["loss.g_l1"] for line in expected]
    assert [one["kind"] for one in table.others] == ["validation"]


def test_only_appended_lines_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = training_lines(2000)
    write_log(tmp_path, lines[:8])
    table = opened(tmp_path)
    parsed: list[bytes] = []
    monkeypatch.setattr(log_columns, "parse", lambda new: parsed.extend(new) or parse(new))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(text(*lines[8:]))
    table.refresh()
    assert len(parsed) == 2 and len(table) == 10
    table.refresh()
    assert len(parsed) == 2


def test_replaced_and_shortened_files_are_read_again(tmp_path: Path) -> None:
    write_log(tmp_path, training_lines(2000))
    table = opened(tmp_path)
    other = tmp_path / "other"
    other.write_text(text(*training_lines(4000, seed=1)))
    os.replace(other, tmp_path / "log.jsonl")
    table.refresh()
    assert equal(table, opened(tmp_path)) and len(table) == 20
    write_log(tmp_path, training_lines(600, seed=2))  # the same file, shorter
    table.refresh()
    assert equal(table, opened(tmp_path)) and len(table) == 3
    (tmp_path / "log.jsonl").unlink()
    table.refresh()
    assert len(table) == 0 and table.rows == {}


def test_same_entries_as_reading_line_by_line(tmp_path: Path) -> None:
    lines = [*training_lines(1000), validation_line(600), *training_lines(800, seed=1)[2:]]
    lines += [validation_line(800), validation_line(800)]
    write_log(tmp_path, lines)
    table, entries = opened(tmp_path), run_log.read(tmp_path / "log.jsonl")
    trained = [one for one in entries if one["kind"] == "train"]
    assert table.column("images").tolist() == [one["images"] for one in trained]
    assert table.column("loss.g_l1").tolist() == [one["loss.g_l1"] for one in trained]
    assert table.others == [one for one in entries if one["kind"] != "train"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b'{"kind": "train", "images": 2',
        b'{"kind": "train"}, {"kind": "train"}',
        b"[1]",
        b"{}",
        b'{"kind": "train", "images": "2"}',
        b'{"kind": "train", "images": true}',
        b'{"kind": "train", "images": -1}',
        b'{"kind": "train", "images": NaN}',
        b'{"kind": "train", "images": 1e400}',
        b'{"kind": "train", "images": 1' + b"0" * 400 + b"}",
        b"[" * 100_000,
        b'{"kind": "train", "images": 2}, {"kind": "train", "images": 2',
        b"\xff\xfe\x00",
    ],
)
def test_invalid_line_is_left_out(line: bytes) -> None:
    good = [text(one).encode() for one in training_lines(600)]
    found, images = parse([good[0], line + b"\n", *good[1:]])
    assert [one["images"] for one in found] == [200, 400, 600] == images.tolist()


def test_byte_order_mark_and_invalid_utf8_are_read(tmp_path: Path) -> None:
    first, second = (text(one).encode() for one in training_lines(400))
    (tmp_path / "log.jsonl").write_bytes(
        b"\xef\xbb\xbf" + first + second[:-2] + b', "x": "\xff"}\n'
    )
    assert len(opened(tmp_path)) == 2


def test_values_that_are_no_finite_numbers_are_nan(tmp_path: Path) -> None:
    invalid = [None, True, "1", [], {}, math.nan, math.inf, 10**400, 5, 2.5]
    write_log(tmp_path, [common("train", i) | {"loss.g": v} for i, v in enumerate(invalid, 1)])
    column = opened(tmp_path).column("loss.g")
    assert np.isnan(column[:-2]).all() and column[-2:].tolist() == [5, 2.5]


def test_losses_may_appear_later(tmp_path: Path) -> None:
    write_log(tmp_path, [common("train", 1), common("train", 2) | {"loss.g": 3.0}])
    column = opened(tmp_path).column("loss.g")
    assert np.isnan(column[0]) and column[1] == 3
