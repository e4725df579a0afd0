"""Test `train.precision auto`: its choice for each machine, and that a run keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import (
    checkpoint_state,
    command_output,
    identical,
    newest_checkpoint,
    noise_pairs,
    raises_user_error,
    train_arguments,
    train_until_crash,
)
from tiny_runs import run_config

import viceversa
from viceversa.checkpoint import load_state, read_header, save_state
from viceversa.config.recipes import read_recipe, recipes
from viceversa.config.run import RunConfig, resolve
from viceversa.config.study import StudyConfig, study_settings
from viceversa.plan import make_plan
from viceversa.plan.text import plan_text
from viceversa.runtime import precision
from viceversa.runtime.precision import (
    NativeBF16,
    choose_precision,
    devices_named,
    gpu_bf16,
    native_bf16,
    processor_bf16,
)
from viceversa.study.folder import prepare
from viceversa.study.precision import with_one_precision
from viceversa.training import loop as training

FP32_RECIPES = {
    "cyclegan-paper",
    "cyclegan-reference",
    "demo",
    "demo-cyclegan",
    "gdl",
    "pix2pix-paper",
    "pix2pix-reference",
}
SINCE = "since the processor is one of a test"
Machine = Callable[[bool], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a function that sets whether all devices have bf16 natively."""

    def set_native(native: bool) -> None:
        found = NativeBF16(native, "the processor is one of a test")
        monkeypatch.setattr(precision, "native_bf16", lambda device: found)

    return set_native


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 6, 32)


def auto_run(data: Path, run: Path, **train: Any) -> RunConfig:
    """Return settings that leave the precision to the machine, by default."""
    own = {"precision": "auto", "epochs": 1, "save_every": 4, "samples": 0, **train}
    return run_config("pix2pix", data, run, train=own, validate={"health": 0})


def words(data: Path, run: Path, precision: str) -> list[str | Path]:
    """Return the words of a command that trains."""
    quick = ["--train.samples", "0", "--validate.health", "0"]
    return train_arguments(data, run, "--train.precision", precision, *quick)


def stored(run: Path) -> list[str]:
    """Return the precision in config.json, machine.json, a model file and the checkpoint."""
    config = json.loads((run / "config.json").read_text())
    machine = json.loads((run / "machine.json").read_text())
    return [
        config["train"]["precision"],
        machine["precision"],
        read_header(run / "ab.safetensors")["trained"]["train"]["precision"],
        load_state(newest_checkpoint(run))["sections"]["train"]["precision"],
    ]


# -- the machine


@pytest.mark.parametrize(
    ("names", "one_dnn", "native", "reason"),
    [
        ([], True, False, "the processor has no bf16 instructions"),
        (["avx2", "avx512_f", "amx_tile"], True, False, "the processor has no bf16 instructions"),
        (["avx512_f", "avx512_bf16"], True, True, "the processor has AVX512-BF16 instructions"),
        (["avx512_bf16", "amx_bf16"], True, True, "the processor has AMX-BF16 instructions"),
        (["neon", "bf16"], True, True, "the processor has bf16 instructions"),
        (["neon", "bf16"], False, False, "this build of torch uses no bf16 instructions"),
    ],
)
def test_processors(names: list[str], one_dnn: bool, native: bool, reason: str) -> None:
    known = {"avx512_bf16": False, "amx_bf16": False} | dict.fromkeys(names, True)
    found = processor_bf16(known, one_dnn)
    assert found.native == native and found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("capability", "native"), [((7, 5), False), ((8, 0), True), ((8, 9), True), ((12, 0), True)]
)
def test_gpus(capability: tuple[int, int], native: bool) -> None:
    found = gpu_bf16("cuda:0", capability)
    assert found.native == native
    assert found.reason.startswith(f"cuda:0 has compute capability {capability[0]}.{capability[1]}")


def test_other_devices_have_no_known_bf16() -> None:
    assert native_bf16(torch.device("mps")) == (
        False,
        "it is not known whether mps has bf16 natively",
    )


def test_this_processor_is_recognized() -> None:
    """Compared with the flags that the kernel lists."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), None)
    if flags is None:
        pytest.skip("not Linux on x86")
    assert native_bf16(torch.device("cpu")).native == bool({"avx512_bf16", "amx_bf16"} & {*flags})


@pytest.mark.cuda
def test_this_gpu_is_recognized() -> None:
    for device in devices_named("auto"):
        assert device.type == "cuda"
        major, _ = torch.cuda.get_device_capability(device)
        assert native_bf16(device).native == (major >= 8)


class TwoProcesses:
    """Processes of a run; the second one has no bf16."""

    def all_gather(self, own: list[NativeBF16]) -> list[list[NativeBF16]]:
        return [own, [NativeBF16(False, "it is old")]]


def test_all_devices_need_bf16(machine: Machine) -> None:
    machine(True)
    cpu, ranks = torch.device("cpu"), TwoProcesses()
    assert choose_precision([cpu]) == ("bf16", "the processor is one of a test")
    assert choose_precision([cpu], ranks) == ("fp32", "it is old")  # type: ignore[arg-type]


def test_a_device_that_is_not_available_is_refused() -> None:
    with raises_user_error("device"):
        devices_named("cuda:99")


# -- recipes


@pytest.mark.parametrize("recipe", recipes())
def test_presets_and_demos_are_fp32(recipe: str) -> None:
    expected = "fp32" if recipe in FP32_RECIPES else "auto"
    assert resolve(read_recipe(recipe)).train.precision == expected


def test_a_run_file_without_a_precision_is_fp32_and_a_recipe_is_auto(tmp_path: Path) -> None:
    recipe, config = tmp_path / "mine.toml", tmp_path / "config.json"
    recipe.write_text('base = "pix2pix"\n[train]\nepochs = 2\n')
    assert resolve(read_recipe(str(recipe))).train.precision == "auto"
    sections = resolve(read_recipe("pix2pix")).sections
    del sections["train"]["precision"]
    config.write_text(json.dumps(sections))
    assert resolve(read_recipe(str(config))).train.precision == "fp32"


# -- runs


@pytest.mark.slow
@pytest.mark.parametrize(("native", "name"), [(True, "bf16"), (False, "fp32")])
def test_the_precision_is_stored_and_reported(
    native: bool, name: str, data: Path, tmp_path: Path, machine: Machine, capsys: Any
) -> None:
    """The run is the same as one whose settings name the precision."""
    machine(native)
    run = tmp_path / "run"
    output = command_output(capsys, *words(data, run, "auto"))
    assert f"train.precision auto: {name}, {SINCE}" in output.splitlines()
    assert output.count("train.precision") == 1
    assert stored(run) == [name] * 4
    assert f"precision {name}" in command_output(capsys, "show", run)
    named = tmp_path / "named"
    output = command_output(capsys, *words(data, named, name))
    assert "train.precision" not in output
    assert identical(checkpoint_state(run), checkpoint_state(named))


@pytest.mark.slow
@pytest.mark.parametrize(("native", "name"), [(True, "bf16"), (False, "fp32")])
def test_a_resumed_run_keeps_its_precision_on_another_machine(
    native: bool,
    name: str,
    data: Path,
    tmp_path: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine(native)
    training.train(auto_run(data, tmp_path / "uninterrupted"))
    run = tmp_path / "run"
    train_until_crash(monkeypatch, 5, auto_run(data, run))
    machine(not native)
    capsys.readouterr()
    training.train(auto_run(data, run))
    output = capsys.readouterr().out
    assert f"train.precision auto: {name}, as in {run / 'checkpoints'}" in output
    assert "changed since the checkpoint" not in output
    assert stored(run) == [name] * 4
    assert identical(checkpoint_state(run), checkpoint_state(tmp_path / "uninterrupted"))


@pytest.mark.slow
def test_another_precision_that_is_named_is_used(
    data: Path, tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(True)
    run = tmp_path / "run"
    training.train(auto_run(data, run))
    training.train(auto_run(data, run, epochs=2, precision="fp32"))
    assert "changed since the checkpoint: train.precision 'bf16' -> 'fp32'" in (
        capsys.readouterr().out
    )
    assert stored(run) == ["fp32"] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"), [({}, "fp32"), ({"precision": "fp8"}, "bf16"), ({"precision": []}, "bf16")]
)
def test_a_run_of_a_version_without_precisions_stays_fp32(
    before: dict[str, Any], after: str, data: Path, tmp_path: Path, machine: Machine, capsys: Any
) -> None:
    """An invalid value counts as no precision."""
    machine(True)
    run = tmp_path / "run"
    training.train(auto_run(data, run, precision="fp32"))
    state = load_state(newest_checkpoint(run))
    del state["sections"]["train"]["precision"]
    state["sections"]["train"] |= before
    save_state(newest_checkpoint(run), state)
    capsys.readouterr()
    training.train(auto_run(data, run, epochs=2))
    output = capsys.readouterr().out
    where = SINCE if before else f"as in {run / 'checkpoints'}"
    assert f"train.precision auto: {after}, {where}" in output
    changed = "changed since the checkpoint: train.precision" in output
    assert changed == bool(before) and stored(run) == [after] * 4


@pytest.mark.slow
def test_a_run_without_a_valid_checkpoint_is_a_new_one(
    data: Path, tmp_path: Path, machine: Machine
) -> None:
    """Nothing is resumed, so the precision may change."""
    machine(True)
    run = tmp_path / "run"
    training.train(auto_run(data, run))
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    machine(False)
    training.train(auto_run(data, run))
    assert stored(run) == ["fp32"] * 4


@pytest.mark.slow
def test_training_from_python_is_the_same(
    data: Path, tmp_path: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(True)
    config = auto_run(data, tmp_path / "unused")
    run = viceversa.train(config, run=tmp_path / "run")
    assert f"train.precision auto: bf16, {SINCE}\n" in capsys.readouterr().out
    assert stored(run) == ["bf16"] * 4


@pytest.mark.slow
def test_a_plan_is_for_the_precision_of_the_run(
    data: Path, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The precision of this machine, or of the existing run."""
    monkeypatch.setattr("viceversa.plan.free_memory", lambda device: None)  # no alternatives
    run, notes = tmp_path / "run", list[str]()
    sections = auto_run(data, run).sections
    machine(True)
    values = make_plan(resolve(sections), 0, notes.append)
    assert notes[0] == f"train.precision auto: bf16, {SINCE}"
    assert values["precision"] == values["settings"]["train"]["precision"] == "bf16"
    assert "32x32, bf16, on cpu" in plan_text(values)
    explicit = make_plan(auto_run(data, run, precision="bf16"), 0, notes.append)
    assert explicit["memory"] == values["memory"] and explicit["settings"] == values["settings"]
    assert not any("train.precision" in note for note in notes[1:])
    machine(False)
    training.train(resolve(sections))
    machine(True)
    values = make_plan(resolve(sections), 0, notes.append)
    assert values["precision"] == "fp32" and values["memory"] != explicit["memory"]
    assert f"train.precision auto: fp32, as in {run / 'checkpoints'}" in notes


# -- studies


def study(data: Path, *words: str) -> StudyConfig:
    config = study_settings("pix2pix", [str(data), "--folds", "2", "--val", "0", *words])
    assert config is not None
    return config


def precisions(config: StudyConfig) -> dict[str, str]:
    return {name: one.train.precision for name, one in config.variants.items()}


@pytest.mark.slow
def test_a_study_has_one_precision_on_any_machine(
    data: Path, tmp_path: Path, machine: Machine
) -> None:
    root, notes = tmp_path / "study", list[str]()
    machine(True)
    config = with_one_precision(study(data, "--over", "train.lr=1e-4,2e-4"), root, notes.append)
    assert set(precisions(config).values()) == {"bf16"}
    assert notes == [f"train.precision auto: bf16 for the whole study, {SINCE}"]
    runs = prepare(config, root, notes.append).runs
    machine(False)
    more = study(data, "--over", "train.lr=1e-4,2e-4,4e-4", "--seeds", "2")
    config = with_one_precision(more, root, notes.append)
    assert set(precisions(config).values()) == {"bf16"}
    assert notes[-1] == f"train.precision auto: bf16 for the whole study, as in {root}"
    made = prepare(config, root, notes.append)
    assert len(made.runs) == 12 and set(runs) < set(made.runs)
    for run in made.runs:
        assert json.loads(made.config(run).read_text())["train"]["precision"] == "bf16"


@pytest.mark.slow
def test_variants_that_name_a_precision_keep_it(
    data: Path, tmp_path: Path, machine: Machine
) -> None:
    machine(True)
    notes: list[str] = []
    config = study(data, "--over", "recipe=pix2pix-paper,pix2pix")
    config = with_one_precision(config, tmp_path / "study", notes.append)
    assert precisions(config) == {"pix2pix-paper": "fp32", "pix2pix": "bf16"}
    prepare(config, tmp_path / "study", notes.append)
    machine(False)
    config = study(data, "--over", "recipe=pix2pix-paper,pix2pix,facades")
    config = with_one_precision(config, tmp_path / "study", notes.append)
    assert precisions(config) == {"pix2pix-paper": "fp32", "pix2pix": "bf16", "facades": "bf16"}
    named = study(data, "--train.precision", "fp16")
    assert with_one_precision(named, tmp_path / "study", notes.append) is named
    assert len(notes) == 2
