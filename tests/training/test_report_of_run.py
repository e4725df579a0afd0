"""The report of a run: when it is written, and what the run records for it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import noise_images, noise_pairs, train_arguments

from viceversa.cli import main
from viceversa.reports.page import thumbnail


def test_run_without_samples_and_validation_ends_with_a_report(tmp_path: Path) -> None:
    data, run = noise_pairs(tmp_path / "data/train", 4, 40), tmp_path / "run"
    options = ["--train.samples", "0", "--validate.every", "0", "--train.log_every", "2"]
    main([str(one) for one in train_arguments(data.parent, run, *options)])
    assert not (run / "samples").exists()
    page = (run / "report.html").read_text()
    assert "<dd>finished</dd>" in page and "<dd>4 of 4</dd>" in page
    assert re.findall('<a href="([^"]*)"', page) == ["ab.safetensors"]


def test_report_links_to_the_best_model_of_the_last_validation(tmp_path: Path) -> None:
    noise_pairs(tmp_path / "data/train", 4, 40)
    data, run = noise_pairs(tmp_path / "data/val", 2, 40).parent, tmp_path / "run"
    main([str(one) for one in train_arguments(data, run, "--validate.every", "100")])
    page = (run / "report.html").read_text()
    assert re.findall('<a href="([^"]*)"', page) == ["best/ab.safetensors", "ab.safetensors"]
    assert "<td>4 pairs</td>" in page and "<td>2 pairs</td>" in page


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_images_record_file_names_columns_and_panels(method: str, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    if method == "pix2pix":
        noise_pairs(data / "train", 3, 40)
        names, columns = ["train/A/00.png", "train/A/01.png"], 3
    else:
        for domain, count in (("A", 3), ("B", 2)):
            noise_images(data / f"train{domain}", count)
        names, columns = [f"trainA/{i}.png, trainB/{i}.png" for i in (0, 1)], 6
    arguments = [*train_arguments(data, run, "--train.samples", "2", method=method)]
    if method == "cyclegan":  # its generator has blocks
        at = arguments.index("--generator.depth")
        arguments[at : at + 2] = ["--generator.blocks", "1"]
    main([str(one) for one in arguments])
    counts = json.loads((run / "machine.json").read_text())["images"]
    assert counts == {"train": {"pairs": 3} if method == "pix2pix" else {"A": 3, "B": 2}}
    (*_, path) = sorted((run / "samples").iterdir())
    grid = thumbnail(path)
    assert grid is not None and list(grid.rows) == names and len(grid.columns) == columns
    figure_path = run / "patch_maps" / path.name
    figure = thumbnail(figure_path)
    assert figure is not None
    titles = [panel.title for panel in figure.panels]
    assert "patch map: generated" in " ".join(titles) and "least real patch" in " ".join(titles)
    # The box of a panel contains the image alone: the sample grid shows the same one.
    drawn = Image.open(figure_path)
    about = json.loads(drawn.info["viceversa"])
    first = next(one for one in about["panels"] if one["title"] in ("source", "generated B"))
    panel = np.asarray(drawn.crop(first["box"]))
    column = 0 if method == "pix2pix" else 1
    cell = np.asarray(Image.open(path))[2:34, 2 + 34 * column : 34 + 34 * column]
    assert (panel[::8, ::8] == cell).all()
