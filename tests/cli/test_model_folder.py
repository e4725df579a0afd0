"""`viceversa export --to folder`: a model and its card, without paths of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import command_error, command_output, digest

from viceversa import Translator
from viceversa.checkpoint import read_digest, read_header, read_weights, save_network
from viceversa.files import write_json

FIXTURE = Path(__file__).parents[1] / "fixtures/format_1/runs/cyclegan/ab.safetensors"
PLACES = {"data": "/home/ann/horses/", "run": "C:\\runs\\mine"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of a run with absolute paths."""
    header = read_header(FIXTURE)
    header["trained"]["data"]["path"] = PLACES["data"]
    header["trained"]["train"]["run"] = PLACES["run"]
    path = tmp_path / "run" / "ab.safetensors"
    save_network(path, read_weights(FIXTURE), header)
    return path


@pytest.mark.slow
def test_the_folder_has_the_model_without_paths_and_its_card(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        out = command_output(capsys, "export", model, "--to", "folder", "-o", tmp_path / name)
        assert f"{tmp_path / name}: the model and its card" in out
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert one == two and one.keys() == {"model.safetensors", "README.md"}
    copy = tmp_path / "one" / "model.safetensors"
    trained = read_header(copy)["trained"]
    assert (trained["data"]["path"], trained["train"]["run"]) == ("horses", "mine")
    own = read_header(model)["trained"]
    own["data"]["path"], own["train"]["run"] = "horses", "mine"
    assert trained == own  # nothing else has changed
    text = one["README.md"].decode()
    for line in (
        "pipeline_tag: image-to-image",
        "# cyclegan, A to B",
        "| data | horses; resize_and_crop, load_size 18, crop_size 16 |",
        "| source | RGB image, uint8, 0 to 255 map to -1 to 1 |",
        "viceversa translate model.safetensors photos -o translated",
    ):
        assert line in text
    for place in ("/home", "C:", str(tmp_path)):
        assert place not in text and place not in json.dumps(read_header(copy))
    assert "/home" in json.dumps(read_header(model))  # the control
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    assert (Translator.load(copy)(image) == Translator.load(model)(image)).all()


@pytest.mark.parametrize("own", [True, False])
def test_the_card_has_metrics_of_this_file_alone(
    own: bool, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mean = {"mean": 0.25, "low": 0.125, "high": 0.5}
    found = {
        "protocol": {
            "models": {"ab": {"sha256": read_digest(model) if own else "0" * 64}},
            "data": "/home/ann/zebras",
            "split": "test",
            "size": "resized to 16x16",
        },
        "directions": {"ab": {"translations": 7, "means": {"l1": mean}, "sets": {"fid": 12.5}}},
    }
    write_json(model.parent / "evaluation" / "metrics.json", found)
    command_output(capsys, "export", model.parent, "--to", "folder", "-o", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    lines = [
        "By `viceversa evaluate`, on 7 images of zebras, test; resized to 16x16.",
        "| l1 | 0.25 (95 % interval: 0.125 to 0.5) |",
        "| fid | 12.5 |",
    ]
    assert [line in text for line in lines] == [own] * 3
    assert "/home/ann" not in text


def test_existing_files_and_other_options_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["export", model, "--to", "folder", "-o", out]
    assert "leave them out" in command_error(capsys, *words, "--flips")
    assert not out.exists()
    command_output(capsys, *words)
    before = digest(out)
    assert "model.safetensors exists; add --overwrite" in command_error(capsys, *words)
    command_output(capsys, *words, "--overwrite")
    assert digest(out) == before
    (tmp_path / "file").write_text("")
    words[-1] = tmp_path / "file"
    assert "is a file; name a folder" in command_error(capsys, *words)
