"""log.jsonl: flat lines, of this version or converted from earlier ones without a loss."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from monitored_runs import noise_splits, settings
from support import log_lines, values, write_run

from viceversa.config.compatibility import METRICS, WEIGHTS, flat_entry
from viceversa.reports.run_folder import RunFolder
from viceversa.run_log import COMMON, group, latest, parse, read
from viceversa.training import loop
from viceversa.training.log import Log

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures").glob("*/*/*/log.jsonl"))
of_every_fixture = pytest.mark.parametrize(
    "log", FIXTURES, ids=lambda path: "-".join(path.parts[-4:-1])
)
UNKNOWN = {"time": None, "step": None, "epoch": None, "lr": None}


def entry(kind: str, images: int, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "images": images, **more}


# -- lines of this version


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 6 pairs in 2 epochs, 2 pairs a step by accumulation, validated every 4 images."""
    folder = tmp_path_factory.mktemp("flat")
    data, train = noise_splits(folder / "data"), {"accumulation_steps": 2, "ema": 0.5}
    return loop.train(settings("pix2pix", data, folder / "run", train=train))


def test_every_line_is_flat_and_begins_with_the_common_keys(run: Path) -> None:
    lines = log_lines(run)
    assert {line["kind"] for line in lines} == {"train", "validation"}
    for line in lines:
        assert tuple(line)[: len(COMMON)] == COMMON
        assert not [key for key, value in line.items() if isinstance(value, dict | list)]
        assert math.isfinite(line["time"]) and line["lr"] > 0


def test_steps_epochs_and_images_of_a_line(run: Path) -> None:
    where = [(line["images"], line["step"], line["epoch"]) for line in log_lines(run, "train")]
    assert where == [(4, 2, 1), (8, 4, 2), (12, 6, 2)]
    where = [(line["images"], line["step"], line["epoch"]) for line in log_lines(run, "validation")]
    assert where == [(4, 2, 1), (8, 4, 2), (12, 6, 2)]
    times = [line["time"] for line in log_lines(run)]
    assert times == sorted(times)


def test_pandas_reads_a_usable_table_at_once(run: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.read_json(run / "log.jsonl", lines=True)
    assert len(table) == len(log_lines(run))
    train = table[table["kind"] == "train"]
    for name in ("loss.g_l1", "grad_norm.generator", "lr", "time"):
        assert train[name].dtype.kind == "f"
        assert train[name].tolist() == pytest.approx([x[name] for x in log_lines(run, "train")])
    assert table["val.l1"].notna().sum() == len(log_lines(run, "validation"))
    assert table["images"].tolist() == [line["images"] for line in log_lines(run)]


def test_values_by_group(run: Path) -> None:
    first = read(run / "log.jsonl")[0]
    assert group(first, "loss").keys() == {"d_real", "d_fake", "g_l1", "g_gan"}
    assert group(first, "los") == {} and group({"loss.a.b": 1}, "loss") == {"a.b": 1}


# -- reading


def test_a_line_that_is_cut_anywhere_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", last=800, grids=0)
    whole = read(run / "log.jsonl")
    text = (run / "log.jsonl").read_bytes()
    start = text[:-1].rindex(b"\n") + 1
    for end in range(start, len(text)):
        (run / "log.jsonl").write_bytes(text[:end])
        assert read(run / "log.jsonl") == (whole if end == len(text) - 1 else whole[:-1])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "3",
        "[]",
        "null",
        '{"kind": "train"}',
        '{"images": true}',
        '{"images": "5"}',
        '{"images": -1}',
        '{"images": NaN}',
        '{"images": 1e400}',
        '{"images": 1' + "0" * 400 + "}",
        "[" * 100_000,
        '{"images": 5, "losses": ' + '{"x":' * 20 + "1" + "}" * 21,
        '{"images": 5, "losses": ' + '{"x":' * 900 + "1" + "}" * 901,
    ],
)
def test_a_line_that_is_no_entry_is_left_out(line: str) -> None:
    assert parse(line) is None
    assert parse('{"kind": "train", "images": 5}') is not None


def test_entries_that_a_resumed_run_wrote_again_count_once() -> None:
    first = [entry("train", 100), entry("train", 200), entry("validation", 200)]
    again = [entry("train", 200, time=9.0), entry("validation", 200, time=9.0)]
    assert latest([*first, *again]) == [first[0], *again]
    assert latest([*first, entry("train", 100, time=9.0)]) == [entry("train", 100, time=9.0)]
    problems = [
        entry("diagnostic", 100, **{"diagnostic.name": name, "diagnostic.of": of})
        for name, of in (("collapse", "ab"), ("collapse", "ba"), ("identity", "ab"))
    ]
    assert latest(problems) == problems  # several problems may begin at one step
    assert latest([*problems, problems[0]]) == [*problems[1:], problems[0]]


# -- lines of earlier versions


def test_an_old_line_of_training() -> None:
    old = {
        "images": 5,
        "epoch": 1,
        "lr": 0.1,
        "images_per_s": 7.5,
        "losses": {"g_l1": 2.0, "d": None},
        "gradients": {"generator": 3.0},
    }
    assert flat_entry(old) == {
        "kind": "train",
        "time": None,
        "step": None,
        "epoch": 1,
        "images": 5,
        "lr": 0.1,
        "images_per_s": 7.5,
        "loss.g_l1": 2.0,
        "loss.d": None,
        "grad_norm.generator": 3.0,
    }


def test_an_old_line_of_a_validation() -> None:
    old = {
        "images": 6,
        "epoch": 1,
        "validation": {
            "split": "val",
            "n": 3,
            "raw": {"content_ab": 0.5},
            "averaged": {"content_ab": 0.25},
            "chosen_by": "content",
            "best": {"value": 0.25, "images": 6, "weights": "averaged"},
        },
    }
    assert flat_entry(old) == UNKNOWN | {
        "kind": "validation",
        "epoch": 1,
        "images": 6,
        "split": "val",
        "n": 3,
        "val.edge_correlation_ab": 0.5,
        "val_ema.edge_correlation_ab": 0.25,
        "best.metric": "edge_correlation",
        "best.value": 0.25,
        "best.images": 6,
        "best.weights": "ema",
    }


def test_an_old_line_of_a_problem() -> None:
    old = {
        "images": 9,
        "health": {
            "name": "collapse",
            "of": "ab",
            "state": "over",
            "since": 4,
            "saw": "x",
            "advice": "",
        },
    }
    assert flat_entry(old) == UNKNOWN | {
        "kind": "diagnostic",
        "images": 9,
        "diagnostic.name": "collapse",
        "diagnostic.of": "ab",
        "diagnostic.state": "resolved",
        "diagnostic.since": 4,
        "diagnostic.text": "x",
        "diagnostic.advice": "",
    }


def leaves(value: Any, name: str = "") -> Counter[tuple[str, str]]:
    """The last name and the value of everything in a nested line, with the names of today."""
    if isinstance(value, dict):
        return sum((leaves(inner, key) for key, inner in value.items()), Counter())
    base, _, direction = name.partition("_")
    name = "_".join(filter(None, (METRICS[base], direction))) if base in METRICS else name
    if isinstance(value, str):
        value = WEIGHTS.get(value, METRICS.get(value, value))
    return Counter([(name.removeprefix("chosen_by"), json.dumps(value))])


def kept(flat: dict[str, Any]) -> Counter[tuple[str, str]]:
    """The same of a flat entry, without what is new in it."""
    names = {key: key.rpartition(".")[2] for key in flat} | {"best.metric": ""}
    return Counter(
        (names[key], json.dumps(value))
        for key, value in flat.items()
        if not (key in UNKNOWN and value is None) and key != "kind"
    )


@of_every_fixture
def test_no_value_of_an_old_log_is_lost(log: Path) -> None:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    entries = read(log)
    assert len(entries) == len(lines) > 6
    for line, flat in zip(lines, entries, strict=True):
        assert "kind" not in line and leaves(line) == kept(flat)
        del flat[next(key for key in flat if "." in key)]
        assert leaves(line) != kept(flat)  # the control


def test_no_value_of_any_old_line_is_lost() -> None:
    """Also values that no version has written: unknown tables, lists, names with dots."""
    draw = random.Random(0)

    def nested_table(depth: int) -> Any:
        if depth and draw.random() < 0.5:
            return {draw.choice("abcde") + str(i): nested_table(depth - 1) for i in range(3)}
        return draw.choice([1, 2.5, "x", True, None, "a.b"])

    for _ in range(200):
        tables = ("losses", "gradients", "validation", "health", "other")
        line = {"images": 3, **{key: {"x": nested_table(3)} for key in draw.sample(tables, 3)}}
        assert leaves(line) == kept(flat_entry(line))
    assert flat_entry({"images": 3, "other": [1, None]})["other"] == "[1, null]"


def test_the_number_of_steps_of_an_old_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old checkpoint has no number of steps: it is the one that Adam has counted."""
    data = noise_splits(tmp_path / "data")
    state = Log.state
    monkeypatch.setattr(Log, "state", lambda log: {k: state(log)[k] for k in ("sums", "counts")})
    train = {"epochs": 1, "accumulation_steps": 2}
    loop.train(settings("pix2pix", data, tmp_path / "run", train=train))
    monkeypatch.undo()
    run = loop.train(settings("pix2pix", data, tmp_path / "run", train=train | {"epochs": 2}))
    assert [(line["images"], line["step"]) for line in log_lines(run, "train")] == [
        (4, 2),
        (6, 3),
        (8, 4),
        (12, 6),
    ]


def test_a_resumed_run_rewrites_its_log_and_keeps_flat_lines_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log may contain lines of both forms: one that could not be rewritten on a full disk."""
    old = {"images": 4, "epoch": 1, "lr": 0.1, "losses": {"g_l1": 2.0}}
    flat = '{"kind": "train", "images": 8, "loss.g_l1":   1.0}'
    later = {"images": 12, "validation": {"raw": {"l1": 1.0}}}
    path = tmp_path / "log.jsonl"
    path.write_text(f"{json.dumps(old)}\n{flat}\n{json.dumps(later)}\n" + '{"images": 1')
    Log(tmp_path, 20, 12, 4, monitored=8).close()
    first, second = path.read_text().splitlines()
    assert json.loads(first) == flat_entry(old) and second == flat
    assert values(json.loads(first), "loss") == {"g_l1": 2.0}
    before = path.stat()
    Log(tmp_path, 20, 12, 4, monitored=8).close()
    assert path.stat().st_ino == before.st_ino  # nothing to rewrite
    assert capsys.readouterr().out == ""


def test_a_log_that_cannot_be_rewritten_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    path = tmp_path / "log.jsonl"
    old = json.dumps({"images": 4, "losses": {"g_l1": 2.0}}) + "\n"
    path.write_text(old)
    monkeypatch.setattr(Path, "write_bytes", full)
    log = Log(tmp_path, 20, 4, 4)
    monkeypatch.undo()
    log.append("train", {"loss.g_l1": 1.0})
    log.close()
    assert path.read_text().startswith(old) and "the disk is full" in capsys.readouterr().out
    assert [y for _, y in RunFolder(tmp_path).training("loss.g_l1")] == [1.0]  # the same images
    assert list(tmp_path.iterdir()) == [path]
