"""The page of a study: a line for each variant, the mean of its runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import write_log, write_run

from viceversa.reports import study_page
from viceversa.reports.study import mean_curve


def test_the_mean_of_curves_ends_where_most_runs_end() -> None:
    curves = [[(1.0, 2.0), (2.0, 4.0)], [(1.0, 4.0), (2.0, None)], [(1.0, 6.0), (3.0, 1.0)]]
    assert mean_curve(curves[:2]).tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert mean_curve(curves).tolist() == [[1.0, 4.0]]
    assert mean_curve([]).tolist() == []


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_a_line_is_the_mean_of_the_runs_of_a_variant(tmp_path: Path, weights: str) -> None:
    folders = []
    for seed, l1 in enumerate((0.2, 0.4)):
        folder = tmp_path / f"{weights}-{seed}"
        folder.mkdir()
        folders.append(folder)
        values = {"raw": {"l1": l1 if weights == "raw" else 9.0}}
        values |= {} if weights == "raw" else {"ema": {"l1": l1}}
        write_log(folder, [{"images": 100, "validation": values}])
    page = study_page({"one": folders}, [], [])
    chart = re.search(r'data-title="L1">.*?data-y="([^"]*)"', page, re.S)
    assert chart and chart[1] == "[0.3]"
    assert "2 runs of 1 variant." in page


def test_the_page_shows_table_settings_and_runs(tmp_path: Path) -> None:
    runs = {
        name: [write_run(tmp_path / name / f"seed-{i}", grids=2, train={"lr": lr}) for i in (0, 1)]
        for name, lr in (("low", 1e-4), ("<high>", 1e-3))
    }
    page = study_page(runs, [["metric", "outcome"], ["L1", "tie"]], ["a note <b>"])
    assert "<td>tie</td>" in page and "a note &lt;b&gt;" in page and "<high>" not in page
    settings = re.search(r"Settings that differ</caption>(.*?)</table>", page, re.S)
    assert settings and "train.lr" in settings[1] and "train.run" not in settings[1]
    assert page.count('<tr><th scope="row">low, seed-') == 2
    assert len(re.findall(r'alt="Samples of', page)) == 2  # one run of each variant
    assert page.count('data-title="g_l1"') == 1
