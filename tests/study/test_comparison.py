"""Variants over folds, seeds and groups."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from study_runs import evaluated_run
from support import raises_user_error, write_run

from viceversa.cli import main
from viceversa.study.comparison import VariantMetric, compare_variants
from viceversa.study.results import run_folders, variants_of
from viceversa.study.tables import as_csv, as_latex, as_markdown, cells, decimals, write_table

VALUES = {
    # variant -> fold -> seed -> L1 of the images of the fold
    "base": {1: [[4.0, 2.0], [6.0, 2.0]], 2: [[1.0], [1.0]]},
    "new": {1: [[3.0, 1.0], [5.0, 1.0]], 2: [[0.0], [0.0]]},
}


def runs_of(root: Path, values: dict[str, dict[int, list[list[float]]]]) -> list[Path]:
    return [
        evaluated_run(
            root / variant / f"fold-{fold}" / f"seed-{seed}",
            {f"{fold}-{i}": value for i, value in enumerate(numbers)},
            study=(variant, fold, seed),
            fid=10.0 * fold + seed,
        )
        for variant, folds in values.items()
        for fold, seeds in folds.items()
        for seed, numbers in enumerate(seeds)
    ]


def by_variant(rows: list[VariantMetric], metric: str = "l1") -> dict[str, VariantMetric]:
    return {row.variant: row for row in rows if row.metric == metric}


def test_means_and_deviations_by_hand(tmp_path: Path) -> None:
    found = compare_variants(runs_of(tmp_path, VALUES), "base")
    rows = by_variant(found.rows)
    base, new = rows["base"], rows["new"]
    # Images: (4 + 6) / 2 = 5, 2, 1. Folds: (3 + 4) / 2 and 1. Seeds: (3 + 1) / 2, (4 + 1) / 2.
    assert base.mean == pytest.approx(8 / 3) and base.runs == 4
    assert (base.images, base.groups) == (3, 3)
    assert base.fold_deviation == pytest.approx(abs(3.5 - 1) / 2**0.5)
    assert base.seed_deviation == pytest.approx(abs(2 - 2.5) / 2**0.5)
    assert base.difference is None and new.difference is not None
    # Every image is better by 1: 2 of the 8 signs are as large, which is no evidence.
    assert new.difference[:4] == pytest.approx((-1, -1, -1, 2 / 8))
    assert new.difference.outcome == "tie"
    assert any("3 groups are too few" in note for note in found.notes)
    fid = by_variant(found.rows, "fid")["base"]
    assert fid.mean == pytest.approx((10 + 11 + 20 + 21) / 4) and fid.interval is None
    assert fid.fold_deviation == pytest.approx(10 / 2**0.5) and fid.difference is None
    assert found.variants["new"] == [path for path in found.variants["new"] if "new" in str(path)]


def test_better_worse_and_tie(tmp_path: Path) -> None:
    numbers = [float(i) for i in range(8)]
    values = {
        "base": {1: [numbers]},
        "better": {1: [[n - 1 for n in numbers]]},
        "worse": {1: [[n + 0.1 for n in numbers]]},
        "same": {1: [numbers]},
        "mixed": {1: [[n + (-1) ** i for i, n in enumerate(numbers)]]},
    }
    rows = by_variant(compare_variants(runs_of(tmp_path, values), "base").rows)
    outcomes = {name: row.difference.outcome for name, row in rows.items() if row.difference}
    assert outcomes == {"better": "better", "worse": "worse", "same": "tie", "mixed": "tie"}
    p = rows["better"].difference
    assert p and p.p == pytest.approx(4 * 2 / 2**8)  # Holm: the smallest of four
    # The images of one patient are one group, and no evidence by themselves.
    for path in tmp_path.rglob("metrics.json"):
        path.write_text(path.read_text().replace('"group": ""', '"group": "patient"'))
    rows = by_variant(compare_variants(sorted(runs(tmp_path)), "base").rows)
    assert {row.difference.outcome for row in rows.values() if row.difference} == {"tie"}
    assert rows["base"].groups == 1 and rows["base"].images == 8


def runs(root: Path) -> list[Path]:
    return [path.parent.parent for path in root.rglob("metrics.json")]


def test_different_protocols_are_refused(tmp_path: Path) -> None:
    one = evaluated_run(tmp_path / "one", {"a": 1.0})
    for name, changed in (("size", "own"), ("policy", "paper"), ("flips", True), ("new", 1)):
        other = evaluated_run(tmp_path / name, {"a": 1.0}, **{name: changed})
        with raises_user_error(path=other) as caught:
            compare_variants([one, other])
        assert f"{name} is" in str(caught.value)
    allowed = evaluated_run(
        tmp_path / "allowed",
        {"a": 2.0},
        torch="2.14.0",
        hold_out=0.1,
        data="folds/fold-0.csv",
        flips=False,  # as in `one`, whose version did not have the option
    )
    assert any("torch" in note for note in compare_variants([one, allowed]).notes)


def test_different_peaks_are_refused(tmp_path: Path) -> None:
    wide = {"low": -1000, "high": 2000, "peak": 3000}
    one = evaluated_run(tmp_path / "one", {"a": 1.0})
    same_fold = evaluated_run(tmp_path / "same-fold", {"a": 1.0}, ranges=wide)
    other_data = evaluated_run(
        tmp_path / "other-data",
        {"b": 1.0},
        ranges=wide,
        settings={"train": {"lr": 1}},
        data="x.csv",
    )
    for other in (same_fold, other_data):
        with raises_user_error(option="data.b.range", path=other):
            compare_variants([one, other])
    # Ranges that are fitted to the images of each fold differ for all variants in the same way.
    folds = [
        evaluated_run(
            tmp_path / f"{name}-{fold}",
            {f"{fold}": 1.0},
            study=(name, fold, 0),
            ranges={"low": 0, "high": 100 + fold, "peak": 100 + fold},
        )
        for name in ("x", "y")
        for fold in (1, 2)
    ]
    assert any("relative to the range of each fold" in n for n in compare_variants(folds).notes)


def test_runs_that_are_not_finished_by_all_are_left_out(tmp_path: Path) -> None:
    folders = runs_of(tmp_path, VALUES)
    partial = [path for path in folders if "new/fold-2/seed-1" not in path.as_posix()]
    found = compare_variants(partial, "base")
    assert any("1 runs are left out" in note for note in found.notes)
    assert {row.runs for row in found.rows} == {3}
    with raises_user_error():
        compare_variants([folders[0], folders[-1]])


def test_runs_with_the_same_settings_are_one_variant(tmp_path: Path) -> None:
    def run(name: str, lr: float, seed: int) -> Path:
        settings = {"train": {"lr": lr, "seed": seed, "run": name}, "data": {"path": name}}
        return evaluated_run(tmp_path / name, {"a": 1.0 + seed, "b": 2.0}, settings=settings)

    folders = [run("slow-0", 1e-4, 0), run("slow-1", 1e-4, 1), run("fast", 1e-3, 0)]
    assert variants_of(folders) == ["slow", "slow", "fast"]
    rows = by_variant(compare_variants(folders).rows)
    assert rows["slow"].runs == 2 and rows["slow"].mean == pytest.approx((1.5 + 2) / 2)
    assert rows["slow"].seed_deviation == pytest.approx(0.5 / 2**0.5)
    assert rows["fast"].seed_deviation is None


def test_infinite_values_and_lost_files(tmp_path: Path) -> None:
    one = evaluated_run(tmp_path / "one", {"a": None, "b": 2.0})
    two = evaluated_run(tmp_path / "two", {"a": 1.0, "b": 3.0}, settings={"train": {"lr": 1}})
    rows = by_variant(compare_variants([one, two], "one").rows)
    assert rows["one"].images == 1 and rows["one"].mean == 2.0
    assert rows["two"].difference and rows["two"].difference.mean == 1.0  # of b alone
    with raises_user_error(option="--baseline"):
        compare_variants([one, two], "three")
    (two / "evaluation" / "metrics.json").unlink()
    with raises_user_error(path=two / "evaluation" / "metrics.json"):
        compare_variants([one, two])
    (two / "evaluation" / "metrics.json").write_text('{"protocol": 3}')
    with raises_user_error(path=two / "evaluation" / "metrics.json"):
        compare_variants([one, two])
    with raises_user_error(path=tmp_path / "one"):
        (tmp_path / "one" / "folds").mkdir()
        (tmp_path / "one" / "study.json").write_text('{"runs": [], "paired": true}')
        run_folders([tmp_path / "one"])


# -- tables


def test_csv_has_all_digits(tmp_path: Path) -> None:
    found = compare_variants(runs_of(tmp_path, VALUES), "base")
    read = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert len(read) == len(found.rows)
    for text, row in zip(read, found.rows, strict=True):
        assert text["variant"] == row.variant and float(text["mean"]) == row.mean
        assert row.interval is None or float(text["low"]) == row.interval[0]
        assert (text["outcome"] == "tie") == bool(row.difference)


def test_latex_and_markdown_have_the_same_cells(tmp_path: Path) -> None:
    name = r"a_b%c&d#e$f{g}~^\h|i"
    values = {"base": VALUES["base"], name: VALUES["new"]}
    found = compare_variants(runs_of(tmp_path / "x", {"base": VALUES["base"]}), "")
    named = [row._replace(variant=name) for row in found.rows]
    found = found._replace(rows=[*found.rows, *named])
    assert len(values) == 2
    header, *rows = cells(found)
    assert not any(title.startswith("difference") for title in header)  # no empty columns
    latex = as_latex(found)
    body = re.search(r"\\midrule\n(.*)\\bottomrule", latex, re.S)
    assert body
    lines = [line for line in body[1].splitlines() if line != r"\midrule"]
    parsed = [_latex_cells(line) for line in lines]
    assert parsed == [[cell.replace("–", "--") for cell in row] for row in rows]
    columns = re.search(r"begin\{tabular\}\{(\w+)\}", latex)
    assert columns and len(columns[1]) == len(header)
    table = [line for line in as_markdown(found).splitlines() if line.startswith("|")]
    split = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table]
    stripped = [[cell.strip().replace(r"\|", "|") for cell in row] for row in split]
    assert stripped[0] == header and stripped[2:] == rows


def _latex_cells(line: str) -> list[str]:
    """Undo the escapes of a row of LaTeX."""
    assert line.endswith(r" \\")
    plain = []
    for cell in re.split(r"(?<!\\)&", line[:-3]):
        text = cell.strip()
        for command, character in (("asciitilde", "~"), ("asciicircum", "^")):
            text = text.replace(rf"\text{command}{{}}", character)
        text = re.sub(r"\\([&%$#_{}])", r"\1", text)
        plain.append(text.replace(r"\textbackslash{}", "\\"))
    return plain


def test_numbers_of_a_column_have_the_decimals_of_their_uncertainty(tmp_path: Path) -> None:
    found = compare_variants(runs_of(tmp_path, VALUES), "base")
    base, new = (row for row in found.rows if row.metric == "l1")
    assert new.difference
    tiny = new.difference._replace(mean=-4.618e-05, low=-7.2e-05, high=-1.1e-05)
    rows = [
        base._replace(mean=0.123456, interval=(0.1, 0.14), fold_deviation=0.0123),
        new._replace(mean=0.1, interval=(0.05, 0.15), fold_deviation=0.5, difference=tiny),
    ]
    header, *table = cells(found._replace(rows=rows))
    columns = dict(zip(header, zip(*table, strict=True), strict=True))
    # Half widths are 0.02 and 0.05, and 3.05e-5; deviations are 0.0123 and more.
    assert columns["mean [95 % interval]"] == ("0.123 [0.100, 0.140]", "0.100 [0.050, 0.150]")
    assert columns["sd folds"] == ("0.012", "0.500")
    interval = "[-0.000072, -0.000011]"
    assert columns["difference [95 % interval]"] == ("–", f"-0.000046 {interval}")
    assert columns["p"] == ("–", "0.2500")
    latex = as_latex(found._replace(rows=rows))
    assert "$-$0.000046 [$-$0.000072, $-$0.000011]" in latex and "e-05" not in latex
    assert not re.search(r"[^$]-\d", latex[latex.index(r"\toprule") :])
    named = [row._replace(variant="lr-1 -2") for row in rows]  # a minus of a name is none
    assert "lr-1 -2 &" in as_latex(found._replace(rows=named))


@pytest.mark.parametrize(
    ("values", "uncertainties", "expected"),
    [
        ([123.4], [12.0], 0),
        ([123.4], [1.2], 1),
        ([0.5], [0.00031, 0.2], 5),
        ([0.5], [1e-17, 0.2], 2),  # equal images: no uncertainty, but a rounding error
        ([12.345], [], 2),
        ([0.0], [0.0], 0),
        ([1e-300], [1e-301], 12),
        ([float("inf")], [float("nan")], 0),
    ],
)
def test_decimals_by_hand(values: list[float], uncertainties: list[float], expected: int) -> None:
    assert decimals(values, uncertainties) == expected


def test_outcomes_and_the_randomness_of_training(tmp_path: Path) -> None:
    numbers = [float(i) for i in range(8)]

    def notes(name: str, base: list[float], new: list[float]) -> list[str]:
        """Notes on variants whose seeds shift all images by some numbers."""
        values = {
            variant: {1: [[n + shift for n in numbers] for shift in shifts]}
            for variant, shifts in (("base", base), ("new", new))
        }
        found = compare_variants(runs_of(tmp_path / name, values), "base")
        assert by_variant(found.rows)["new"].difference[4] == "better"  # type: ignore[index]
        return [note for note in found.notes if "seed" in note]

    (one,) = notes("one", [0.0], [-0.1])
    assert one.startswith("base, new: one seed") and "hold for these trained models" in one
    # Deviations of sqrt(1/2) over two seeds: the standard error is sqrt(1/4 + 1/4).
    (within,) = notes("within", [0.0, 1.0], [-1.0, 0.0])
    assert within.startswith("l1 of new: ") and "(0.71)" in within
    assert notes("beyond", [0.0, 1.0], [-2.0, -1.0]) == []


def test_the_ending_selects_the_format(tmp_path: Path) -> None:
    found = compare_variants(runs_of(tmp_path / "x", VALUES), "base")
    for ending, start in ((".csv", "direction,"), (".md", "| metric"), (".tex", "% needs")):
        write_table(found, tmp_path / f"table{ending}")
        assert (tmp_path / f"table{ending}").read_text().startswith(start)
    with raises_user_error(option="--out"):
        write_table(found, tmp_path / "table.xlsx")


# -- the command


def test_compare_prints_the_table_of_evaluated_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = []
    for name, shift in (("one", 0.0), ("two", -1.0)):
        evaluated_run(tmp_path / name, {f"{i}": i + shift for i in range(8)})
        folders.append(write_run(tmp_path / name, grids=1, train={"lr": 1e-3 + shift}))
    main(["compare", *map(str, folders), "--baseline", "one"])
    out = capsys.readouterr().out
    assert re.search(r"L1 \(lower is better\) +two .* better\n", out) and "train.lr" in out
    main(["compare", *map(str, folders), "-o", str(tmp_path / "t.tex")])
    assert "\\toprule" in (tmp_path / "t.tex").read_text()
    # Runs that cannot be compared are refused only where their evaluations are asked for.
    path = tmp_path / "two" / "evaluation" / "metrics.json"
    path.write_text(path.read_text().replace('"policy": "image"', '"policy": "paper"'))
    capsys.readouterr()
    main(["compare", *map(str, folders)])
    assert "note: the evaluations are not compared: " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["compare", *map(str, folders), "--baseline", "one"])
    with pytest.raises(SystemExit):
        main(["compare", *map(str, folders), "-o", str(tmp_path / "t.xlsx")])


@pytest.mark.slow
def test_the_page_of_130_runs_is_small(tmp_path: Path) -> None:
    folders = []
    for fold in range(1, 14):
        for seed in range(5):
            for variant in ("a", "b"):
                folder = tmp_path / "runs" / variant / f"fold-{fold}" / f"seed-{seed}"
                evaluated_run(folder, {f"{fold}-1": 1.0}, study=(variant, fold, seed))
                grids = 2 if fold == 1 and seed == 0 else 0
                write_run(folder, last=40_000, grids=grids, seed=fold, train={"lr": len(variant)})
    (tmp_path / "folds").mkdir()
    lines = [f'["{v}", {f}, {s}]' for f in range(1, 14) for s in range(5) for v in "ab"]
    (tmp_path / "study.json").write_text(f'{{"runs": [{", ".join(lines)}], "paired": true}}')
    page = tmp_path / "page.html"
    main(["compare", str(tmp_path), "--baseline", "a", "-o", str(page)])
    text = page.read_text()
    assert len(text) < 1_000_000
    assert "130 runs of 2 variants." in text and text.count("<figcaption><b>") >= 6
    # 130 runs without a study, each of other settings
    for i, path in enumerate(runs(tmp_path / "runs")):
        (path / "study.json").unlink()
        config = path / "config.json"
        config.write_text(config.read_text().replace('"lr": 1', f'"lr": {i}'))
        folders.append(path)
    main(["compare", *map(str, folders), "-o", str(page)])
    assert len(page.read_text()) < 5_000_000
