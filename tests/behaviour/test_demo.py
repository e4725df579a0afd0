"""The demos run from the package alone, and their baselines are what they say."""

from pathlib import Path

import pytest
from PIL import Image

from viceversa.demo import run_demo


def test_unpaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    errors = run_demo("cyclegan", tmp_path, epochs=1)
    made = [name for name in errors if not name.startswith("baseline")]
    assert len(made) == 2 and all(0 < errors[name] < 2 for name in made)
    baselines = [errors[name] for name in errors if name.startswith("baseline")]
    assert baselines == pytest.approx([0.4196, 0.3524, 0.4063, 0.3427], abs=2e-3)
    run = tmp_path / "demo-cyclegan"
    with Image.open(run / "result.png") as picture:
        rows = picture.height // (64 + 2)
    assert rows == 6  # from, made, true, both ways
    said = capsys.readouterr().out
    assert f"viceversa translate {run / 'ab.safetensors'}" in said
    assert all(f"{error:.4f}  {name}" in said for name, error in errors.items())


@pytest.mark.slow
def test_paired(tmp_path: Path) -> None:
    errors = run_demo("pix2pix", tmp_path, epochs=1)
    assert errors["baseline: the line drawing unchanged"] == pytest.approx(0.1547, abs=5e-4)
    flooded = "baseline: every enclosed region filled with one median colour"
    assert errors[flooded] == pytest.approx(0.1280, abs=5e-4)
    assert errors["pix2pix"] < errors["baseline: the line drawing unchanged"]  # one epoch of 13
    assert (tmp_path / "demo" / "result.png").is_file()


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    first, second = (run_demo("cyclegan", tmp_path, seed, epochs=1) for seed in (0, 1))
    name = "CycleGAN, satellite to relief"
    assert first[name] != second[name]
    assert first["baseline: satellite to relief by the best constant colour"] == pytest.approx(
        second["baseline: satellite to relief by the best constant colour"]
    )
    assert {path.name for path in tmp_path.iterdir()} == {"demo-cyclegan", "demo-cyclegan-1"}
