"""Errors of the system and invalid recipes end every command with one sentence and exit code 2."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import command_error, command_output, noise_pairs, raises_user_error

from viceversa import UserError, read_recipe, resolve
from viceversa.cli import boundary, main
from viceversa.config.recipes import MAX_BYTES, MAX_DEPTH
from viceversa.data.check import scan
from viceversa.images import Source
from viceversa.images.io import reading_errors
from viceversa.inference import Translator, forward
from viceversa.runtime.device import prepare_device

LONG = "x" * 300
SMALL = (
    "--generator.width 2 --generator.depth 3 --discriminator.width 2 --discriminator.layers 1 "
    "--data.load_size 16 --data.crop_size 16 --train.epochs 1 --train.device cpu "
    "--train.precision fp32 --train.samples 1 --validate.every 0"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a dataset `data` and a finished run `run`."""
    root = tmp_path_factory.mktemp("boundary")
    noise_pairs(root / "data", 2, 16)
    arguments = f"train pix2pix {root / 'data'} {SMALL} --train.run {root / 'run'}"
    main(shlex.split(arguments))
    return root


@pytest.fixture
def folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `root` as the current folder."""
    monkeypatch.chdir(root)
    return root


def short_error(capsys: pytest.CaptureFixture[str], command: str) -> str:
    """Run a command line that must fail with a message of one line; return the message."""
    message = command_error(capsys, *shlex.split(command))
    assert len(message) < 1000
    return message


COMMANDS = {
    "train, run": f"train pix2pix data {SMALL} --train.run {LONG}",
    "train, data": f"train pix2pix {LONG} {SMALL} --train.run r",
    "train, recipe": f"train {LONG} data",
    "train, init": f"train pix2pix data {SMALL} --train.run r --train.init {LONG}",
    "plan, data": f"plan pix2pix {LONG} --steps 0",
    "check, data": f"check {LONG}",
    "check, recipe": f"check data --recipe {LONG}",
    "check, sheet": f"check data --sheet {LONG}.png",
    "translate, model": f"translate {LONG} data -o o",
    "translate, input": f"translate run/ab.safetensors {LONG}.png -o o",
    "translate, out": f"translate run/ab.safetensors data -o {LONG}",
    "evaluate, model": f"evaluate {LONG} data",
    "evaluate, data": f"evaluate run {LONG}",
    "evaluate, out": f"evaluate run data -o {LONG}",
    "evaluate, features": f"evaluate run data -o e --features {LONG}",
    "explain, image": f"explain run {LONG} -o x.png",
    "explain, out": f"explain run data/A/00.png -o {LONG}.png",
    "explain, real": f"explain run data/A/00.png --real {LONG} -o x.png",
    "show": f"show {LONG}",
    "show, model": f"show {LONG}.safetensors",
    "report": f"report {LONG}",
    "compare": f"compare {LONG} {LONG}",
    "compare, out": f"compare run run -o {LONG}.html",
    "demo, out": f"demo -o {LONG}",
    "features, to": f"features --to {LONG}",
}


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", COMMANDS)
def test_too_long_file_names_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = short_error(capsys, COMMANDS[name])
    assert "too long" in message and LONG not in message


def too_many_bytes() -> Any:
    return bytearray(2**62)


def too_large_array() -> Any:
    return np.empty(2**50)


def overflowing_array() -> Any:
    return np.empty((2**40, 2**40))


def too_large_tensor() -> Any:
    return torch.empty(2**60)


def overflowing_tensor() -> Any:
    return torch.empty(2**40, 2**40)


def system_out_of_memory() -> Any:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def library_not_mapped() -> Any:
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


ALLOCATIONS: list[Callable[[], Any]] = [
    too_many_bytes,
    too_large_array,
    overflowing_array,
    too_large_tensor,
    overflowing_tensor,
    system_out_of_memory,
    library_not_mapped,
]


@pytest.mark.parametrize("allocate", ALLOCATIONS)
def test_out_of_memory_errors_are_recognized(allocate: Callable[[], Any]) -> None:
    with pytest.raises((MemoryError, RuntimeError, OSError, ImportError, ValueError)) as caught:
        allocate()
    message = boundary.sentence(caught.value, "train")
    assert message is not None and "memory" in message and "train.batch_size" in message


TRAIN = f"train pix2pix data {SMALL} --train.run memory"
TRANSLATE = "translate run/ab.safetensors data -o o"
EVALUATE = "evaluate run data -o e"
EXPLAIN = "explain run data/A/00.png -o x.png"
LOAD_NETWORK = "viceversa.inference.model_files.load_network"
OUT_OF_MEMORY = {
    "reading the data": (TRAIN, "viceversa.training.setup.open_data"),
    "building the networks": (TRAIN, "viceversa.training.run.make_method"),
    "saving a checkpoint": (TRAIN, "viceversa.training.run.run_state"),
    "loading a generator": (TRANSLATE, LOAD_NETWORK),
    "reading the images of evaluate": (EVALUATE, "viceversa.evaluation.models.open_images"),
    "loading a discriminator": (EXPLAIN, LOAD_NETWORK),
    "writing a page": ("report run", "viceversa.reports.write_run_page"),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", OUT_OF_MEMORY)
def test_out_of_memory_is_reported_in_one_sentence(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command, function = OUT_OF_MEMORY[name]
    monkeypatch.setattr(function, lambda *_, **__: too_large_tensor())
    assert "memory is not enough" in short_error(capsys, command)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("size", ["1000000000", "9" * 20, "9" * 5000, "65537", "0", "-1", "1e3"])
def test_invalid_sizes_are_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (EVALUATE, TRANSLATE):
        assert "size" in short_error(capsys, f"{command} --size={size}")


@pytest.mark.parametrize("option", ["data.load_size", "data.crop_size"])
@pytest.mark.parametrize("side", [2**16 + 1, 2**31, 2**63 - 1])
def test_too_large_training_sizes_are_refused(option: str, side: int) -> None:
    sections = read_recipe("pix2pix")
    sections["data"][option.removeprefix("data.")] = side
    with raises_user_error(option=option) as caught:
        resolve(sections)
    assert "from 1 to 65536" in str(caught.value)


PROGRAM_ERRORS = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    KeyError("a"),
    TypeError("x"),
    ValueError("too many values to unpack"),
    AttributeError("x"),
    AssertionError(),
    RecursionError("maximum recursion depth exceeded"),
    OSError("without errno"),
    UnicodeEncodeError("latin-1", "x", 0, 1, "not a file name"),
    ImportError("No module named 'x'"),
]


@pytest.mark.parametrize("error", PROGRAM_ERRORS, ids=lambda error: type(error).__name__)
def test_errors_of_the_program_keep_their_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Path) -> None:
        raise error

    assert boundary.sentence(error, "report") is None
    monkeypatch.setattr("viceversa.reports.refuse_other_folder", fail)
    with pytest.raises(type(error)):
        main(["report", "x"])


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EACCES, "Permission denied"),
        (errno.EIO, "Input/output error"),
        (errno.EROFS, "Read-only"),
        (errno.ELOOP, "symbolic links"),
        (errno.ENOTDIR, "directory"),
    ],
)
def test_errors_of_files_name_the_file(
    number: int, reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Path) -> None:
        raise OSError(number, os.strerror(number), "some/file.png")

    monkeypatch.setattr("viceversa.reports.refuse_other_folder", fail)
    message = short_error(capsys, "report x")
    assert message.startswith("viceversa: some/file.png: ") and reason in message


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("seed", [-1, 2**63, 2**64, 99999999999999999999, -(2**70)])
def test_seeds_outside_63_bits_are_refused(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (TRANSLATE, EVALUATE):
        assert "seed" in short_error(capsys, f"{command} --policy paper --seed={seed}")
    assert "seed" in short_error(capsys, f"{TRAIN} --train.seed={seed}")
    assert "seed" in short_error(capsys, f"demo -o demo --seed={seed}")
    with raises_user_error(option="--seed"):
        Translator.load("run/ab.safetensors", seed=seed)


def test_the_largest_seed_is_accepted(folder: Path) -> None:
    translator = Translator.load(folder / "run/ab.safetensors", "cpu", "paper", seed=2**63 - 1)
    translator(folder / "data/A/00.png")


def nested(levels: int, opening: str, closing: str) -> str:
    return opening * levels + closing * levels


RECIPES = {
    "itself.toml": 'base = "sub/../itself.toml"',
    "link.toml": 'base = "itself.toml"',
    "one.toml": 'base = "two.toml"',
    "two.toml": 'base = "./sub/../one.toml"',
    "deep.toml": f"[train]\nepochs = {nested(20000, '[', ']')}",
    "deep.json": nested(200000, "[", ""),
    "closed.json": nested(900, "[", "]"),
    "tables.json": nested(900, '{"train": ', "") + "1" + "}" * 900,
    "values.json": f'{{"train": {{"betas": {nested(MAX_DEPTH + 1, "[", "]")}}}}}',
    "digits.toml": f"[train]\nepochs = {'9' * 5000}",
    "digits.json": f'{{"train": {{"epochs": {"9" * 5000}}}}}',
    "huge.toml": "#" * (MAX_BYTES + 1),
    "nul.json": '{"base": "pix2pix", "data": {"path": "a\\u0000b"}}',
    "list.json": "[1, 2]",
    "empty.json": "",
}


@pytest.mark.parametrize("name", RECIPES)
def test_recursive_and_invalid_recipes_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for file, text in RECIPES.items():
        (tmp_path / file).write_text(text)
    message = short_error(capsys, f"show {name}")
    assert name in message or "based on itself" in message or "data.path" in message


def test_a_long_chain_of_recipes_is_refused(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.toml").write_text(f'base = "{number + 1}.toml"')
    (tmp_path / "60.toml").write_text('base = "pix2pix"')
    with pytest.raises(UserError, match="based on each other"):
        read_recipe(str(tmp_path / "0.toml"))
    assert read_recipe(str(tmp_path / "30.toml")) == read_recipe("pix2pix")


@pytest.mark.parametrize("option", ["generator.width", "discriminator.width"])
def test_networks_too_large_for_a_model_file_are_refused(option: str) -> None:
    section, name = option.split(".")
    sections = read_recipe("pix2pix")
    sections[section][name] = 8193
    with raises_user_error(option=option) as caught:
        resolve(sections)
    assert "8192" in str(caught.value)


DEVICES = (
    "xla hip ve fpga maia lazy vulkan ipu mkldnn opengl opencl ideep hpu privateuseone meta xpu "
    "mtia foo '' ' ' cpu:-1 cpu:x 0 cuda:99 cuda:999999999999"
)


@pytest.mark.parametrize("device", shlex.split(DEVICES))
def test_unavailable_devices_are_refused(device: str) -> None:
    """Some of them are names that torch accepts and cannot use."""
    with raises_user_error(option="device") as caught:
        prepare_device(device)
    message = str(caught.value)
    assert repr(device) in message and "available: cpu" in message
    assert "\n" not in message and len(message) < 200


def test_the_cpu_is_available() -> None:
    assert prepare_device("cpu").type == "cpu"


def stderr_of_check(expected_code: int, *arguments: str | Path, **options: Any) -> bytes:
    """Run `viceversa check` in a process, whose streams are not those of pytest."""
    words = [sys.executable, "-m", "viceversa", "check", *arguments]
    done = subprocess.run(words, capture_output=True, check=False, **options)
    assert done.returncode == expected_code and b"Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_characters_missing_from_the_output_encoding_are_escaped(
    encoding: str, tmp_path: Path
) -> None:
    data = noise_pairs(tmp_path / "żółw-猫-\udcff", 2, 16)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    stderr_of_check(0, data, env=environment)
    message = stderr_of_check(2, f"{data}-none", env=environment)
    assert message.decode(encoding).startswith("viceversa: ")


@pytest.mark.slow
def test_file_names_in_an_ascii_locale(tmp_path: Path) -> None:
    """LANG=C without UTF-8 mode: names are bytes, and files are still read as UTF-8."""
    data = noise_pairs(tmp_path / "猫", 2, 16)
    (tmp_path / "r.toml").write_text('# żółw\nbase = "pix2pix"\n[data]\npath = "猫"\n')
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    environment = os.environ | locale
    environment.pop("PYTHONIOENCODING", None)
    stderr_of_check(0, data, env=environment, cwd=tmp_path)
    message = stderr_of_check(2, "--recipe", "r.toml", env=environment, cwd=tmp_path)
    assert b"ascii" in message


def test_other_images_are_translated_when_memory_is_not_enough_for_one(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The memory is enough for one image of 16x16, but not for a batch of two or for 24x24."""
    images = tmp_path / "images"
    images.mkdir()
    for number, side in enumerate((16, 16, 16, 24, 16)):
        pixels = np.zeros((side, side, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    at_any_size = forward.at_any_size

    def limited(network: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        if batch.numel() > 3 * 16 * 16:
            torch.empty(2**60)
        return at_any_size(network, batch)

    monkeypatch.setattr(forward, "at_any_size", limited)
    model = root / "run/ab.safetensors"
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(f"translate {model} {images} -o {tmp_path / 'o'} --batch_size 2"))
    output = capsys.readouterr()
    assert caught.value.code == 2 and "memory is not enough for 1 of 24x24" in output.err
    assert "4 of 5 images translated" in output.out
    assert sorted(os.listdir(tmp_path / "o"))[-4:] == ["0.png", "1.png", "2.png", "4.png"]


def test_an_image_that_does_not_fit_in_memory_is_not_reported_as_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise_pairs(tmp_path / "data", 3, 286)
    decode = scan.decode

    def limited(data: bytes, source: Source, *rest: Any, **more: Any) -> Any:
        with reading_errors(source):
            if source.path.name == "01.png":
                bytearray(2**62)
            return decode(data, source, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(scan, "decode", limited)
        with pytest.raises(SystemExit):
            main(["check", str(data)])
    output = capsys.readouterr().out
    assert "does not fit into the free memory" in output and "damaged" not in output
    # The error was not cached.
    assert "No problems detected" in command_output(capsys, "check", data)
