"""Errors of the system end a command with one sentence and exit code 2, whatever the command."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import noise_pairs

from viceversa import UserError, read_recipe, resolve
from viceversa.cli import boundary, main
from viceversa.config.recipes import MAX_BYTES, MAX_DEPTH
from viceversa.data.check import scan
from viceversa.images import Source
from viceversa.images.io import reading_errors
from viceversa.inference import Translator
from viceversa.runtime.device import prepare_device

LONG = "x" * 300
SMALL = [
    "--generator.width", "2", "--generator.depth", "3", "--discriminator.width", "2",
    "--discriminator.layers", "1", "--data.load_size", "16", "--data.crop_size", "16",
    "--train.epochs", "1", "--train.device", "cpu", "--train.samples", "1", "--validate.every", "0",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data/` and a finished run `run/`."""
    root = tmp_path_factory.mktemp("boundary")
    noise_pairs(root / "data", 2, 16)
    main(["train", "pix2pix", str(root / "data"), *SMALL, "--train.run", str(root / "run")])
    return root


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    said = capsys.readouterr().err
    assert caught.value.code == 2, said
    assert said.startswith("viceversa: ") and said.count("\n") == 1, said
    assert len(said) < 1000
    return said


COMMANDS: dict[str, list[str]] = {
    "train, run": ["train", "pix2pix", "data", *SMALL, "--train.run", LONG],
    "train, data": ["train", "pix2pix", LONG, *SMALL, "--train.run", "r"],
    "train, recipe": ["train", LONG, "data"],
    "train, init": ["train", "pix2pix", "data", *SMALL, "--train.run", "r", "--train.init", LONG],
    "plan, data": ["plan", "pix2pix", LONG, "--steps", "0"],
    "check, data": ["check", LONG],
    "check, recipe": ["check", "data", "--recipe", LONG],
    "check, sheet": ["check", "data", "--sheet", LONG + ".png"],
    "translate, model": ["translate", LONG, "data", "-o", "o"],
    "translate, input": ["translate", "run/ab.safetensors", LONG + ".png", "-o", "o"],
    "translate, out": ["translate", "run/ab.safetensors", "data", "-o", LONG],
    "evaluate, model": ["evaluate", LONG, "data"],
    "evaluate, data": ["evaluate", "run", LONG],
    "evaluate, out": ["evaluate", "run", "data", "-o", LONG],
    "evaluate, features": ["evaluate", "run", "data", "-o", "e", "--features", LONG],
    "explain, image": ["explain", "run", LONG, "-o", "x.png"],
    "explain, out": ["explain", "run", "data/A/00.png", "-o", LONG + ".png"],
    "explain, real": ["explain", "run", "data/A/00.png", "--real", LONG, "-o", "x.png"],
    "show": ["show", LONG],
    "show, model": ["show", LONG + ".safetensors"],
    "report": ["report", LONG],
    "compare": ["compare", LONG, LONG],
    "compare, out": ["compare", "run", "run", "-o", LONG + ".html"],
    "demo, out": ["demo", "-o", LONG],
    "features, to": ["features", "--to", LONG],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_that_is_too_long_is_refused(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    said = refused(capsys, *COMMANDS[name])
    assert "too long" in said and LONG not in said


def too_many_bytes() -> Any:
    return bytearray(2**62)


def too_large_array() -> Any:
    return np.empty(2**50)


def array_without_end() -> Any:
    return np.empty((2**40, 2**40))


def too_large_tensor() -> Any:
    return torch.empty(2**60)


def size_overflow() -> Any:
    return torch.empty(2**40, 2**40)


def no_memory() -> Any:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def libraries_that_do_not_fit() -> Any:
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


MEMORY: list[Callable[[], Any]] = [
    too_many_bytes, too_large_array, array_without_end, too_large_tensor, size_overflow, no_memory,
    libraries_that_do_not_fit,
]  # fmt: skip


@pytest.mark.parametrize("allocate", MEMORY)
def test_memory_that_is_not_enough_is_told_from_other_errors(allocate: Callable[[], Any]) -> None:
    with pytest.raises((MemoryError, RuntimeError, OSError, ImportError, ValueError)) as caught:
        allocate()
    said = boundary.sentence(caught.value, "train")
    assert said is not None and "memory" in said and "train.batch_size" in said


PLACES = {
    "reading the data": ("viceversa.training.run.open_data", ["train"]),
    "building the networks": ("viceversa.training.run.make_method", ["train"]),
    "a checkpoint": ("viceversa.training.run.run_state", ["train"]),
    "loading a model": ("viceversa.inference.model_files.load_network", ["translate"]),
    "images of evaluate": ("viceversa.evaluation.models.open_images", ["evaluate"]),
    "loading a discriminator": (
        "viceversa.inference.model_files.load_network",
        ["explain"],
    ),
    "a page": ("viceversa.reports.write_run_page", ["report"]),
}
WORDS = {
    "train": ["train", "pix2pix", "data", *SMALL, "--train.run", "memory"],
    "translate": ["translate", "run/ab.safetensors", "data", "-o", "o"],
    "evaluate": ["evaluate", "run", "data", "-o", "e"],
    "explain": ["explain", "run", "data/A/00.png", "-o", "x.png"],
    "report": ["report", "run"],
}


@pytest.mark.parametrize("place", PLACES)
def test_memory_that_is_not_enough_anywhere_is_one_sentence(
    place: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    target, (command,) = PLACES[place]
    monkeypatch.setattr(target, lambda *_, **__: too_large_tensor())
    assert "memory is not enough" in refused(capsys, *WORDS[command])


@pytest.mark.parametrize("size", ["1000000000", "9" * 20, "9" * 5000, "65537", "0", "-1", "1e3"])
def test_a_size_without_end_is_refused(
    size: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert "size" in refused(capsys, "evaluate", "run", "data", "-o", "e", f"--size={size}")
    model = ["run/ab.safetensors", "data", "-o", "o"]
    assert "size" in refused(capsys, "translate", *model, f"--size={size}")


@pytest.mark.parametrize("option", ["data.load_size", "data.crop_size"])
@pytest.mark.parametrize("side", [2**16 + 1, 2**31, 2**63 - 1])
def test_sides_beyond_any_image_are_refused(option: str, side: int) -> None:
    sections = read_recipe("pix2pix")
    sections["data"] |= {"load_size": side, option.removeprefix("data."): side}
    with pytest.raises(UserError, match="from 1 to 65536"):
        resolve(sections)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"), KeyError("a"), TypeError("x"),
        ValueError("too many values to unpack"), AttributeError("x"), AssertionError(),
        RecursionError("maximum recursion depth exceeded"), OSError("no number"),
        UnicodeEncodeError("latin-1", "x", 0, 1, "of a text that is not a name"),
        ImportError("No module named 'x'"),
    ],
)  # fmt: skip
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
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EMFILE, "ulimit -n"),
        (errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error"),
        (errno.EROFS, "Read-only"), (errno.ELOOP, "symbolic links"), (errno.ENOTDIR, "directory"),
    ],
)  # fmt: skip
def test_errors_of_files_name_the_file(
    number: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Path) -> None:
        raise OSError(number, os.strerror(number), "some/file.png")

    monkeypatch.setattr("viceversa.reports.refuse_other_folder", fail)
    said = refused(capsys, "report", "x")
    assert said.startswith("viceversa: some/file.png: ") and words in said


SEEDS = [-1, 2**63, 2**64, 99999999999999999999, -(2**70)]


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_beyond_64_bits_are_refused(
    seed: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    option = [f"--seed={seed}"]
    paper = ["--policy", "paper", *option]
    for words in (
        ["translate", "run/ab.safetensors", "data", "-o", "o", *paper],
        ["evaluate", "run", "data", "-o", "e", *paper],
        ["train", "pix2pix", "data", *SMALL, "--train.run", "seeds", f"--train.seed={seed}"],
        ["demo", "-o", "demo", *option],
    ):
        assert "seed" in refused(capsys, *words)
    with pytest.raises(UserError) as error:
        Translator.load("run/ab.safetensors", seed=seed)
    assert error.value.option == "--seed"


def test_the_largest_seed_is_used(folder: Path) -> None:
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
def test_recipes_that_recurse_or_are_none(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for file, text in RECIPES.items():
        (tmp_path / file).write_text(text)
    said = refused(capsys, "show", name)
    assert name in said or "based on itself" in said or "data.path" in said


def test_a_long_chain_of_recipes_ends(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.toml").write_text(f'base = "{number + 1}.toml"')
    (tmp_path / "60.toml").write_text('base = "pix2pix"')
    with pytest.raises(UserError, match="based on each other"):
        read_recipe(str(tmp_path / "0.toml"))
    assert read_recipe(str(tmp_path / "30.toml")) == read_recipe("pix2pix")


@pytest.mark.parametrize("option", ["generator.width", "discriminator.width"])
def test_networks_that_a_model_file_may_not_describe_are_refused(option: str) -> None:
    section, name = option.split(".")
    sections = read_recipe("pix2pix")
    sections[section][name] = 8193
    with pytest.raises(UserError, match="8192") as error:
        resolve(sections)
    assert error.value.option == option


DEVICES = [
    "xla", "hip", "ve", "fpga", "maia", "lazy", "vulkan", "ipu", "mkldnn", "opengl", "opencl",
    "ideep", "hpu", "privateuseone", "meta", "xpu", "mtia", "foo", "", " ", "cpu:-1", "cpu:x",
    "0", "cuda:99", "cuda:999999999999",
]  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
def test_devices_that_torch_names_and_cannot_use(device: str) -> None:
    with pytest.raises(UserError) as error:
        prepare_device(device)
    said = str(error.value)
    assert repr(device) in said and "available: cpu" in said
    assert "\n" not in said and len(said) < 200
    assert error.value.option == "device"


def test_the_processor_is_available() -> None:
    assert prepare_device("cpu").type == "cpu"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_characters_that_the_output_lacks_are_escaped(
    encoding: str, folder: Path, tmp_path: Path
) -> None:
    """In a process: the streams are those of the interpreter."""
    data = noise_pairs(tmp_path / "żółw-猫-\udcff", 2, 16)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    words = [sys.executable, "-m", "viceversa", "check"]
    done = subprocess.run([*words, data], env=environment, capture_output=True, check=False)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    missing = subprocess.run(
        [*words, f"{data}-none"], env=environment, capture_output=True, check=False
    )
    assert missing.returncode == 2 and b"Traceback" not in missing.stderr
    assert missing.stderr.decode(encoding).startswith("viceversa: ")


def test_ascii_names_of_files(tmp_path: Path) -> None:
    """LANG=C without UTF-8 mode: names are bytes, and files are still read as UTF-8."""
    data = noise_pairs(tmp_path / "猫", 2, 16)
    (tmp_path / "r.toml").write_text('# żółw\nbase = "pix2pix"\n[data]\npath = "猫"\n')
    environment = {
        **os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0",
    }  # fmt: skip
    environment.pop("PYTHONIOENCODING", None)
    for words, code in ((["check", data], 0), (["check", "--recipe", "r.toml"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "viceversa", *words],
            env=environment, cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == code and b"Traceback" not in done.stderr, done.stderr
    assert b"ascii" in done.stderr


def test_images_that_need_too_much_memory_leave_the_others_translated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Batches of two need more than there is, and so does one of the images alone."""
    images = tmp_path / "images"
    for place, side in enumerate((16, 16, 16, 24, 16)):
        pixels = np.zeros((side, side, 3), np.uint8)
        images.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(images / f"{place}.png")
    output = Translator._output

    def limited(self: Translator, batch: torch.Tensor) -> torch.Tensor:
        if batch.numel() > 3 * 16 * 16:
            torch.empty(2**60)
        return output(self, batch)

    monkeypatch.setattr(Translator, "_output", limited)
    model = str(folder / "run/ab.safetensors")
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["translate", model, str(images), "-o", str(tmp_path / "o"), "--batch_size", "2"])
    said = capsys.readouterr()
    assert end.value.code == 2 and "memory is not enough for 1 of 24x24" in said.err
    assert "4 of 5 images translated" in said.out
    assert sorted(os.listdir(tmp_path / "o"))[-4:] == ["0.png", "1.png", "2.png", "4.png"]


def test_an_image_that_does_not_fit_in_memory_is_not_damaged(
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
    said = capsys.readouterr().out
    assert "does not fit into the free memory" in said and "damaged" not in said
    main(["check", str(data)])  # the record of a full memory was not kept
    assert "No problems detected" in capsys.readouterr().out
