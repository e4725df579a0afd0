"""User modules are imported from the command line, and never because a file names them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support import command_error, log_lines, noise_pairs, option_arguments, values

from viceversa.checkpoint import read_header
from viceversa.cli import main
from viceversa.config import extensions
from viceversa.losses import GAN_LOSSES
from viceversa.methods import METHODS
from viceversa.metrics.registry import METRICS
from viceversa.networks import DISCRIMINATORS, GENERATORS

EXAMPLES = Path(__file__).parents[2] / "examples"
SHARP, DILATED = str(EXAMPLES / "sharp.py"), str(EXAMPLES / "dilated.py")
SMALL = option_arguments(
    {
        "discriminator.width": 2,
        "discriminator.layers": 1,
        "data.load_size": 16,
        "data.crop_size": 16,
        "data.workers": 0,
        "train.epochs": 1,
        "train.device": "cpu",
        "train.precision": "fp32",
        "train.samples": 1,
        "validate.every": 2,
    }
)
DILATED_OPTIONS = [
    "--generator.name=dilated",
    "--generator.width=4",
    "--generator.dilations=1",
    "--generator.dilations=2",
]
BUILT_IN = {*METHODS, *GENERATORS, *DISCRIMINATORS}


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset imports and registries, so that each test starts like a new process."""
    monkeypatch.setattr(extensions, "imported", [])
    for registry in (METHODS, GENERATORS, DISCRIMINATORS):
        for name in registry.keys() - BUILT_IN:
            monkeypatch.delitem(registry, name)
    for name in GAN_LOSSES.keys() - {"bce", "lsgan", "hinge", "wgan-gp"}:
        monkeypatch.delitem(GAN_LOSSES, name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        noise_pairs(tmp_path / "data" / split, 2, 16)
    return tmp_path / "data"


LOSS = """
import torch.nn.functional as F
from viceversa.losses import GAN_LOSSES, GANLoss
GAN_LOSSES["squared-hinge"] = GANLoss(
    "squared-hinge", lambda p: F.relu(1 - p) ** 2, lambda p: F.relu(1 + p) ** 2, lambda p: -p
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_an_adversarial_loss(
    method: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, module = tmp_path / "run", tmp_path / "loss.py"
    module.write_text(LOSS)
    loss = ["--method.gan_loss", "squared-hinge"]
    arguments = ["train", method, str(data), "--train.run", str(run), *SMALL, *loss]
    arguments += ["--generator.width", "2"]
    arguments += ["--generator.depth", "2"] if method == "pix2pix" else ["--generator.blocks", "1"]
    message = command_error(capsys, *arguments)
    assert "method.gan_loss" in message and "squared-hinge" in message and "lsgan" in message
    main([*arguments, "--import", str(module)])
    assert read_header(run / "d_b.safetensors")["objective"] == "squared-hinge"
    image = next((data / "test" / "A").glob("*.png"))
    main(["explain", str(run / "ab.safetensors"), str(image), "-o", str(tmp_path / "map.png")])


@pytest.mark.slow
def test_a_method_and_a_generator_of_the_examples(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    method = {"method.name": "sharp", "method.lambda_gradient": 2, "train.run": run}
    options = [*option_arguments(method), *DILATED_OPTIONS, *SMALL]
    main(["train", "pix2pix", str(data), "--import", SHARP, f"--import={DILATED}", *options])
    config = json.loads((run / "config.json").read_text())
    assert config["imports"] == [SHARP, DILATED] and config["method"]["name"] == "sharp"
    assert read_header(run / "ab.safetensors")["imports"] == [SHARP, DILATED]
    (line,) = log_lines(run, "train")
    assert values(line, "loss").keys() == {"g_l1", "g_gradient"}
    source = str(data / "test" / "A" / "00.png")
    for command in (
        ["translate", str(run / "ab.safetensors"), source, "-o", str(tmp_path / "out")],
        ["evaluate", str(run), "--metrics", "swd", "-o", str(tmp_path / "measured")],
        ["train", str(run / "config.json"), "--train.epochs", "2"],
        ["plan", str(run / "config.json"), "--steps", "0"],
    ):
        monkeypatch.setattr(extensions, "imported", [])
        main([*command, "--import", DILATED, "--import", SHARP])


@pytest.mark.slow
def test_a_module_named_in_a_file_is_not_imported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLES / "dilated.py").read_text()
    Path("own.py").write_text(text + "\nopen('executed', 'w').close()\n")
    options = ["--import", "own.py", *DILATED_OPTIONS, *SMALL, "--train.run", "run"]
    main(["train", "pix2pix", str(data), *options])
    assert Path("executed").exists()  # the control
    Path("executed").unlink()
    GENERATORS.pop("dilated")
    monkeypatch.setattr(extensions, "imported", [])
    Path("own.toml").write_text('base = "pix2pix"\nimports = ["own.py"]\n')
    image = str(data / "test" / "A" / "00.png")
    for arguments in (
        ["train", "run/config.json"],
        ["train", "own.toml", str(data)],
        ["show", "own.toml"],
        ["translate", "run/ab.safetensors", image, "-o", "out"],
        ["evaluate", "run"],
        ["explain", "run", image, "-o", "x.png"],
    ):
        assert "if you trust them, add --import own.py" in command_error(capsys, *arguments), (
            arguments
        )
    assert not Path("executed").exists()
    main(["show", "own.toml", "--import", "own.py"])
    assert Path("executed").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "there is no such file"),
        ("def (", "line 1: invalid syntax"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("x = 1\nraise SystemExit(3)", "line 2"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused(
    text: str | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.py"
    if text is not None:
        path.write_text(text)
    message = command_error(capsys, "show", "--import", str(path))
    assert f"--import {path}" in message and reason in message and len(message.splitlines()) == 1


def test_dotted_names_and_missing_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pack_of_mine").mkdir()
    Path("pack_of_mine/nets.py").write_text((EXAMPLES / "dilated.py").read_text())
    main(["show", "pix2pix", "--import", "pack_of_mine.nets"])
    assert "dilated" in GENERATORS and extensions.imported == ["pack_of_mine.nets"]
    assert "--import needs a module" in command_error(capsys, "show", "pix2pix", "--import")
    assert "ModuleNotFoundError" in command_error(
        capsys, "show", "pix2pix", "--import", "no.such.module"
    )
    for value in ('"x.py"', "[1]"):
        Path("own.toml").write_text(f'base = "pix2pix"\nimports = {value}\n')
        assert "imports must be a list of module names" in command_error(capsys, "show", "own.toml")


def test_the_gradient_difference_by_hand() -> None:
    extensions.import_module(SHARP)
    gradient_difference = sys.modules["sharp"].gradient_difference
    step = torch.tensor([[[[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]]])
    # Contrasts of 1 in two of the four pairs of columns, none in the rows.
    assert float(gradient_difference(step, 0 * step)) == 0.5
    assert float(gradient_difference(step, step + 1)) == 0
    assert float(gradient_difference(step, -step)) == 0


def test_help_needs_no_import() -> None:
    message = subprocess.run(
        [sys.executable, "-m", "viceversa", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "--import" in message


METRIC = """
from viceversa.metrics.registry import METRICS, Metric

def rmse(output, target, weight):
    return (output - target).square().mean((1, 2, 3)).sqrt()

METRICS["rmse"] = Metric("RMSE", "lower", "pair", lambda: rmse)
METRICS["contrast"] = Metric(
    "Contrast", "higher", "sets", lambda: lambda outputs, targets: float(outputs.std()),
    default=True,
)
"""


@pytest.mark.slow
def test_a_metric(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = dict(METRICS)
    module, run = tmp_path / "my_metrics.py", tmp_path / "run"
    module.write_text(METRIC)
    options = {
        "generator.width": 2,
        "generator.depth": 2,
        "train.run": run,
        "validate.extra_metrics": "rmse",
        "validate.best_metric": "rmse",
    }
    arguments = ["train", "pix2pix", str(data), *SMALL, *option_arguments(options)]
    message = command_error(capsys, *arguments)
    assert "validate.extra_metrics takes ms_ssim, lpips, fid, kid, not 'rmse'" in message
    try:
        main([*arguments, "--import", str(module)])
        found = log_lines(run, "validation")[0]
        # contrast: unpaired methods
        assert list(values(found, "val")) == ["l1", "psnr", "ssim", "rmse"]
        assert found["best.metric"] == "rmse" and found["val.rmse"] > 0
        assert "RMSE" in (run / "report.html").read_text()
        main(["evaluate", str(run), "--import", str(module), "-o", str(tmp_path / "out")])
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["directions"]["ab"]
        assert metrics["means"]["rmse"]["mean"] > metrics["means"]["l1"]["mean"]
        assert metrics["sets"]["contrast"] > 0
        page = (tmp_path / "out" / "index.html").read_text()
        (row,) = [row for row in page.split("<tr>") if ">RMSE<" in row]
        assert "<td>lower</td>" in row
    finally:
        METRICS.clear()
        METRICS.update(known)
        sys.modules.pop("my_metrics", None)
    monkeypatch.setattr(extensions, "imported", [])
    assert f"add --import {module}" in command_error(capsys, "train", str(run / "config.json"))
