"""Comparison of runs: the table, the page and the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support import common, training_lines, validation_line, write_log, write_run

from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.reports import compare_page, compare_table, run_page


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        write_run(folder / "one", grids=2),
        write_run(
            folder / "two",
            last=5000,
            grids=2,
            seed=1,
            with_warnings=False,
            train={"lr": 1e-3, "run": "runs/two"},
        ),
    ]


def test_table_of_differences_and_results(two: list[Path]) -> None:
    head, *rest = compare_table(two)
    rows = {name: cells for name, *cells in rest}
    assert head == ["", "one", "two"]
    assert [name for name in rows if "." in name and " " not in name] == ["train.lr"]
    assert rows["train.lr"] == ["0.0002", "0.001"]
    assert rows["state"] == ["finished", "not finished"]
    assert rows["images processed"] == ["8,000", "5,000"]
    last = [training_lines(8000), training_lines(5000, seed=1)]
    assert rows["loss g_l1"] == [f"{lines[-1]['loss.g_l1']:.4g}" for lines in last]
    found = validation_line(5000)
    assert rows["L1, last (after images)"][1] == f"{found['val_ema.l1']:.4g} (5,000)"
    assert rows["problems"] == ["saturated discriminator", "none"]


def test_best_value_is_the_lowest_or_highest_by_metric(tmp_path: Path) -> None:
    runs = []
    for name, l1, psnr in (("a", [3.0, 1.0, 2.0], [10.0, 30.0, 20.0]), ("b", [1.0], [5.0])):
        (tmp_path / name).mkdir()
        runs.append(tmp_path / name)
        write_log(
            tmp_path / name,
            [
                common("validation", 100 * i) | {"val.l1": one, "val.psnr": other, "val.new": one}
                for i, (one, other) in enumerate(zip(l1, psnr, strict=True), start=1)
            ],
        )
    rows = {name: cells for name, *cells in compare_table(runs)}
    assert rows["L1, best (after images)"] == ["1 (200)", "1 (100)"]
    assert rows["PSNR, best (after images)"] == ["30 (200)", "5 (100)"]
    assert rows["L1, last (after images)"] == ["2 (300)", "1 (100)"]
    assert (
        "new, best (after images)" not in rows
    )  # it is not known whether lower or higher is better


def test_metric_of_one_direction_names_it(tmp_path: Path) -> None:
    found = {"val.cycle": 0.2, "val.cycle_ab": 0.1, "val.cycle_ba": 0.3}
    for name in "ab":
        (tmp_path / name).mkdir()
        write_log(tmp_path / name, [common("validation", 100) | found])
    rows = {name: cells for name, *cells in compare_table([tmp_path / "a", tmp_path / "b"])}
    assert rows["Cycle error (A to B), best (after images)"] == ["0.1 (100)"] * 2
    assert rows["Cycle error, best (after images)"] == ["0.2 (100)"] * 2


def test_charts_have_a_line_for_each_run(two: list[Path]) -> None:
    text = compare_page(two)
    charts = re.findall(r'<figure class="chart" data-title="([^"]*)">(.*?)</figure>', text, re.S)
    assert [title for title, _ in charts] == [
        "L1",
        "PSNR",
        "d_real",
        "d_fake",
        "g_l1",
        "g_gan",
        "Images per second",
    ]
    lines = {title: re.findall('data-name="([^"]*)"', body) for title, body in charts}
    assert lines["g_l1"] == ["one", "two"]
    assert lines["L1"] == ["one", "one, EMA", "two", "two, EMA"]
    assert re.findall(r'alt="(Samples of \w+ after [\d,]+)', text) == [
        "Samples of one after 8,000",
        "Samples of two after 5,000",
    ]


def test_runs_of_the_same_name_get_longer_names(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / at / "facades", grids=0) for at in ("x", "y")]
    assert compare_table(runs)[0] == ["", "x/facades", "y/facades"]
    assert compare_table([runs[0], runs[0]])[0] == ["", "facades (1)", "facades (2)"]


@pytest.mark.slow
def test_incomplete_sample_grid_is_replaced_by_the_previous_one(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, grids=3) for name in ("a", "b")]
    newest = runs[0] / "samples" / "00008000.png"
    newest.write_bytes(newest.read_bytes()[:900])
    assert re.findall(r'alt="Samples of (.*?) images', compare_page(runs)) == [
        "a after 4,000",
        "b after 8,000",
    ]


def test_invalid_folders_are_refused(two: list[Path], tmp_path: Path) -> None:
    for few in ([], two[:1]):
        with pytest.raises(UserError, match="name two or more runs"):
            compare_table(few)
    with pytest.raises(UserError, match=f"{tmp_path} is not a run folder"):
        compare_page([two[0], tmp_path])


def test_command_prints_the_table_and_writes_the_page(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compare", *map(str, two)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["one", "two"]
    assert ["train.lr", "0.0002", "0.001"] in [line.split() for line in lines]
    assert lines[0].index("one") == lines[1].index("0.0002")
    page = tmp_path / "new" / "compare.html"
    main(["compare", *map(str, two), "-o", str(page)])
    assert page.read_text() == compare_page(two)
    assert capsys.readouterr().out.endswith(f"the page: {page}\n")


def test_control_characters_of_files_are_escaped_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path / name, grids=0, train={"seed": name}) for name in "ab"]
    hostile = "\x1b[2J\x07 <b>"
    (runs[0] / "config.json").write_text('{"train": {"seed": "\\u001b[2J\\u0007 <b>"}}')
    assert hostile in str([row[1] for row in compare_table(runs)]).encode().decode("unicode_escape")
    main(["compare", *map(str, runs)])
    output = capsys.readouterr().out
    assert "\x1b" not in output and "\x07" not in output and r"\x1b[2J\x07 <b>" in output


def run_with_grids(folder: Path, grids: list[int], values: dict[str, float], n: int) -> Path:
    """Write a run with empty sample grids, and a validation on `n` images."""
    (folder / "samples").mkdir(parents=True)
    for images in grids:
        (folder / "samples" / f"{images:08d}.png").write_bytes(b"")
    named = {f"val.{name}": value for name, value in values.items()}
    write_log(folder, [common("validation", 100) | {"n": n} | named])
    return folder


@pytest.mark.parametrize(
    ("one", "two", "unequal"),
    [
        ([100, 200], [100, 200], False),
        ([100, 200], [200], False),
        ([100, 200], [100], True),
        ([2000], [100], True),
        ([100], [], False),
        ([], [], False),
    ],
)
def test_sample_grids_of_different_steps_are_marked(
    one: list[int],
    two: list[int],
    unequal: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [run_with_grids(tmp_path / "a", one, {}, 1), run_with_grids(tmp_path / "b", two, {}, 1)]
    rows = {name: cells for name, *cells in compare_table(runs)}
    heading = f"last sample grid (images){', steps differ' if unequal else ''}"
    assert rows[heading] == [f"{max(s):,}" if s else "–" for s in (one, two)]
    assert ("steps differ" in compare_page(runs)) is unequal
    main(["compare", *map(str, runs)])
    assert ("steps differ" in capsys.readouterr().out) is unequal


def test_fid_and_kid_of_few_images_are_marked(tmp_path: Path) -> None:
    values = {"fid": 80.0, "kid": 0.5, "l1": 0.2}
    runs = [
        run_with_grids(tmp_path / "a", [], values, 60),
        run_with_grids(tmp_path / "b", [], values, 3000),
    ]
    rows = {name: cells for name, *cells in compare_table(runs)}
    for kind in ("last", "best"):
        assert rows[f"FID, {kind} (after images)"] == ["80 (100), few images: 60", "80 (100)"]
        assert rows[f"KID, {kind} (after images)"] == ["0.5 (100), few images: 60", "0.5 (100)"]
        assert rows[f"L1, {kind} (after images)"] == ["0.2 (100)"] * 2
    pages = [run_page(run) for run in runs]
    assert 'data-title="FID (few images: 60)"' in pages[0]
    assert 'data-title="KID (few images: 60)"' in pages[0] and 'data-title="L1"' in pages[0]
    assert 'data-title="FID"' in pages[1] and "few images" not in pages[1]


HU = {"low": -1000, "high": 3000, "peak": 4000, "unit": "HU"}
BYTES = {"low": 0, "high": 255, "peak": 255, "unit": ""}


def runs_with_ranges(root: Path, ranges: dict[str, dict[str, object]]) -> list[Path]:
    """Runs with a validation, whose values of B have these ranges; {}: unknown."""
    for i, (name, values) in enumerate(ranges.items()):
        found = {"val.l1": 0.1 + i, "val.psnr": 20.0 + i, "val.fid": 5.0 + i}
        found |= {"val.l1_in_unit": 300.0 + i} if values.get("unit") else {}
        (root / name).mkdir()
        write_log(root / name, [common("validation", 100) | found])
        machine = {"value_ranges": {"b": values}} if values else {}
        (root / name / "machine.json").write_text(json.dumps(machine))
    return [root / name for name in ranges]


def test_values_with_different_peaks_are_not_in_one_row(tmp_path: Path) -> None:
    runs = runs_with_ranges(tmp_path, {"one": BYTES, "two": HU, "three": HU, "old": {}})
    rows = {title: cells for title, *cells in compare_table(runs)}
    assert rows["values of B"] == [
        "0 to 255 (peak 255)",
        *["-1000 to 3000 HU (peak 4000 HU)"] * 2,
        "–",
    ]
    assert rows["PSNR, peak 255, best (after images)"] == ["20 (100)", "–", "–", "–"]
    assert rows["PSNR, peak 4000 HU, best (after images)"] == ["–", "21 (100)", "22 (100)", "–"]
    assert rows["PSNR, peak unknown, last (after images)"] == ["–", "–", "–", "23 (100)"]
    assert "PSNR, best (after images)" not in rows and "L1, last (after images)" not in rows
    assert rows["FID, last (after images)"][1].startswith("6 (100)")  # of images as displayed
    assert rows["PSNR"] == ["mean over images"] * 4
    assert rows["L1 in HU, best (after images)"] == ["–", "301 (100)", "302 (100)", "–"]
    assert [title for title in rows if "L1 in" in title and "HU" not in title] == []
    page = compare_page(runs)
    charts = re.findall(r'<figure class="chart" data-title="([^"]*)">', page)
    assert [title for title in charts if title.startswith("PSNR")] == [
        "PSNR, peak 255",
        "PSNR, peak 4000 HU",
        "PSNR, peak unknown",
    ]


def test_values_with_one_peak_are_in_one_row(tmp_path: Path) -> None:
    runs = runs_with_ranges(tmp_path, {"one": HU, "two": HU})
    rows = {title: cells for title, *cells in compare_table(runs)}
    assert rows["PSNR, best (after images)"] == ["20 (100)", "21 (100)"]
    assert rows["values of B"] == ["-1000 to 3000 HU (peak 4000 HU)"] * 2
    assert "peak 4000" not in " ".join(title for title in rows)


def test_only_the_range_of_the_target_counts(tmp_path: Path) -> None:
    runs = runs_with_ranges(tmp_path, {"one": HU, "two": HU})
    ranges = {"value_ranges": {"a": BYTES, "b": HU}}
    (runs[0] / "machine.json").write_text(json.dumps(ranges))
    ranges["value_ranges"]["a"] = HU
    (runs[1] / "machine.json").write_text(json.dumps(ranges))
    for run in runs:
        write_log(run, [common("validation", 100) | {"val.l1_ab": 0.1, "val.l1_ba": 0.2}])
    rows = [title for title, *_ in compare_table(runs)]
    assert "L1 (A to B), last (after images)" in rows
    assert "L1 (B to A), peak 255, last (after images)" in rows
