"""A run's page: what it tells of a folder, and that no folder breaks it."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from support import WARNING, common, sample_grid, training_lines, write_log, write_run

from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.reports import page, run_page, write_run_page
from viceversa.reports.run import MAX_GRIDS, selected
from viceversa.reports.run_folder import RunFolder
from viceversa.training.samples import sample_columns


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "facades")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "facades"))


def words(text: str) -> str:
    """What a person reads of a page."""
    seen = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", seen))


def test_the_page_tells_where_the_run_stands(run: Path) -> None:
    said = words(run_page(run))
    for told in (
        "method pix2pix",
        "images processed 8,000 of 8,000",
        "epoch 20 of 20",
        "state finished",
        "best L1 0.274 after 8,000 images, EMA weights",
        "memory 8.0 GiB",
        "Measured on 100 images of the split val.",
        "lower is better",
    ):
        assert told in said, told


def test_the_page_is_of_what_lies_there_and_of_nothing_else(run: Path) -> None:
    assert run_page(run) == run_page(run)


def test_curves_have_the_values_of_the_log(run: Path) -> None:
    text = run_page(run)
    lines = training_lines(8000)
    for name in ("g_l1", "d_fake"):
        found = re.search(f'data-name="{name}" data-x="([^"]*)" data-y="([^"]*)"', text)
        assert found is not None
        assert json.loads(found[1]) == [line["images"] for line in lines]
        wanted = [line[f"loss.{name}"] for line in lines]
        assert json.loads(found[2]) == pytest.approx(wanted, rel=1e-4)
    titles = re.findall(r'<figure class="chart" data-title="([^"]*)"', text)
    assert titles == [
        "Generator",
        "Discriminator",
        "L1",
        "PSNR",
        "Gradient norm",
        "Learning rate",
        "Speed",
    ]


def test_health_tells_what_is_and_what_was(run: Path) -> None:
    said = words(run_page(run))
    assert "saturated discriminator The discriminator's loss stayed" in said.replace("&#39;", "'")
    assert "Since 6,000 images." in said and "lr_per_network.discriminator 1e-4" in said
    assert "Resolved (1)" in said and "checkerboard" in said
    assert "from 800 to 2,400 images" in said


def test_a_quiet_run_is_told_to_be_well(tmp_path: Path) -> None:
    said = words(run_page(write_run(tmp_path / "quiet", with_warnings=False)))
    assert "No problems detected." in said and "What to try" not in said


@pytest.mark.parametrize(
    ("states", "stands"),
    [
        (["warning"], True),
        (["warning", "resolved"], False),
        (["warning", "resolved", "warning"], True),
    ],
)
def test_a_warning_stands_until_it_is_over(states: list[str], stands: bool, tmp_path: Path) -> None:
    write_log(
        tmp_path,
        [
            common("diagnostic", 100 * i) | WARNING | {"diagnostic.state": state}
            for i, state in enumerate(states)
        ],
    )
    assert bool(RunFolder(tmp_path).active_problems()) is stands


def test_a_run_under_way_is_not_finished(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", last=7000)
    found = RunFolder(run)
    assert not found.finished and found.total_images == 8000
    assert "images processed 7,000 of 8,000" in words(run_page(run))
    (run / "machine.json").unlink()
    assert "images processed 7,000 epoch 18 of 20" in words(run_page(run))


def test_lines_after_a_place_to_go_on_from_no_longer_count(tmp_path: Path) -> None:
    lines = training_lines(2000)
    again = training_lines(1200, seed=5)[4:]
    write_log(tmp_path, [*lines, *again])
    found = RunFolder(tmp_path).losses
    assert [line.images for line in found] == list(range(200, 1201, 200))
    assert found[-1].losses["g_l1"] == again[-1]["loss.g_l1"]


def test_any_part_may_be_missing(run: Path) -> None:
    for name in ("machine.json", "config.json", "patch_maps", "samples", "log.jsonl"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert run_page(run).endswith("</html>\n")
    assert "no log entry yet" in run_page(run)
    assert run_page(run / "nowhere").endswith("</html>\n")


def test_a_log_cut_off_anywhere_is_read_up_to_there(run: Path) -> None:
    text = (run / "log.jsonl").read_bytes()
    first = len(text.splitlines(keepends=True)[0])
    for end in (0, 1, first - 1, first, first + 10, len(text) - 1, len(text) - 30):
        (run / "log.jsonl").write_bytes(text[:end])
        whole_lines = [
            line for line in text[:end].split(b"\n") if line.endswith(b"}") and b'"train"' in line
        ]
        found = RunFolder(run)
        assert len(found.losses) in (len(whole_lines), len(whole_lines) - 1)
        assert run_page(run).endswith("</html>\n")


STRANGE: list[object] = [
    None,
    True,
    -1,
    1e308,
    10**400,
    float("nan"),
    float("inf"),
    "text",
    "\ud800",
    [],
    [1],
    {},
    {"x": {"y": 1}},
    {"g_l1": "much"},
    {"g_l1": None},
    "<script>",
]


def test_no_contents_break_the_page(run: Path) -> None:
    draw = random.Random(0)
    good = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    config = json.loads((run / "config.json").read_text())
    shutil.rmtree(run / "samples")
    for _ in range(60):
        lines = json.loads(json.dumps(draw.sample(good, 12)))
        for line in lines:
            spoil(line, draw)
        spoil(config, draw)
        write_log(run, lines)
        (run / "config.json").write_text(json.dumps(config))
        (run / "machine.json").write_text(json.dumps(draw.choice(STRANGE)))
        text = run_page(run)
        assert text.endswith("</html>\n") and text.encode() and text.count("<script>") == 1


def spoil(table: dict[str, object], draw: random.Random) -> None:
    """Put something else in a place of a table, or in one of a table within it."""
    key = draw.choice(list(table))
    inner = table[key]
    if isinstance(inner, dict) and inner and draw.random() < 0.6:
        spoil(inner, draw)
    else:
        table[key] = copy.deepcopy(draw.choice(STRANGE))


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def no_picture(path: Path) -> None:
    path.write_text("no picture at all, but as long as a header would be")


def bomb(path: Path) -> None:
    """A few bytes that say they are 10,000 million pixels."""
    data = bytearray(path.read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("fault", [half, empty, no_picture, bomb])
def test_a_sheet_that_is_no_whole_picture_is_left_out(
    fault: Callable[[Path], None], run: Path
) -> None:
    assert run_page(run).count('class="moment"') == 5
    fault(run / "samples" / "00004000.png")
    text = run_page(run)
    assert re.findall(r'data-images="(\d+)"', text) == ["0", "2000", "6000", "8000"]
    assert "4 of 5 sample grids are shown" in text


def test_names_and_contents_are_text(run: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>\"'&</script><script>alert(1)</script>"
    renamed = run.rename(run.parent / hostile.replace("/", "\u2215"))
    (renamed / "config.json").write_text(json.dumps({hostile: {hostile: hostile, "name": "x"}}))
    (renamed / "machine.json").write_text(json.dumps({hostile: hostile}))
    write_log(
        renamed,
        [
            common("train", 5)
            | {f"loss.{hostile}": 1, f"loss.g_{hostile}": 2, f"grad_norm.{hostile}": 1},
            common("validation", 5)
            | {
                f"val.{hostile}": 1,
                "split": hostile,
                "best.metric": hostile,
                "best.value": 1,
                "best.images": 5,
                "best.weights": hostile,
            },
            common("diagnostic", 5)
            | {f"diagnostic.{name}": hostile for name in ("name", "text", "advice")},
        ],
    )
    text = run_page(renamed)
    assert text.count("<script>") == 1 and "<img src=x" not in text and 'onerror="' not in text
    assert text.count("&lt;img src=x") > 10


def test_a_name_that_is_no_text_is_shown_escaped() -> None:
    text = run_page(Path("a\udcff\x01\u202eb"))
    assert "<h1>a\\udcff\\x01\\u202eb</h1>" in text and text.encode()


def test_the_page_lets_nothing_in(run: Path) -> None:
    text = run_page(run)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    addresses = re.findall(r'(?:src|href)="([^"]{0,12})', text)
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert "http" not in re.sub(r"data:[^\"]*", "", text).replace("http-equiv", "")


def test_sheets_are_chosen_evenly_and_stay_selected() -> None:
    for count in range(1, 400):
        moments = list(range(0, 100 * count, 100))
        found = selected(moments)
        assert found[0] == moments[0] and found[-1] == moments[-1]
        assert min(count, MAX_GRIDS[0] // 2) <= len(found) <= MAX_GRIDS[0]
        steps = {b - a for a, b in pairwise(found[:-1])}
        assert len(steps) <= 1
        before = selected(moments[:-1])
        if count > 2 and len(found) > len(before):
            assert set(before[:-1]) <= set(found)


def test_a_page_has_room_for_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", grids=30)
    text = run_page(run)
    shown = text.count('class="moment"')
    assert shown == 16 and "16 of 30 sample grids are shown" in text
    monkeypatch.setattr("viceversa.reports.run.MAX_CHARACTERS", len(text) // 4)
    smaller = run_page(run)
    fewer = smaller.count('class="moment"')
    assert 2 <= fewer < shown and len(smaller) < len(text) / 2
    assert f"{fewer} of 30 sample grids are shown" in smaller


def test_large_sheets_make_no_page_beyond_10_mb(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for images in range(24):  # noise is the most there can be
        path = run / f"samples/{images:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((1800, 1800), 90).convert("RGB").save(path, compress_level=0)
    assert len(run_page(run)) < 10_000_000


def test_files_that_did_not_change_are_not_encoded_again(run: Path) -> None:
    run_page(run)
    before = page._encoded.cache_info()
    run_page(run)
    after = page._encoded.cache_info()
    assert after.misses == before.misses and after.hits > before.hits
    path = run / "samples" / "00002000.png"
    sample_grid(path, 7)
    os.utime(path, ns=(10**18, 10**18))
    run_page(run)
    assert page._encoded.cache_info().misses == before.misses + 1


def test_small_pictures_are_exact(tmp_path: Path) -> None:
    import base64
    import io

    sample_grid(tmp_path / "s.png", 100)
    found = page.thumbnail(tmp_path / "s.png")
    assert found is not None
    held = Image.open(io.BytesIO(base64.b64decode(found.url.partition(",")[2])))
    assert held.convert("RGB").tobytes() == Image.open(tmp_path / "s.png").tobytes()


def test_a_page_is_written_whole_or_not_at_all(run: Path) -> None:
    path = write_run_page(run)
    assert path == run / "report.html" and path.read_text() == run_page(run)
    assert not list(run.glob("*.tmp"))
    others = run / "report.html.1.tmp"  # of another process that writes the page just now
    others.write_text("half a page")
    write_run_page(run)
    assert others.read_text() == "half a page"
    (run / f"report.html.{os.getpid()}.tmp").mkdir()  # nothing can be written aside
    path.write_text("the old page")
    with pytest.raises(UserError, match=r"report\.html could not be written: "):
        write_run_page(run)
    assert path.read_text() == "the old page"


def test_the_command_says_where_the_page_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(run)])
    assert capsys.readouterr().out == f"the page: {run / 'report.html'}\n"
    assert (run / "report.html").read_text() == run_page(run)


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_of_no_run_is_refused(
    made: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    if made:
        folder.mkdir()
    with pytest.raises(SystemExit) as caught:
        main(["report", str(folder)])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1
    assert str(folder) in said and "config.json and log.jsonl" in said
    assert not (folder / "report.html").exists()


def test_both_ways_of_a_metric_share_a_chart(tmp_path: Path) -> None:
    both = {
        "cycle": 0.2,
        "swd": 0.3,
        "cycle_ab": 0.1,
        "swd_ab": 0.2,
        "cycle_ba": 0.3,
        "swd_ba": 0.4,
    }
    best = {"metric": "swd", "value": 0.3, "images": 100, "weights": "raw"}
    for name, said in {
        "ema": {"val": both, "val_ema": both, "best": best},
        "raw": {"val": both, "best": best},
        "alone": {"val": {"swd_ab": 0.2, "kid_deviation": 0.01}},
    }.items():
        (tmp_path / name).mkdir()
        named = {f"{group}.{key}": value for group in said for key, value in said[group].items()}
        write_log(tmp_path / name, [common("validation", 100) | named])
    charts = {
        name: {
            title: re.findall('data-name="([^"]*)"', body)
            for title, body in re.findall(
                r'<figure class="chart" data-title="([^"]*)">(.*?)</figure>',
                run_page(tmp_path / name),
                re.S,
            )
        }
        for name in ("ema", "raw", "alone")
    }
    ways = ["both directions", "A to B", "B to A"]
    assert charts["raw"] == {"Cycle error": ways, "Sliced Wasserstein distance": ways}
    assert charts["ema"]["Cycle error"] == [
        one for way in ways for one in (way, f"{way}, EMA weights")
    ]
    assert charts["alone"] == {
        "Sliced Wasserstein distance (A to B)": ["weights"],
        "KID, deviation between subsets": ["weights"],
    }
    said = words(run_page(tmp_path / "raw"))
    assert said.count("best: 0.3 after 100 images") == 1 and said.count("lower is better") == 2
    assert "best Sliced Wasserstein distance 0.3 after 100 images Last log entry" in said


@pytest.mark.parametrize(
    ("direction", "heads"),
    [
        ("ab", "A to B and back B to A and back"),
        ("ba", "B to A and back A to B and back"),
    ],
)
def test_columns_of_both_ways_are_named_by_the_domains_on_disk(
    direction: str, heads: str, tmp_path: Path
) -> None:
    sample_grid(tmp_path / "samples/00000100.png", 100, columns=6)
    dataset = SimpleNamespace(paired=False, direction=direction)
    columns = sample_columns(dict.fromkeys(("ab", "ba")), dataset)  # type: ignore[arg-type]
    machine = tmp_path / "machine.json"
    machine.write_text(json.dumps({"sample_columns": columns}))
    assert heads in words(run_page(tmp_path))
    machine.unlink()  # as in runs of version 0.1
    assert heads not in words(run_page(tmp_path))
    settings = {"method": {"name": "cyclegan"}, "data": {"direction": direction}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert heads in words(run_page(tmp_path))
