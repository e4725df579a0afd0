"""The demos run with the data in the package; their errors and baselines are as documented."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from viceversa import demo
from viceversa.config.run import RunConfig
from viceversa.demo import run_demo
from viceversa.training.loop import train

pytestmark = pytest.mark.slow


def test_unpaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "train", train_on_few)
    errors = run_demo("cyclegan", tmp_path, epochs=1)
    methods = [name for name in errors if not name.startswith("baseline")]
    assert len(methods) == 2 and all(0 < errors[name] < 2 for name in methods)
    baselines = [errors[name] for name in errors if name.startswith("baseline")]
    assert baselines == pytest.approx([0.4196, 0.3524, 0.4063, 0.3427], abs=2e-3)
    run = tmp_path / "demo-cyclegan"
    with Image.open(run / "result.png") as image:
        rows = image.height // (64 + 2)
    assert rows == 6  # source, translation and target, in both directions
    output = capsys.readouterr().out
    assert f"viceversa translate {run / 'ab.safetensors'}" in output
    assert output.splitlines()[-1] == f"report: {run / 'report.html'}"
    assert f"viceversa serve {run / 'ab.safetensors'} --open" in output
    assert (run / "report.html").is_file()
    assert all(f"{error:.4f}  {name}" in output for name, error in errors.items())
    # Another seed is a separate run.
    other_errors = run_demo("cyclegan", tmp_path, seed=1, epochs=1)
    name = "CycleGAN, satellite to relief"
    assert errors[name] != other_errors[name]
    baseline = "baseline: satellite to relief by the best constant colour"
    assert errors[baseline] == other_errors[baseline]
    assert {path.name for path in tmp_path.iterdir()} == {"demo-cyclegan", "demo-cyclegan-1"}


def test_paired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "train", train_on_few)
    check_paired(run_demo("pix2pix", tmp_path, epochs=1))
    assert (tmp_path / "demo" / "result.png").is_file()


@pytest.mark.soak
def test_an_epoch_of_the_paired_demo_is_better_than_no_change(tmp_path: Path) -> None:
    errors = run_demo("pix2pix", tmp_path, epochs=1)  # of 13
    check_paired(errors)
    assert errors["pix2pix"] < errors["baseline: the line drawing unchanged"]


def train_on_few(config: RunConfig) -> Path:
    return train(replace(config, data=replace(config.data, max_images=16)))


def check_paired(errors: dict[str, float]) -> None:
    assert errors["baseline: the line drawing unchanged"] == pytest.approx(0.1547, abs=5e-4)
    filled = "baseline: every enclosed region filled with one median colour"
    assert errors[filled] == pytest.approx(0.1280, abs=5e-4)
    assert 0 < errors["pix2pix"] < 2
