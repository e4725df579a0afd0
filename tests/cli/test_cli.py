"""The command line: output and error messages of its commands."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import command_error, command_streams, noise_pairs, train_arguments

from viceversa.config.recipes import merge, read_recipe, recipes
from viceversa.config.run import make_method, resolve

SMALL = {
    "unet": {"width": 4},
    "gdl-unet": {"width": 4},
    "resnet": {"width": 4, "blocks": 1},
}
TWO_CLASSES = "--data.a.kind labels --data.a.classes #000000,#ffffff"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 2, 40)


def fingerprint(folder: Path) -> str:
    """Return a digest of the names, modification times and contents of a folder."""
    entries = [
        (
            str(path.relative_to(folder)),
            path.stat().st_mtime_ns,
            path.read_bytes().hex() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    ]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def quiet_output(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must write nothing to standard error; return its standard output."""
    output, errors = command_streams(capsys, *arguments)
    assert errors == ""
    return output


def test_show_lists_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    lines = quiet_output(capsys, "show").splitlines()
    assert [line.split()[0] for line in lines] == list(recipes())
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_builds_a_method(recipe: str) -> None:
    full = resolve(read_recipe(recipe))
    small = {"generator": SMALL[full.name("generator")], "discriminator": {"width": 4}}
    method = make_method(resolve(merge(read_recipe(recipe), small)))
    assert set(method.players()) == {"generator", "discriminator"}


@pytest.mark.slow
def test_a_run_from_the_command_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fingerprint(data)
    run = tmp_path / "run"
    output = quiet_output(capsys, *train_arguments(data, run))
    assert f"viceversa translate {run}/ab.safetensors" in output
    assert "pairs by name in data/A and data/B" in output
    assert "training is complete in" in quiet_output(capsys, *train_arguments(data, run))
    model = run / "ab.safetensors"
    header = json.loads(quiet_output(capsys, "show", model, "--json"))
    assert header["generator"]["width"] == 4 and header["images_processed"] == 2
    out = tmp_path / "out"
    arguments = ("translate", model, data / "A", "-o", out, "--device", "cpu")
    assert "2 of 2 images translated" in quiet_output(capsys, *arguments)
    assert {path.name for path in out.glob("[!.]*")} == {"00.png", "01.png"}
    command_error(capsys, "translate", model, data / "A", "-o", data / "A")
    missing, discriminator = run / "no.safetensors", run / "d_b.safetensors"
    message = command_error(capsys, "translate", missing, data / "A", "-o", out)
    assert f"there is no model {missing}" in message
    command_error(capsys, "translate", discriminator, data / "A", "-o", out)
    assert fingerprint(data) == before
    (data / "A" / "00.png").touch()
    assert fingerprint(data) != before  # negative control


def test_a_toml_file_is_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "pix2pix"\n[train]\nepochs = 7\n')
    output = quiet_output(capsys, "show", path)
    assert "epochs = 7\n" in output and 'name = "pix2pix"\n' in output
    path.write_text("[trian]\nepochs = 7\n")
    message = command_error(capsys, "show", path)
    assert "mine.toml" in message and "did you mean train?" in message
    path.write_text("epochs = = 7\n")
    assert "mine.toml is not valid TOML" in command_error(capsys, "show", path)
    path.write_bytes(b"\xff\xfe\x00")
    assert "mine.toml is not a recipe" in command_error(capsys, "train", path)


ERRORS = {
    "trian": ["trian", "train"],
    "show pix2pxi": ["'pix2pxi'", "did you mean pix2pix"],
    "train cyclgan x": ["'cyclgan'", "did you mean cyclegan"],
    "train pix2pix x --train.epoch 3": ["--train.epoch", "--train.epochs"],
    "train pix2pix x --generator.blocks 3": ["--generator.blocks"],
    "train pix2pix x --train.epochs many": ["--train.epochs", "many"],
    "train pix2pix x --train.epochs 0": ["train.epochs", "at least 1"],
    "train pix2pix x --generator.norm bacth": ["--generator.norm", "bacth"],
    "train pix2pix x --generator.name unte": ["generator.name", "unte"],
    "train pix2pix x --data.a.channels 0": ["channels must be at least 1"],
    "train pix2pix x --data.b.range minmux": ["minmux"],
    "check nowhere --data.b.range 0,5,9": ["0,5,9"],
    "train pix2pix x --data.b.range -1000": ["'-1000'"],
    f"train pix2pix x {TWO_CLASSES} --data.a.tolerance -1": ["tolerance must be at least 0"],
    f"train pix2pix x {TWO_CLASSES} --data.a.class_names sky": ["data.a", "1 names for 2 classes"],
    "check": ["name the dataset"],
    "check nowhere": ["there is no data folder or file nowhere"],
    "check nowhere --recipe pix2pxi": ["did you mean pix2pix"],
    "check nowhere --data.a.knd labels": ["--data.a.knd", "--data.a.kind"],
    "train pix2pix": ["there is no data folder to train on", "after the recipe"],
    "train pix2pix nowhere": ["there is no data folder or file nowhere"],
    "translate no.safetensors x.png -o out": ["there is no image x.png"],
    "translate no.safetensors -o out": ["name the images"],
    "translate no.safetensors x.png": ["--out"],
    "translate m x.png -o o --policy papr": ["--policy", "papr"],
    "translate m x.png -o o --batch_size 0": ["--batch_size"],
    "show no.safetensors": ["no model no.safetensors"],
    "demo pix2pxi": ["pix2pxi"],
    "plan": ["recipe"],
    "plan pix2pxi": ["did you mean pix2pix"],
    "plan pix2pix nowhere": ["there is no data folder or file nowhere"],
    "plan pix2pix --steps -1": ["--steps", "-1"],
    "plan pix2pix --steps many": ["--steps", "many"],
    "plan pix2pix --step 2": ["--step"],
    "plan pix2pix --data.crop_size 250": ["250x250", "256x256 would fit"],
    "plan pix2pix --train.device abacus": ["abacus"],
    "plan pix2pix --train.precision tf32 --train.device cpu": ["tf32"],
    "plan pix2pix --train.lr_per_network.judge 1": ["judge", "discriminator"],
}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "texts"), ERRORS.items(), ids=ERRORS)
def test_the_message_names_the_error(
    command: str,
    texts: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    message = command_error(capsys, *command.split())
    assert [text for text in texts if text not in message] == [], message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text, and long enough for a header",
        b"\x02" + b"\0" * 7 + b"{}",
        b"\xff" * 40,
        b"\x04" + b"\0" * 7 + b"null",
        b"\x18" + b"\0" * 7 + b'{"__metadata__":{"a":1}}',
        b"\x08" + b"\0" * 7 + b"\xff" * 8,
    ],
)
def test_a_file_that_is_not_a_model_is_refused(
    content: bytes, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    before = fingerprint(data)
    for arguments in (
        ["show", path],
        ["translate", path, data / "A", "-o", tmp_path / "out"],
        train_arguments(data, tmp_path / "run", "--train.init", str(path)),
    ):
        message = command_error(capsys, *arguments)
        assert "bad.safetensors is not a model of viceversa" in message
    assert not (tmp_path / "out").exists() and fingerprint(data) == before


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.5, 0.99])
def test_truncated_models_and_checkpoints_are_refused(
    fraction: float, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    quiet_output(capsys, *train_arguments(data, run))
    model = run / "ab.safetensors"
    for path in (model, run / "checkpoints/0000000002.safetensors"):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * fraction)])
    message = command_error(capsys, "translate", model, data / "A", "-o", tmp_path / "out")
    assert "ab.safetensors is damaged" in message
    message = command_error(capsys, *train_arguments(data, run))
    assert "every checkpoint" in message and "is damaged" in message


@pytest.mark.slow
def test_exit_code_and_message_of_a_process(tmp_path: Path) -> None:
    code = "from viceversa.cli import main; main()"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    done = run("show", "pix2pxi")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("viceversa: there is no recipe") and done.stderr.count("\n") == 1
    done = run("--version")
    assert done.returncode == 0 and done.stdout.strip() == "0.1.0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "none")],
)
def test_thread_spinning_is_limited_unless_the_environment_sets_it(
    environment: dict[str, str], expected: str
) -> None:
    code = (
        "import os; from viceversa.cli import main; main(['show', 'pix2pix']); "
        "print(os.environ.get('GOMP_SPINCOUNT', 'none'))"
    )
    tested = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    others = {name: value for name, value in os.environ.items() if name not in tested}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=others | environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == expected
