"""Estimated costs of a run against known numbers and real steps."""

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
from support import noise_pairs

from viceversa import plan as planning
from viceversa.cli import main
from viceversa.config.recipes import merge, read_recipe
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
    "train": {"epochs": 3, "device": "cpu"},
}
QUICK = [
    "--generator.width",
    "4",
    "--generator.depth",
    "4",
    "--discriminator.width",
    "4",
    "--discriminator.layers",
    "2",
    "--data.load_size",
    "36",
    "--data.crop_size",
    "32",
    "--train.epochs",
    "3",
    "--train.device",
    "cpu",
]


def settings(recipe: str, /, **sections: dict[str, Any]) -> RunConfig:
    return resolve(merge(read_recipe(recipe), sections))


def small(recipe: str, /, **sections: dict[str, Any]) -> RunConfig:
    own = {"generator": {"depth": 4} if recipe == "pix2pix" else {"blocks": 2}}
    return settings(recipe, **merge(merge(SMALL, own), sections))


def costs(recipe: str, side: int = 32, /, **sections: dict[str, Any]) -> Costs:
    return estimate(small(recipe, **sections), (side, side), CPU)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 6, 40)


def shown(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    capsys.readouterr()
    main([str(word) for word in words])
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


# -- arithmetic and parameters, as they were counted before there was this command


@pytest.mark.parametrize(
    ("recipe", "sections", "side", "step", "translation", "parameters"),
    [
        ("pix2pix", {}, 256, "43.5", "6.05", {"g_ab": 54_413_955, "d_b": 2_768_705}),
        ("pix2pix", {"generator": {"depth": 7}}, 128, None, "1.51", {"g_ab": 41_828_995}),
        ("cyclegan", {}, 256, "939.6", "49.55", {"g_ab": 11_378_179, "d_a": 2_764_737}),
        ("cyclegan", {"method": {"lambda_identity": 0.0}}, 256, "643.5", "49.55", {}),
        ("cyclegan", {"generator": {"blocks": 6}}, 256, None, "35.06", {"g_ba": 7_837_699}),
        ("cyclegan", {"generator": {"blocks": 6}}, 128, "169.2", None, {}),
        (
            "cyclegan",
            {"generator": {"blocks": 6}, "method": {"lambda_identity": 0.0}},
            128,
            "116.9",
            None,
            {},
        ),
        ("gdl", {}, 128, None, "0.828", {}),
    ],
)
def test_counts_are_those_known_of_the_networks(
    recipe: str,
    sections: dict[str, dict[str, Any]],
    side: int,
    step: str | None,
    translation: str | None,
    parameters: dict[str, int],
) -> None:
    found = estimate(settings(recipe, **sections), (side, side), CPU)
    assert step is None or f"{found.step_macs / 1e9:.1f}" == step
    if translation is not None:
        digits = len(translation.partition(".")[2])
        assert {f"{macs / 1e9:.{digits}f}" for macs in found.translation_macs.values()} == {
            translation
        }
    assert {name: found.parameters[name] for name in parameters} == parameters


def test_arithmetic_grows_with_images_and_batches() -> None:
    one = costs("cyclegan")
    assert costs("cyclegan", train={"batch_size": 3}).step_macs == 3 * one.step_macs
    assert costs("cyclegan", train={"accumulation_steps": 5}).step_macs == 5 * one.step_macs
    assert costs("cyclegan", 64).translation_macs == {
        name: 4 * macs for name, macs in one.translation_macs.items()
    }


def test_what_makes_steps_fast_leaves_the_arithmetic_alone() -> None:
    def macs(**speed: Any) -> int:
        return costs("pix2pix", train={"precision": "bf16"}, speed=speed).step_macs

    assert macs() == macs(conv_as_matmul=False) == costs("pix2pix").step_macs
    assert macs(activation_checkpointing="blocks") > macs()
    penalised = costs("cyclegan", method={"gan_loss": "wgan-gp"})
    assert penalised.step_macs > costs("cyclegan").step_macs


def test_a_direction_turns_the_names_round() -> None:
    found = costs("pix2pix", data={"direction": "ba"})
    assert list(found.translation_macs) == ["ba"] and set(found.parameters) == {"g_ba", "d_a"}


# -- memory


@pytest.mark.parametrize("recipe", ["pix2pix", "cyclegan"])
@pytest.mark.parametrize("activation_checkpointing", ["off", "blocks"])
def test_what_is_alive_is_what_would_be_in_a_real_step(
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
        batch = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
        runtime.apply_speed_options(chain.from_iterable(method.players().values()))
        optimizers = make_optimizers(method, config.train, runtime)
        for _ in range(3):
            meter.restart()
            update(method, [MicroBatch(batch)], optimizers, runtime)
        real = meter.peak
    assert sum(estimate(config, (32, 32), CPU).parts.values()) == real


def test_parts_are_what_they_are_called() -> None:
    found = costs("cyclegan", method={"pool_size": 7}, train={"batch_size": 2})
    learnt = 4 * sum(found.parameters.values())
    assert (
        found.parts["weights"] == found.parts["gradients"] == learnt
    )  # instance norm has no buffers
    assert (
        0 <= found.parts["optimizer_state"] - 2 * learnt < 4 * 1000
    )  # and a counter for each weight
    assert found.parts["pool"] == 2 * (7 * 3 * 32 * 32 * 4 + 8)  # and how full it is
    assert found.parts["batch"] == 2 * 2 * 3 * 32 * 32 * 4
    assert found.copies == learnt and found.ema == 0  # all networks are looked at
    assert costs("cyclegan", method={"pool_size": 0}).parts["pool"] == 2 * 8
    assert (
        found.run
        == found.steps + round(1.4 * found.copies)
        > found.steps
        > sum(found.parts.values())
    )


def test_averaged_weights_are_kept_and_looked_at() -> None:
    plain, kept = costs("cyclegan"), costs("cyclegan", train={"ema": 0.999})
    generators = 4 * (plain.parameters["g_ab"] + plain.parameters["g_ba"])
    assert kept.ema == kept.copies - plain.copies == generators
    assert kept.run - plain.run == generators + round(1.4 * kept.copies) - round(1.4 * plain.copies)
    assert kept.steps == plain.steps
    unseen = costs("cyclegan", train={"ema": 0.999}, validate={"every": 0})
    assert unseen.ema == generators and unseen.copies == plain.copies


@pytest.mark.parametrize("recipe", ["pix2pix", "cyclegan"])
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_what_is_counted_is_what_a_look_holds(recipe: str, ema: float, data: Path) -> None:
    """The weights of the copies that are alive while the monitor looks, and of the average."""
    noise_pairs(data.parent / "set" / "val", 2, 40)
    data.rename(data.parent / "set" / "train")
    config = small(
        recipe,
        data={"path": str(data.parent / "set"), "workers": 0},
        train={"run": str(data.parent / "run"), "ema": ema},
    )
    run = Run(config)
    monitor = run.monitor
    kept = (
        list(chain.from_iterable(k.values() for k in monitor.ema._averages.values()))
        if monitor.ema
        else []
    )
    with snapshot(run.method) as players:
        copies = [
            *players.generators.values(),
            *(one.network for one in players.discriminators.values()),
        ]
        if monitor.ema:
            copies += monitor.ema.networks().values()
        weights = list(chain.from_iterable(network.parameters() for network in copies))
        found = estimate(config, (32, 32), CPU)
        assert found.copies == sum(weight.nbytes for weight in weights)
        assert found.ema == sum(weight.nbytes for weight in kept)
        assert len({weight.data_ptr() for weight in weights}) == len(weights)


def test_memory_rises_with_batch_and_crop_and_falls_by_the_options() -> None:
    wide = {"generator": {"width": 16}}
    batches = [costs("cyclegan", **wide, train={"batch_size": n}).run for n in (1, 2, 4, 8)]
    crops = [costs("cyclegan", side, **wide).run for side in (32, 64, 96, 128)]
    assert batches == sorted(set(batches)) and crops == sorted(set(crops))

    def maps(**sections: dict[str, Any]) -> int:
        return costs("cyclegan", 128, **merge(wide, sections)).parts["activations"]

    full = maps()
    assert maps(speed={"activation_checkpointing": "blocks"}) < 0.9 * full
    assert maps(train={"precision": "bf16"}) < 0.8 * full
    assert maps(train={"precision": "fp16"}) < 0.8 * full
    held = costs("pix2pix", train={"accumulation_steps": 4}).parts
    assert held["gradients"] == costs("pix2pix").parts["gradients"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        [
            "pix2pix",
            "--generator.width",
            "32",
            "--generator.depth",
            "7",
            "--train.batch_size",
            "8",
            "--data.load_size",
            "143",
            "--data.crop_size",
            "128",
        ],
        pytest.param(["pix2pix", "--train.batch_size", "4"], marks=pytest.mark.soak),
        [
            "cyclegan",
            "--generator.blocks",
            "6",
            "--data.load_size",
            "143",
            "--data.crop_size",
            "128",
        ],
    ],
    ids=" ".join,
)
def test_predicted_memory_is_near_that_of_real_steps(words: list[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "viceversa",
        "plan",
        *words,
        "--json",
        "--steps",
        "3",
        "--train.device",
        "cpu",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    memory = json.loads(done.stdout)["memory"]
    assert 0.75 < memory["steps"] / memory["measured"] < 1.25


# -- what fits


def test_the_largest_that_fits_is_found_with_few_questions() -> None:
    draw = random.Random(0)
    for _ in range(200):
        kept, each, bend = draw.randint(0, 10**6), draw.randint(1, 1000), draw.randint(0, 9)
        refused = draw.choice([0, 0, 64])
        free, asked = draw.randint(0, 10**8), []

        def needed(side: int) -> int:
            asked.append(side)  # noqa: B023
            amount = side**2
            return 0 if side < refused else max(kept + each * amount, bend * each * amount)  # noqa: B023

        sides = range(32, 4097, 32)
        first = bisect_right(sides, free, key=needed) - 1
        expected = {"value": sides[first], "needed": needed(sides[first])} if first >= 0 else None
        asked.clear()
        found = largest(sides, needed, lambda side: side**2, free)
        assert found == (expected if expected and expected["needed"] else None)
        assert len(asked) <= 12


def test_choices_need_what_they_say() -> None:
    config = small(
        "cyclegan", generator={"width": 16}, train={"batch_size": 6, "accumulation_steps": 2}
    )
    images, own = ImageStats((32, 32)), estimate(config, (32, 32), CPU).run
    batch, _, alternatives = choices(config, images, CPU, own - 1, 5, False)
    assert batch is not None and batch["value"] == 4
    four = replace(config, train=replace(config.train, batch_size=4))
    assert batch["needed"] == estimate(four, (32, 32), CPU).run + 5 <= own - 1
    assert {one["options"] for one in alternatives} >= {
        "--train.batch_size 4 --train.accumulation_steps 4",
        "--speed.activation_checkpointing blocks",
        "--train.precision bf16",
    }
    assert all(one["fits"] == (one["needed"] <= own - 1) for one in alternatives)
    assert choices(config, images, CPU, 1000, 0, False)[0] is None


def test_no_batch_is_larger_than_an_epoch() -> None:
    for count, expected in ((0, BATCHES[-1]), (7, 4)):
        batch, _, alternatives = choices(
            small("pix2pix"), ImageStats((32, 32), count), CPU, 10**15, 0, True
        )
        assert batch is not None and batch["value"] == expected and alternatives == []


def sized(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    monkeypatch.setattr(planning, "free_memory", lambda device: free)


def test_what_does_not_fit_is_said_first_and_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"method": {"pool_size": 0}, "generator": {"width": 16}}
    config = small("cyclegan", train={"batch_size": 64}, **few)
    sized(monkeypatch, 400_000_000)
    plan = make_plan(config, 4, lambda said: None)
    lines = plan_text(plan).splitlines()
    assert not plan["memory"]["fits"] and plan["time"] is None
    assert lines[0].startswith("The run does not fit: it needs ") and "400 MB are free" in lines[0]
    assert lines[1] == "This fits:"
    assert (
        lines[2].startswith("  --train.batch_size 32 --train.accumulation_steps 2 ")
        and not lines[3]
    )
    first, second = plan["alternatives"][:2]
    assert first["needed"] <= 400_000_000 < second["needed"]
    sized(monkeypatch, 500_000_000)
    lines = plan_text(make_plan(config, 4, lambda said: None)).splitlines()
    assert lines[1] == "Any of these fits:"
    assert [line.split()[0] for line in lines[2:5]] == [
        "--train.batch_size",
        "--speed.activation_checkpointing",
        "--train.precision",
    ]
    assert "does not fit" in next(line for line in lines if line.startswith("time"))


def test_where_nothing_fits_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, 1_000_000)
    plan = make_plan(small("pix2pix"), 4, lambda said: None)
    assert plan["largest"] == {"batch": None, "crop": None} and not plan["memory"]["fits"]
    assert plan_text(plan).splitlines()[1] == "None of these is enough alone:"
    half = small(
        "pix2pix", train={"precision": "bf16"}, speed={"activation_checkpointing": "blocks"}
    )
    said = plan_text(make_plan(half, 4, lambda said: None)).splitlines()
    assert said[1].startswith("Only smaller networks fit")


def test_an_unknown_amount_of_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    sized(monkeypatch, None)
    plan = make_plan(small("pix2pix"), 0, lambda said: None)
    assert plan["memory"]["fits"] and plan["largest"]["batch"] is None
    assert "The free memory of cpu is not known." in plan_text(plan)


# -- the images


def test_images_are_counted_by_name_and_one_is_looked_at(data: Path) -> None:
    seen = inspect_images(small("pix2pix", data={"path": str(data)}))
    assert seen.count == 6 and seen.size == (32, 32) and seen.one_size
    assert seen.decoded == 2 * 6 * 3 * 36 * 36
    whole = inspect_images(small("pix2pix", data={"path": str(data), "preprocess": "none"}))
    assert whole.size == (40, 40) and not whole.one_size
    assert inspect_images(small("pix2pix")).count == 0
    (data / "A" / "05.png").unlink()
    assert inspect_images(small("cyclegan", data={"path": str(data)})).count == 6
    left = inspect_images(small("pix2pix", data={"path": str(data)}))
    assert left.count == 5 and left.unpaired == 1


def test_a_bad_image_is_passed_over_where_it_would_be(data: Path) -> None:
    for path in (data / "A").iterdir():
        if path.name != "03.png":
            path.write_bytes(b"no image")
    skip = {"path": str(data), "on_invalid": "skip", "max_invalid": 0.99}
    assert inspect_images(small("pix2pix", data=skip)).size == (32, 32)
    with pytest.raises(ValueError, match=r"0\d\.png"):
        inspect_images(small("pix2pix", data={"path": str(data)}))


def test_kept_images_count_up_to_the_room_they_get(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sized(monkeypatch, None)

    def kept(**more: Any) -> int:
        config = small("pix2pix", data={"path": str(data), **more})
        plan = make_plan(config, 0, lambda said: None)
        return int(plan["memory"]["images"]) - planning.IMAGE_LIBRARIES

    assert kept() == 2 * 6 * 3 * 36 * 36
    assert kept(cache="off") == kept(cache_megabytes=0) == kept(cache="disk") == 0
    config = small("pix2pix", data={"path": str(data), "cache": "disk"})
    on_disk = make_plan(config, 0, lambda said: None)
    without = make_plan(small("pix2pix", data={"path": str(data)}), 0, lambda said: None)
    assert on_disk["disk"]["images"] == 2 * 6 * 3 * 36 * 36
    assert on_disk["disk"]["needed"] == without["disk"]["needed"] + 2 * 6 * 3 * 36 * 36


def test_the_disk_is_that_of_the_check_before_a_run(tmp_path: Path) -> None:
    config = small("pix2pix")
    disk = disk_needed(make_method(config), config)
    assert costs("pix2pix").disk == disk
    assert disk.models == costs("pix2pix").parts["weights"]
    assert disk.needed == 4 * disk.state + 2 * disk.models  # those of the run, and the best
    said = check_disk(make_method(config), tmp_path, config)
    assert f"3 checkpoints of {format_bytes(disk.state)}" in said
    with_pool = costs("cyclegan", method={"pool_size": 5}).disk
    without = costs("cyclegan", method={"pool_size": 0}).disk
    assert with_pool.state - without.state == 2 * 5 * 3 * 32 * 32 * 4
    assert with_pool.models == without.models


# -- time


def test_times_follow_from_the_steps_by_hand() -> None:
    config = small("pix2pix", train={"batch_size": 4, "accumulation_steps": 2, "epochs": 3})
    time = step_times([2.0, 9.0, 4.0], config, 400, 10**9)
    assert time["step"] == 4.0 and time["images_per_s"] == 2.0 and time["macs_per_s"] == 0.25e9
    assert time["epoch"] == 200.0 and time["all"] == 600.0 and time["thousand_images"] == 500.0
    assert step_times([1.0], config, 0, 1)["epoch"] is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.25, "0.2 s"),
        (119.0, "119.0 s"),
        (600.0, "10.0 min"),
        (7200.0, "2.0 h"),
        (86400.0, "24.0 h"),
        (216000.0, "2.5 days"),
    ],
)
def test_a_time_is_said_in_the_unit_that_suits_it(seconds: float, said: str) -> None:
    assert duration_text(seconds) == said


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
def test_a_few_real_steps_are_timed(
    recipe: str, sections: dict[str, Any], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sized(monkeypatch, None)
    config = small(recipe, **merge({"data": {"path": str(data)}}, sections))
    plan = make_plan(config, 3, lambda said: None)
    time = plan["time"]
    assert len(time["every"]) == 2 and min(time["every"]) > 0
    images = config.train.batch_size * config.train.accumulation_steps
    assert time["images_per_s"] == pytest.approx(images / time["step"])
    assert time["all"] == pytest.approx(3 * time["epoch"])
    assert time["epoch"] == pytest.approx(6 * time["thousand_images"] / 1000)
    assert time["macs_per_s"] == pytest.approx(plan["macs"]["step"] / time["step"])


# -- the command


def test_the_command_prints_a_table_and_writes_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = everything()
    said = shown(capsys, "plan", "pix2pix", "data", *QUICK, "--steps", "2", "--data.cache", "disk")
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
        assert word in said
    assert everything() == before


def test_the_table_without_data_and_without_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sized(monkeypatch, None)
    said = shown(capsys, "plan", "pix2pix", *QUICK, "--steps", "0")
    assert "not measured (--steps 0)" in said and "Name the data" in said
    said = shown(capsys, "plan", "pix2pix", *QUICK, "--steps", "1")
    assert "1000 images" in said and "median of 1" in said


def test_json_has_every_number(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "plan", "pix2pix", data, *QUICK, "--json", "--steps", "2"))
    assert set(found) == {
        "device",
        "height",
        "width",
        "batch_size",
        "accumulation_steps",
        "precision",
        "images",
        "epochs",
        "parameters",
        "macs",
        "memory",
        "largest",
        "alternatives",
        "disk",
        "time",
        "settings",
        "advice",
        "splits",
    }
    assert set(found["memory"]) == {
        "weights",
        "gradients",
        "optimizer_state",
        "pool",
        "batch",
        "activations",
        "margin",
        "ema",
        "copies",
        "images",
        "steps",
        "needed",
        "free",
        "fits",
        "measured",
    }
    assert set(found["macs"]) == {"step", "translation"}
    assert set(found["disk"]) == {"checkpoint", "models", "images", "needed", "free"}
    assert set(found["largest"]) == {"batch", "crop"}
    assert set(found["time"]) == {
        "step",
        "every",
        "images_per_s",
        "macs_per_s",
        "thousand_images",
        "epoch",
        "all",
    }
    layout = "pairs by name in data/A and data/B"
    assert found["splits"] == {"train": {"a": 6, "b": 6, "layout": layout}}
    assert found["images"] == 6 and found["epochs"] == 3 and found["width"] == 32
    assert found["parameters"]["all"] == sum(
        number for name, number in found["parameters"].items() if name != "all"
    )
    assert resolve(found["settings"]).train.epochs == 3
    counted = json.loads(shown(capsys, "plan", "pix2pix", *QUICK, "--json", "--steps", "0"))
    assert counted["time"] is None and counted["images"] is None


def test_help_follows_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, "plan", "cyclegan", "--help")
    assert all(word in said for word in ("--steps", "--json", "generator.blocks", "train.epochs"))
    assert "RECIPE" in shown(capsys, "plan", "--help")
    assert " plan " in shown(capsys, "--help")
    assert "--steps" not in shown(capsys, "train", "cyclegan", "--help")


def test_the_peak_is_that_of_this_program_and_not_of_who_started_it() -> None:
    """The control: what getrusage says of a small program begins with its large parent's peak."""
    ballast = bytearray(b"x") * (600 * 2**20)
    code = (
        "import resource, torch; from viceversa.runtime.device import peak_memory; "
        "print(peak_memory(torch.device('cpu')), "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own, inherited = map(int, done.stdout.split())
    assert 0 < own < len(ballast) <= inherited
