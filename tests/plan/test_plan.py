"""Test `viceversa plan`: estimates against known numbers and real training steps."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from bisect import bisect_right
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from support import QUICK, noise_pairs

from viceversa import plan as planning
from viceversa.batch import Batch
from viceversa.cli import main
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.files import format_bytes
from viceversa.plan import make_plan, step_times
from viceversa.plan.alternatives import BATCHES, choices, largest
from viceversa.plan.costs import Costs, StepMeter, estimate
from viceversa.plan.images import ImageStats, inspect_images
from viceversa.plan.text import duration_text, plan_text
from viceversa.runtime.training import Runtime
from viceversa.training.loop import Run
from viceversa.training.preflight import check_disk, disk_needed
from viceversa.training.setup import make_optimizers
from viceversa.training.snapshot import snapshot
from viceversa.training.step import MicroBatch, update

CPU = torch.device("cpu")
SMALL = {
    "generator": {"width": 4},
    "discriminator": {"width": 4, "layers": 2},
    "data": {"load_size": 36, "crop_size": 32},
    "train": {"epochs": 3, "device": "cpu", "precision": "fp32"},
}
OPTIONS = QUICK | {"generator.depth": 4, "train.epochs": 3}
ARGUMENTS = [word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))]


def settings(recipe: str, /, **sections: dict[str, Any]) -> RunConfig:
    fp32: Sections = {"train": {"precision": "fp32"}}
    return resolve(merge(merge(read_recipe(recipe), fp32), sections))


def small(recipe: str, /, **sections: dict[str, Any]) -> RunConfig:
    own = {"generator": {"depth": 4} if recipe == "pix2pix" else {"blocks": 2}}
    return settings(recipe, **merge(merge(SMALL, own), sections))


def costs(recipe: str, side: int = 32, /, **sections: dict[str, Any]) -> Costs:
    return estimate(small(recipe, **sections), (side, side), CPU)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 6, 40)


def printed(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Run a command, which must write nothing to stderr; return its output."""
    capsys.readouterr()
    main([str(word) for word in words])
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


def quiet_plan(config: RunConfig, steps: int) -> dict[str, Any]:
    return make_plan(config, steps, lambda message: None)


# -- multiply-accumulates and parameters, against numbers that were counted independently


SIX_BLOCKS = {"generator": {"blocks": 6}}
NO_IDENTITY = {"method": {"lambda_identity": 0.0}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "sections", "side", "step", "translation", "parameters"),
    [
        ("pix2pix", {}, 256, "43.5", "6.05", {"g_ab": 54_413_955, "d_b": 2_768_705}),
        ("pix2pix", {"generator": {"depth": 7}}, 128, None, "1.51", {"g_ab": 41_828_995}),
        ("cyclegan", {}, 256, "939.6", "49.55", {"g_ab": 11_378_179, "d_a": 2_764_737}),
        ("cyclegan", NO_IDENTITY, 256, "643.5", "49.55", {}),
        ("cyclegan", SIX_BLOCKS, 256, None, "35.06", {"g_ba": 7_837_699}),
        ("cyclegan", SIX_BLOCKS, 128, "169.2", None, {}),
        ("cyclegan", SIX_BLOCKS | NO_IDENTITY, 128, "116.9", None, {}),
        ("gdl", {}, 128, None, "0.828", {}),
    ],
)
def test_counts_match_known_values(
    recipe: str,
    sections: dict[str, dict[str, Any]],
    side: int,
    step: str | None,
    translation: str | None,
    parameters: dict[str, int],
) -> None:
    result = estimate(settings(recipe, **sections), (side, side), CPU)
    assert step is None or f"{result.step_macs / 1e9:.1f}" == step
    if translation is not None:
        digits = len(translation.partition(".")[2])
        counts = {f"{macs / 1e9:.{digits}f}" for macs in result.translation_macs.values()}
        assert counts == {translation}
    assert {name: result.parameters[name] for name in parameters} == parameters


def test_macs_grow_with_image_and_batch_size() -> None:
    one = costs("cyclegan")
    assert costs("cyclegan", train={"batch_size": 3}).step_macs == 3 * one.step_macs
    assert costs("cyclegan", train={"accumulation_steps": 5}).step_macs == 5 * one.step_macs
    assert costs("cyclegan", 64).translation_macs == {
        name: 4 * macs for name, macs in one.translation_macs.items()
    }


def test_speed_options_do_not_change_macs_except_checkpointing() -> None:
    def macs(**speed: Any) -> int:
        return costs("pix2pix", train={"precision": "bf16"}, speed=speed).step_macs

    assert macs() == macs(conv_as_matmul=False) == costs("pix2pix").step_macs
    assert macs(activation_checkpointing="blocks") > macs()
    for penalty in ({"gan_loss": "wgan-gp"}, {"lambda_r1": 1.0}):
        assert costs("cyclegan", method=penalty).step_macs > costs("cyclegan").step_macs


def test_direction_ba_names_the_other_networks() -> None:
    result = costs("pix2pix", data={"direction": "ba"})
    assert list(result.translation_macs) == ["ba"] and set(result.parameters) == {"g_ba", "d_a"}


# -- memory


@pytest.mark.parametrize("recipe", ["pix2pix", "cyclegan"])
@pytest.mark.parametrize("activation_checkpointing", ["off", "blocks"])
def test_estimated_memory_equals_that_of_a_step_on_real_tensors(
    recipe: str, activation_checkpointing: str
) -> None:
    config = small(
        recipe,
        speed={"activation_checkpointing": activation_checkpointing},
        train={"batch_size": 2},
    )
    runtime = Runtime("cpu", speed=config.speed)
    with StepMeter() as meter:
        method = make_method(config).train()
        batch = Batch(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))
        runtime.apply_speed_options(chain.from_iterable(method.players().values()))
        optimizers = make_optimizers(method, config.train, runtime)
        for _ in range(3):
            meter.restart()
            update(method, [MicroBatch(batch)], optimizers, runtime)
        real = meter.peak
    assert sum(estimate(config, (32, 32), CPU).parts.values()) == real


def test_parts_of_the_memory() -> None:
    result = costs("cyclegan", method={"pool_size": 7}, train={"batch_size": 2})
    parts, weights = result.parts, 4 * sum(result.parameters.values())
    assert parts["weights"] == parts["gradients"] == weights  # instance norm has no buffers
    counters = parts["optimizer_state"] - 2 * weights  # one for each weight tensor
    assert 0 <= counters < 4 * 1000
    assert parts["pool"] == 2 * (7 * 3 * 32 * 32 * 4 + 8)  # images and their number
    assert parts["batch"] == 2 * 2 * 3 * 32 * 32 * 4
    assert result.copies == weights and result.ema == 0  # the monitor copies all networks
    assert costs("cyclegan", method={"pool_size": 0}).parts["pool"] == 2 * 8
    assert result.run == result.steps + round(1.4 * result.copies)
    assert result.run > result.steps > sum(parts.values())


def test_ema_weights_are_stored_and_validated() -> None:
    plain, ema = costs("cyclegan"), costs("cyclegan", train={"ema": 0.999})
    generators = 4 * (plain.parameters["g_ab"] + plain.parameters["g_ba"])
    assert ema.ema == ema.copies - plain.copies == generators
    assert ema.run - plain.run == generators + round(1.4 * ema.copies) - round(1.4 * plain.copies)
    assert ema.steps == plain.steps
    not_validated = costs("cyclegan", train={"ema": 0.999}, validate={"every": 0})
    assert not_validated.ema == generators and not_validated.copies == plain.copies


@pytest.mark.parametrize("recipe", ["pix2pix", "cyclegan"])
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_estimated_copies_are_those_of_the_monitor(recipe: str, ema: float, data: Path) -> None:
    """Compare with the copies that a snapshot makes, and with the EMA weights."""
    noise_pairs(data.parent / "set" / "val", 2, 40)
    data.rename(data.parent / "set" / "train")
    config = small(
        recipe,
        data={"path": str(data.parent / "set"), "workers": 0},
        train={"run": str(data.parent / "run"), "ema": ema},
    )
    run = Run(config)
    monitor = run.monitor
    averages = monitor.ema._averages.values() if monitor.ema else []
    with snapshot(run.method) as players:
        copies = list(players.generators.values())
        copies += [discriminator.network for discriminator in players.discriminators.values()]
        if monitor.ema:
            copies += monitor.ema.networks().values()
        weights = list(chain.from_iterable(network.parameters() for network in copies))
        result = estimate(config, (32, 32), CPU)
        assert result.copies == sum(weight.nbytes for weight in weights)
        assert result.ema == sum(w.nbytes for table in averages for w in table.values())
        assert len({weight.data_ptr() for weight in weights}) == len(weights)


def test_memory_grows_with_batch_and_crop_and_options_reduce_it() -> None:
    wide = {"generator": {"width": 16}}
    batches = [costs("cyclegan", **wide, train={"batch_size": n}).run for n in (1, 2, 4, 8)]
    crops = [costs("cyclegan", side, **wide).run for side in (32, 64, 96, 128)]
    assert batches == sorted(set(batches)) and crops == sorted(set(crops))

    def activations(**sections: dict[str, Any]) -> int:
        return costs("cyclegan", 128, **merge(wide, sections)).parts["activations"]

    full = activations()
    assert activations(speed={"activation_checkpointing": "blocks"}) < 0.9 * full
    assert activations(train={"precision": "bf16"}) < 0.8 * full
    assert activations(train={"precision": "fp16"}) < 0.8 * full
    accumulated = costs("pix2pix", train={"accumulation_steps": 4}).parts
    assert accumulated["gradients"] == costs("pix2pix").parts["gradients"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        "pix2pix --generator.width 32 --generator.depth 7 --train.batch_size 8"
        " --data.load_size 143 --data.crop_size 128",
        pytest.param("pix2pix --train.batch_size 4", marks=pytest.mark.soak),
        pytest.param(
            "cyclegan --generator.blocks 6 --data.load_size 143 --data.crop_size 128",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_estimated_memory_is_close_to_that_of_real_steps(arguments: str) -> None:
    command = [sys.executable, "-m", "viceversa", "plan", *arguments.split()]
    command += ["--json", "--steps", "3", "--train.device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    memory = json.loads(done.stdout)["memory"]
    assert 0.75 < memory["steps"] / memory["measured"] < 1.25


# -- the largest settings that fit


def test_largest_size_that_fits_needs_few_estimates() -> None:
    """`largest` returns the same as a search over all sizes, for random cost functions."""
    draw = random.Random(0)
    for _ in range(200):
        fixed, each, factor = draw.randint(0, 10**6), draw.randint(1, 1000), draw.randint(0, 9)
        unsupported = draw.choice([0, 0, 64])  # sizes below it have no cost: 0
        free, estimates = draw.randint(0, 10**8), []

        def needed(side: int) -> int:
            estimates.append(side)  # noqa: B023
            if side < unsupported:  # noqa: B023
                return 0
            amount = each * side**2  # noqa: B023
            return max(fixed + amount, factor * amount)  # noqa: B023

        sides = range(32, 4097, 32)
        first = bisect_right(sides, free, key=needed) - 1
        expected = {"value": sides[first], "needed": needed(sides[first])} if first >= 0 else None
        estimates.clear()
        result = largest(sides, needed, lambda side: side**2, free, draw.randint(1, 5000))
        assert result == (expected if expected and expected["needed"] else None)
        assert len(estimates) <= 12


@pytest.mark.soak  # half a minute
def test_memory_of_alternatives() -> None:
    config = small(
        "cyclegan", generator={"width": 16}, train={"batch_size": 6, "accumulation_steps": 2}
    )
    images, own = ImageStats((32, 32)), estimate(config, (32, 32), CPU).run
    batch, _, alternatives = choices(config, images, CPU, own - 1, 5, own + 5)
    assert batch is not None and batch["value"] == 4
    four = replace(config, train=replace(config.train, batch_size=4))
    assert batch["needed"] == estimate(four, (32, 32), CPU).run + 5 <= own - 1
    assert {alternative["options"] for alternative in alternatives} >= {
        "--train.batch_size 4 --train.accumulation_steps 4",
        "--speed.activation_checkpointing blocks",
        "--train.precision bf16",
    }
    assert all(a["fits"] == (a["needed"] <= own - 1) for a in alternatives)
    assert choices(config, images, CPU, 1000, 0, own)[0] is None


def test_largest_batch_is_at_most_an_epoch() -> None:
    for count, expected in ((0, BATCHES[-1]), (7, 4)):
        batch, _, alternatives = choices(
            small("pix2pix"), ImageStats((32, 32), count), CPU, 10**15, 0, True
        )
        assert batch is not None and batch["value"] == expected and alternatives == []


def set_free_memory(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    monkeypatch.setattr(planning, "free_memory", lambda device: free)


def test_run_that_does_not_fit_is_reported_first_and_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sections = {"method": {"pool_size": 0}, "generator": {"width": 16}}
    config = small("cyclegan", train={"batch_size": 64}, **sections)
    set_free_memory(monkeypatch, 400_000_000)
    plan = quiet_plan(config, 4)
    lines = plan_text(plan).splitlines()
    assert not plan["memory"]["fits"] and plan["time"] is None
    assert lines[0].startswith("The run does not fit: it needs ") and "400 MB are free" in lines[0]
    assert lines[1] == "This fits:"
    assert lines[2].startswith("  --train.batch_size 32 --train.accumulation_steps 2 ")
    assert not lines[3]
    first, second = plan["alternatives"][:2]
    assert first["needed"] <= 400_000_000 < second["needed"]
    set_free_memory(monkeypatch, 500_000_000)
    lines = plan_text(quiet_plan(config, 4)).splitlines()
    assert lines[1] == "Any of these fits:"
    assert [line.split()[0] for line in lines[2:5]] == [
        "--train.batch_size",
        "--speed.activation_checkpointing",
        "--train.precision",
    ]
    assert "does not fit" in next(line for line in lines if line.startswith("time"))


def test_report_if_no_alternative_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    set_free_memory(monkeypatch, 1_000_000)
    plan = quiet_plan(small("pix2pix"), 4)
    assert plan["largest"] == {"batch": None, "crop": None} and not plan["memory"]["fits"]
    assert plan_text(plan).splitlines()[1] == "None of these is enough alone:"
    reduced = small(
        "pix2pix", train={"precision": "bf16"}, speed={"activation_checkpointing": "blocks"}
    )
    lines = plan_text(quiet_plan(reduced, 4)).splitlines()
    assert lines[1].startswith("Only smaller networks fit")


def test_unknown_free_memory_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    set_free_memory(monkeypatch, None)
    plan = quiet_plan(small("pix2pix"), 0)
    assert plan["memory"]["fits"] and plan["largest"]["batch"] is None
    assert "The free memory of cpu is not known." in plan_text(plan)


# -- images of the dataset


def test_images_are_counted_by_name_and_one_is_decoded(data: Path) -> None:
    cropped = inspect_images(small("pix2pix", data={"path": str(data)}))
    assert cropped.count == 6 and cropped.size == (32, 32) and cropped.one_size
    assert cropped.decoded == 2 * 6 * 3 * 36 * 36
    original = inspect_images(small("pix2pix", data={"path": str(data), "preprocess": "none"}))
    assert original.size == (40, 40) and not original.one_size
    assert inspect_images(small("pix2pix")).count == 0
    (data / "A" / "05.png").unlink()
    assert inspect_images(small("cyclegan", data={"path": str(data)})).count == 6
    left = inspect_images(small("pix2pix", data={"path": str(data)}))
    assert left.count == 5 and left.unpaired == 1


def test_invalid_images_are_skipped_as_in_training(data: Path) -> None:
    for path in (data / "A").iterdir():
        if path.name != "03.png":
            path.write_bytes(b"not an image")
    skip = {"path": str(data), "on_invalid": "skip", "max_invalid": 0.99}
    assert inspect_images(small("pix2pix", data=skip)).size == (32, 32)
    with pytest.raises(ValueError, match=r"0\d\.png"):
        inspect_images(small("pix2pix", data={"path": str(data)}))


def test_cached_images_count_in_memory_or_on_disk(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free_memory(monkeypatch, None)

    def cached(**more: Any) -> int:
        config = small("pix2pix", data={"path": str(data), **more})
        plan = quiet_plan(config, 0)
        return int(plan["memory"]["images"]) - planning.IMAGE_LIBRARIES

    assert cached() == 2 * 6 * 3 * 36 * 36
    assert cached(cache="off") == cached(cache_megabytes=0) == cached(cache="disk") == 0
    config = small("pix2pix", data={"path": str(data), "cache": "disk"})
    on_disk = quiet_plan(config, 0)
    without = quiet_plan(small("pix2pix", data={"path": str(data)}), 0)
    assert on_disk["disk"]["images"] == 2 * 6 * 3 * 36 * 36
    assert on_disk["disk"]["needed"] == without["disk"]["needed"] + 2 * 6 * 3 * 36 * 36


def test_disk_space_is_that_of_the_check_before_training(tmp_path: Path) -> None:
    config = small("pix2pix")
    disk = disk_needed(make_method(config), config)
    assert costs("pix2pix").disk == disk
    assert disk.models == costs("pix2pix").parts["weights"]
    assert disk.needed == 4 * disk.state + 2 * disk.models  # the last models, and the best
    report = check_disk(make_method(config), tmp_path, config)
    assert f"3 checkpoints of {format_bytes(disk.state)}" in report
    with_pool = costs("cyclegan", method={"pool_size": 5}).disk
    without = costs("cyclegan", method={"pool_size": 0}).disk
    assert with_pool.state - without.state == 2 * 5 * 3 * 32 * 32 * 4
    assert with_pool.models == without.models
    # The registration network is in checkpoints, but in no model file.
    configs = [small("reggan", method={"registration_width": width}) for width in (4, 8)]
    narrow, wide = (disk_needed(make_method(one), one) for one in configs)
    assert wide.models == narrow.models and wide.state > narrow.state


# -- time


def test_times_of_known_step_durations() -> None:
    config = small("pix2pix", train={"batch_size": 4, "accumulation_steps": 2, "epochs": 3})
    time = step_times([2.0, 9.0, 4.0], config, 400, 10**9)
    assert time["step"] == 4.0 and time["images_per_s"] == 2.0 and time["macs_per_s"] == 0.25e9
    assert time["epoch"] == 200.0 and time["all"] == 600.0 and time["thousand_images"] == 500.0
    assert step_times([1.0], config, 0, 1)["epoch"] is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.2 s"),
        (119.0, "119.0 s"),
        (600.0, "10.0 min"),
        (7200.0, "2.0 h"),
        (86400.0, "24.0 h"),
        (216000.0, "2.5 days"),
    ],
)
def test_durations_have_a_readable_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"train": {"accumulation_steps": 2, "batch_size": 3}},
        {"train": {"precision": "bf16"}},
        {"speed": {"memory_format": "channels_last"}},
    ],
)
@pytest.mark.parametrize("recipe", ["pix2pix", "cyclegan"])
def test_training_steps_are_timed(
    recipe: str, sections: dict[str, Any], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free_memory(monkeypatch, None)
    config = small(recipe, **merge({"data": {"path": str(data)}}, sections))
    plan = quiet_plan(config, 3)
    time = plan["time"]
    assert len(time["every"]) == 2 and min(time["every"]) > 0
    images = config.train.batch_size * config.train.accumulation_steps
    assert time["images_per_s"] == pytest.approx(images / time["step"])
    assert time["all"] == pytest.approx(3 * time["epoch"])
    assert time["epoch"] == pytest.approx(6 * time["thousand_images"] / 1000)
    assert time["macs_per_s"] == pytest.approx(plan["macs"]["step"] / time["step"])


# -- the command


def test_command_prints_a_table_and_writes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_files() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = all_files()
    text = printed(
        capsys, "plan", "pix2pix", "data", *ARGUMENTS, "--steps", "2", "--data.cache", "disk"
    )
    for word in (
        "parameters",
        "arithmetic",
        "memory",
        "disk",
        "time",
        "MAC",
        "are free",
        "train 6 of A, 6 of B: pairs by name in data/A and data/B",
        "an epoch of 6 images",
        "all 3 epochs",
        "images of 46.7 kB",
    ):
        assert word in text
    assert all_files() == before


def test_table_without_data_and_without_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free_memory(monkeypatch, None)
    text = printed(capsys, "plan", "pix2pix", *ARGUMENTS, "--steps", "0")
    assert "not measured (--steps 0)" in text and "Name the data" in text
    text = printed(capsys, "plan", "pix2pix", *ARGUMENTS, "--steps", "1")
    assert "1000 images" in text and "median of 1" in text


JSON_KEYS = {
    "macs": "step translation",
    "memory": "weights gradients optimizer_state pool batch activations margin ema copies images "
    "steps needed free fits measured",
    "largest": "batch crop",
    "disk": "checkpoint models images needed free",
    "time": "step every images_per_s macs_per_s thousand_images epoch all",
}
OTHER_KEYS = (
    "device height width batch_size accumulation_steps precision images epochs parameters "
    "alternatives settings advice splits"
)


def test_json_has_every_number(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "pix2pix", *ARGUMENTS, "--json"]
    result = json.loads(printed(capsys, *words, "--steps", "2", "--data.path", str(data)))
    assert set(result) == {*JSON_KEYS, *OTHER_KEYS.split()}
    for name, keys in JSON_KEYS.items():
        assert set(result[name]) == set(keys.split())
    layout = "pairs by name in data/A and data/B"
    assert result["splits"] == {"train": {"a": 6, "b": 6, "layout": layout}}
    assert result["images"] == 6 and result["epochs"] == 3 and result["width"] == 32
    assert result["parameters"]["all"] == sum(
        number for name, number in result["parameters"].items() if name != "all"
    )
    assert resolve(result["settings"]).train.epochs == 3
    counted = json.loads(printed(capsys, *words, "--steps", "0"))
    assert counted["time"] is None and counted["images"] is None


@pytest.mark.slow
def test_help_follows_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "plan", "cyclegan", "--help-all")
    assert all(word in text for word in ("--steps", "--json", "generator.blocks", "train.epochs"))
    assert "RECIPE" in printed(capsys, "plan", "--help")
    assert " plan " in printed(capsys, "--help")
    assert "--steps" not in printed(capsys, "train", "cyclegan", "--help")


@pytest.mark.slow
def test_peak_memory_excludes_the_parent_process() -> None:
    """Negative control: `getrusage` of a small process starts at the peak of its large parent."""
    ballast = bytearray(b"x") * (600 * 2**20)
    code = (
        "import resource, torch; from viceversa.runtime.device import peak_memory; "
        "print(peak_memory(torch.device('cpu')), "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own, inherited = map(int, done.stdout.split())
    assert 0 < own < len(ballast) <= inherited
