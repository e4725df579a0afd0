"""Page of a run: its contents, and damaged, missing and hostile files."""

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
from PIL.PngImagePlugin import PngInfo
from support import (
    WARNING,
    common,
    sample_grid,
    training_lines,
    validation_line,
    write_log,
    write_run,
)

from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.reports import RunPage, log_columns, page, run_page, write_run_page
from viceversa.reports.run import MAX_GRIDS, selected
from viceversa.reports.run_folder import RunFolder
from viceversa.training.samples import sample_columns


@pytest.fixture(scope="module")
def complete_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "facades")


@pytest.fixture
def run(complete_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(complete_run, tmp_path / "facades"))


def words(text: str) -> str:
    """Return the visible text of a page."""
    visible = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", visible))


@pytest.mark.slow
def test_page_contains_the_progress_of_the_run(run: Path) -> None:
    page_text = words(run_page(run))
    for expected in (
        "method pix2pix",
        "images processed 8,000 of 8,000",
        "epoch 20 of 20",
        "state finished",
        "best L1 0.274 after 8,000 images, EMA weights",
        "memory 8.0 GiB",
        "Measured on 100 images of the split val.",
        "lower is better",
    ):
        assert expected in page_text, expected


def test_a_single_image_is_counted_in_the_singular(tmp_path: Path) -> None:
    write_log(tmp_path, [validation_line(1000) | {"n": 1}])
    assert "Measured on 1 image of the split val." in words(run_page(tmp_path))


@pytest.mark.slow
def test_page_depends_on_the_folder_only(run: Path) -> None:
    assert run_page(run) == run_page(run)


@pytest.mark.slow
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


@pytest.mark.slow
def test_active_and_resolved_problems_are_listed(run: Path) -> None:
    page_text = words(run_page(run))
    assert "saturated discriminator The discriminator's loss stayed" in page_text.replace(
        "&#39;", "'"
    )
    assert "Since 6,000 images." in page_text and "lr_per_network.discriminator 1e-4" in page_text
    assert "Resolved (1)" in page_text and "checkerboard" in page_text
    assert "from 800 to 2,400 images" in page_text


@pytest.mark.slow
def test_run_without_problems(tmp_path: Path) -> None:
    page_text = words(run_page(write_run(tmp_path / "quiet", with_warnings=False)))
    assert "No problems detected." in page_text and "What to try" not in page_text


@pytest.mark.parametrize(
    ("states", "active"),
    [
        (["warning"], True),
        (["warning", "resolved"], False),
        (["warning", "resolved", "warning"], True),
    ],
)
def test_problem_is_active_until_resolved(states: list[str], active: bool, tmp_path: Path) -> None:
    write_log(
        tmp_path,
        [
            common("diagnostic", 100 * i) | WARNING | {"diagnostic.state": state}
            for i, state in enumerate(states)
        ],
    )
    assert bool(RunFolder(tmp_path).active_problems()) is active


@pytest.mark.slow
def test_run_in_progress_is_not_finished(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", last=7000)
    found = RunFolder(run)
    assert not found.finished and found.total_images == 8000
    assert "images processed 7,000 of 8,000" in words(run_page(run))
    (run / "machine.json").unlink()
    assert "images processed 7,000 epoch 18 of 20" in words(run_page(run))


def test_lines_of_a_resumed_run_replace_earlier_ones(tmp_path: Path) -> None:
    lines = training_lines(2000)
    again = training_lines(1200, seed=5)[4:]
    write_log(tmp_path, [*lines, *again])
    found = RunFolder(tmp_path).log
    assert found.column("images").tolist() == list(range(200, 1201, 200))
    assert found.last("loss.g_l1") == again[-1]["loss.g_l1"]


@pytest.mark.slow
def test_missing_files_are_left_out(run: Path) -> None:
    for name in ("machine.json", "config.json", "patch_maps", "samples", "log.jsonl"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert run_page(run).endswith("</html>\n")
    assert "no log entry yet" in run_page(run)
    assert run_page(run / "nowhere").endswith("</html>\n")


@pytest.mark.slow
def test_truncated_log_is_read_up_to_its_end(run: Path) -> None:
    text = (run / "log.jsonl").read_bytes()
    first = len(text.splitlines(keepends=True)[0])
    for end in (0, 1, first - 1, first, first + 10, len(text) - 1, len(text) - 30):
        (run / "log.jsonl").write_bytes(text[:end])
        complete = [
            line for line in text[:end].split(b"\n") if line.endswith(b"}") and b'"train"' in line
        ]
        found = RunFolder(run)
        assert len(found.log) in (len(complete), len(complete) - 1)
        assert run_page(run).endswith("</html>\n")


INVALID: list[object] = [
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


@pytest.mark.slow
def test_page_of_invalid_contents(run: Path) -> None:
    draw = random.Random(0)
    good = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    config = json.loads((run / "config.json").read_text())
    shutil.rmtree(run / "samples")
    for _ in range(60):
        lines = json.loads(json.dumps(draw.sample(good, 12)))
        for line in lines:
            corrupt(line, draw)
        corrupt(config, draw)
        write_log(run, lines)
        (run / "config.json").write_text(json.dumps(config))
        (run / "machine.json").write_text(json.dumps(draw.choice(INVALID)))
        text = run_page(run)
        assert text.endswith("</html>\n") and text.encode() and text.count("<script>") == 1


def corrupt(table: dict[str, object], draw: random.Random) -> None:
    """Replace a value of a table, or of a nested one, by an invalid value."""
    key = draw.choice(list(table))
    inner = table[key]
    if isinstance(inner, dict) and inner and draw.random() < 0.6:
        corrupt(inner, draw)
    else:
        table[key] = copy.deepcopy(draw.choice(INVALID))


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def not_an_image(path: Path) -> None:
    path.write_text("not an image, but as long as a header would be")


def bomb(path: Path) -> None:
    """Declare 10,000 million pixels in the header."""
    data = bytearray(path.read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    path.write_bytes(bytes(data))


@pytest.mark.slow
@pytest.mark.parametrize("fault", [half, empty, not_an_image, bomb])
def test_damaged_sample_grid_is_left_out(fault: Callable[[Path], None], run: Path) -> None:
    assert run_page(run).count('class="moment"') == 5
    fault(run / "samples" / "00004000.png")
    text = run_page(run)
    assert re.findall(r'data-images="(\d+)"', text) == ["0", "2000", "6000", "8000"]
    assert "4 of 5 sample grids are shown" in text


@pytest.mark.slow
def test_names_and_contents_are_escaped(run: Path) -> None:
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


def test_non_printable_name_is_escaped() -> None:
    text = run_page(Path("a\udcff\x01\u202eb"))
    assert "<h1>a\\udcff\\x01\\u202eb</h1>" in text and text.encode()


@pytest.mark.slow
def test_content_security_policy_and_addresses(run: Path) -> None:
    text = run_page(run)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    addresses = re.findall(r'(?:src|href)="([^"]{0,12})', text)
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert "default-src 'none'" in policy and policy.count("script-src 'sha256-") == 1
    assert "http" not in re.sub(r"data:[^\"]*", "", text).replace("http-equiv", "")


def test_selected_grids_are_evenly_spaced_and_stay_selected() -> None:
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


@pytest.mark.slow
def test_fewer_grids_on_a_page_that_would_be_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", grids=30)
    text = run_page(run)
    shown = text.count('class="moment"')
    assert shown == 16 and "16 of 30 sample grids are shown" in text
    monkeypatch.setattr("viceversa.reports.run.MAX_CHARACTERS", len(text) // 4)
    smaller = run_page(run)
    fewer = smaller.count('class="moment"')
    assert 2 <= fewer < shown and len(smaller) < len(text) / 2
    assert f"{fewer} of 30 sample grids are shown" in smaller


@pytest.mark.slow
def test_page_of_large_grids_is_smaller_than_10_mb(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for images in range(24):  # noise compresses least
        path = run / f"samples/{images:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((1800, 1800), 90).convert("RGB").save(path, compress_level=0)
    assert len(run_page(run)) < 10_000_000


@pytest.mark.slow
def test_unchanged_images_are_not_encoded_again(run: Path) -> None:
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


def test_small_images_are_lossless(tmp_path: Path) -> None:
    import base64
    import io

    sample_grid(tmp_path / "s.png", 100)
    found = page.thumbnail(tmp_path / "s.png")
    assert found is not None
    held = Image.open(io.BytesIO(base64.b64decode(found.url.partition(",")[2])))
    assert held.convert("RGB").tobytes() == Image.open(tmp_path / "s.png").tobytes()


@pytest.mark.slow
def test_page_is_written_atomically(run: Path) -> None:
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


@pytest.mark.slow
def test_command_prints_the_path_of_the_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", str(run)])
    assert capsys.readouterr().out == f"the page: {run / 'report.html'}\n"
    assert (run / "report.html").read_text() == run_page(run)


@pytest.mark.parametrize("exists", [True, False])
def test_folder_that_is_no_run_is_refused(
    exists: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    if exists:
        folder.mkdir()
    with pytest.raises(SystemExit) as caught:
        main(["report", str(folder)])
    page_text = capsys.readouterr().err
    assert caught.value.code == 2 and page_text.count("\n") == 1
    assert str(folder) in page_text and "config.json and log.jsonl" in page_text
    assert not (folder / "report.html").exists()


def test_directions_of_a_metric_share_a_chart(tmp_path: Path) -> None:
    both = {
        "cycle": 0.2,
        "swd": 0.3,
        "cycle_ab": 0.1,
        "swd_ab": 0.2,
        "cycle_ba": 0.3,
        "swd_ba": 0.4,
    }
    best = {"metric": "swd", "value": 0.3, "images": 100, "weights": "raw"}
    for name, groups in {
        "ema": {"val": both, "val_ema": both, "best": best},
        "raw": {"val": both, "best": best},
        "alone": {"val": {"swd_ab": 0.2, "kid_deviation": 0.01}},
    }.items():
        (tmp_path / name).mkdir()
        named = {
            f"{group}.{key}": value for group in groups for key, value in groups[group].items()
        }
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
    directions = ["both directions", "A to B", "B to A"]
    assert charts["raw"] == {"Cycle error": directions, "Sliced Wasserstein distance": directions}
    assert charts["ema"]["Cycle error"] == [
        one for direction in directions for one in (direction, f"{direction}, EMA weights")
    ]
    assert charts["alone"] == {
        "Sliced Wasserstein distance (A to B)": ["weights"],
        "KID, deviation between subsets": ["weights"],
    }
    page_text = words(run_page(tmp_path / "raw"))
    assert (
        page_text.count("best: 0.3 after 100 images") == 1
        and page_text.count("lower is better") == 2
    )
    assert "best Sliced Wasserstein distance 0.3 after 100 images Last log entry" in page_text


@pytest.mark.parametrize(
    ("direction", "heads"),
    [
        ("ab", "A to B and back B to A and back"),
        ("ba", "B to A and back A to B and back"),
    ],
)
def test_columns_are_named_by_the_domains_on_disk(
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


# -- progress, data and models


def test_training_time_leaves_out_the_pause_before_a_resume(tmp_path: Path) -> None:
    times = [110.0, 120.0, 130.0, 5000.0, 5010.0]
    lines = [
        common("train", 10 * i) | {"time": time, "images_per_s": 1.25 if i == 4 else 1.0}
        for i, time in enumerate(times, start=1)
    ]
    write_log(tmp_path, lines)
    # The first line and the line after the pause have no previous one: images / images_per_s.
    assert RunFolder(tmp_path).seconds().tolist() == [10, 20, 30, 38, 48]
    for line in lines:  # as in logs of earlier versions
        line["time"] = None
    write_log(tmp_path, lines)
    assert RunFolder(tmp_path).seconds().tolist() == [10, 20, 30, 38, 48]
    (tmp_path / "machine.json").write_text(json.dumps({"total_images": 100}))
    assert RunFolder(tmp_path).remaining() == pytest.approx(50 * 38 / 40)
    assert "training time 48 s remaining, estimated 48 s" in words(run_page(tmp_path))


def test_remaining_time_is_that_of_the_latest_lines(tmp_path: Path) -> None:
    speeds = [1.0] * 300 + [4.0] * 200
    write_log(
        tmp_path,
        [common("train", i) | {"time": None, "images_per_s": s} for i, s in enumerate(speeds, 1)],
    )
    (tmp_path / "machine.json").write_text(json.dumps({"total_images": 900}))
    assert RunFolder(tmp_path).remaining() == pytest.approx(100)
    (tmp_path / "machine.json").write_text(json.dumps({"total_images": 500}))
    assert RunFolder(tmp_path).remaining() is None  # finished
    assert "remaining, estimated" not in words(run_page(tmp_path))


@pytest.mark.slow
def test_axes_map_images_to_epochs_and_training_time(run: Path) -> None:
    (text,) = re.findall("data-runs='([^']*)'", run_page(run))
    axes = json.loads(text)[0]["axes"]
    assert axes["epoch"] == [0, 0, 8000, 20]
    assert axes["time"][:2] == [0, 0] and axes["time"][-2] == 8000
    assert axes["time"][-1] == pytest.approx(8000 / 3, rel=0.01)  # of `common`


@pytest.mark.slow
def test_number_of_images_of_each_split(run: Path) -> None:
    assert "dataset data/facades train 400 pairs val 1,100 pairs" in words(run_page(run))
    machine = json.loads((run / "machine.json").read_text())
    machine["images"] = {"train": {"A": 3, "B": 5000}}
    (run / "machine.json").write_text(json.dumps(machine))
    assert "train 3 of A, 5,000 of B" in words(run_page(run))


def test_links_to_models_and_command_of_the_best_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "my run", grids=0)
    assert "viceversa translate" not in run_page(run)
    for name in ("ba.safetensors", "d_a.safetensors", "best/ba.safetensors"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).touch()
    text = run_page(run)
    links = re.findall('<a href="([^"]*)"', text)
    assert links == ["best/ba.safetensors", "ba.safetensors"]
    assert all((run / link).is_file() for link in links)
    assert f"viceversa translate '{run}/best/ba.safetensors' IMAGE -o OUT" in words(text).replace(
        "&#39;", "'"
    )


@pytest.mark.slow
def test_file_names_of_samples_are_listed(run: Path) -> None:
    assert "1.jpg val/2.jpg" in words(run_page(run)).replace("val/1.jpg", "1.jpg")
    for path in (run / "samples").iterdir():  # as in runs of earlier versions
        Image.open(path).convert("RGB").save(path)
    assert "Rows:" not in words(run_page(run))


def test_panels_of_a_patch_map(tmp_path: Path) -> None:
    sample_grid(tmp_path / "samples/00000100.png", 100)
    good = {"title": "generated", "note": "mean <0.2>", "box": [10, 20, 60, 50]}
    boxes: list[object] = [[0, 0, 500, 10], [5, 5, 5, 9], [1, 2, 3], "box", None, [-1, 0, 5, 5]]
    panels = [good, *({**good, "box": box} for box in boxes), 3]
    path = tmp_path / "patch_maps/00000100.png"
    path.parent.mkdir()
    about = PngInfo()
    about.add_text("viceversa", json.dumps({"panels": panels}))
    Image.effect_noise((100, 80), 90).save(path, pnginfo=about)
    found = page.thumbnail(path)
    assert found is not None and found.url == "" and len(found.panels) == 1
    assert found.panels[0][1:] == (50, 30, "generated", "mean <0.2>")
    text = run_page(tmp_path)
    assert "generated mean &lt;0.2&gt;" in words(text) and 'class="panels"' in text


@pytest.mark.parametrize("about", ["", "[]", "{", '{"rows": 3, "columns": {}, "panels": "x"}'])
def test_invalid_description_of_an_image_is_ignored(about: str, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("viceversa", about)
    Image.new("RGB", (8, 8)).save(tmp_path / "s.png", pnginfo=info)
    found = page.thumbnail(tmp_path / "s.png")
    assert found is not None and found.url and found[3:] == ((), (), ())


@pytest.mark.slow
def test_page_is_updated_from_appended_lines_and_equals_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run")
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    updated, before = RunPage(run), 0
    parsed: list[bytes] = []
    parse = log_columns.parse
    for count in (0, 1, 20, len(lines)):
        (run / "log.jsonl").write_text("".join(lines[:count]))
        with monkeypatch.context() as patch:
            patch.setattr(log_columns, "parse", lambda new: parsed.extend(new) or parse(new))
            page_of_update = updated.html()
        assert page_of_update == run_page(run)
        assert len(parsed) == count - before
        parsed.clear()
        before = count
