"""The command line: what it shows, and how it tells a mistake."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import noise_pairs

from viceversa.cli import main
from viceversa.config.recipes import merge, read_recipe, recipes
from viceversa.config.run import make_method, resolve

SMALL = {
    "unet": {"width": 4},
    "gdl-unet": {"width": 4},
    "resnet": {"width": 4, "blocks": 1},
}
QUICK = [
    "--generator.width", "4", "--generator.depth", "3", "--discriminator.width", "4",
    "--discriminator.layers", "2", "--data.load_size", "36", "--data.crop_size", "32",
    "--train.epochs", "1", "--train.device", "cpu",
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 2, 40)


def fingerprint(folder: Path) -> str:
    """A hash of every name, content and time under a folder."""
    entries = [
        (str(path.relative_to(folder)), path.stat().st_mtime_ns,
         hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in sorted(folder.rglob("*"))
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one line that a mistaken command leaves; it ends with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert said.startswith("viceversa: ") and said.count("\n") == 1 and said.endswith("\n")
    assert "Traceback" not in said
    return said


def shown(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    capsys.readouterr()
    main([str(word) for word in words])
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def test_show_lists_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "show").splitlines()
    assert [line.split()[0] for line in lines] == list(recipes())
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize("recipe", recipes())
def test_every_recipe_builds(recipe: str) -> None:
    full = resolve(read_recipe(recipe))
    small = {"generator": SMALL[full.name("generator")], "discriminator": {"width": 4}}
    method = make_method(resolve(merge(read_recipe(recipe), small)))
    assert set(method.players()) == {"generator", "discriminator"}


def test_a_run_from_the_command_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fingerprint(data)
    run = tmp_path / "run"
    said = shown(capsys, "train", "pix2pix", data, *QUICK, "--train.run", run)
    assert f"viceversa translate {run}/ab.safetensors" in said
    assert "pairs by name in data/A and data/B" in said
    again = shown(capsys, "train", "pix2pix", data, *QUICK, "--train.run", run)
    assert "training is complete in" in again
    header = json.loads(shown(capsys, "show", run / "ab.safetensors", "--json"))
    assert header["generator"]["width"] == 4 and header["images_processed"] == 2
    out = tmp_path / "out"
    words = ("translate", run / "ab.safetensors", data / "A", "-o", out, "--device", "cpu")
    assert "2 of 2 images translated" in shown(capsys, *words)
    assert {path.name for path in out.glob("[!.]*")} == {"00.png", "01.png"}
    refused(capsys, "translate", run / "ab.safetensors", data / "A", "-o", data / "A")
    said = refused(capsys, "translate", run / "no.safetensors", data / "A", "-o", out)
    assert f"there is no model {run}/no.safetensors" in said
    refused(capsys, "translate", run / "d_b.safetensors", data / "A", "-o", out)
    assert fingerprint(data) == before
    (data / "A" / "00.png").touch()
    assert fingerprint(data) != before  # the control: it would have been seen


def test_a_file_of_toml_is_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "pix2pix"\n[train]\nepochs = 7\n')
    said = shown(capsys, "show", path)
    assert "epochs = 7\n" in said and 'name = "pix2pix"\n' in said
    path.write_text("[trian]\nepochs = 7\n")
    said = refused(capsys, "show", path)
    assert "mine.toml" in said and "did you mean train?" in said
    path.write_text("epochs = = 7\n")
    assert "mine.toml is not valid TOML" in refused(capsys, "show", path)
    path.write_bytes(b"\xff\xfe\x00")
    assert "mine.toml is not a recipe" in refused(capsys, "train", path)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["trian"], ["trian", "train"]),
        (["show", "pix2pxi"], ["'pix2pxi'", "did you mean pix2pix"]),
        (["train", "cyclgan", "x"], ["'cyclgan'", "did you mean cyclegan"]),
        (["train", "pix2pix", "x", "--train.epoch", "3"], ["--train.epoch", "--train.epochs"]),
        (["train", "pix2pix", "x", "--generator.blocks", "3"], ["--generator.blocks"]),
        (["train", "pix2pix", "x", "--train.epochs", "many"], ["--train.epochs", "many"]),
        (["train", "pix2pix", "x", "--train.epochs", "0"], ["train.epochs", "at least 1"]),
        (["train", "pix2pix", "x", "--generator.norm", "bacth"], ["--generator.norm", "bacth"]),
        (["train", "pix2pix", "x", "--generator.name", "unte"], ["generator.name", "unte"]),
        (["train", "pix2pix", "x", "--data.a.channels", "0"], ["channels must be at least 1"]),
        (["train", "pix2pix", "x", "--data.b.range", "minmux"], ["minmux"]),
        (["check", "nowhere", "--data.b.range", "0,5,9"], ["0,5,9"]),
        (["train", "pix2pix", "x", "--data.b.range", "-1000"], ["'-1000'"]),
        (
            [
                "train",
                "pix2pix",
                "x",
                "--data.a.kind",
                "labels",
                "--data.a.classes",
                "#000000,#ffffff",
                "--data.a.tolerance",
                "-1",
            ],
            ["tolerance must be at least 0"],
        ),
        (["check"], ["name the dataset"]),
        (["check", "nowhere"], ["there is no data folder or file nowhere"]),
        (["check", "nowhere", "--recipe", "pix2pxi"], ["did you mean pix2pix"]),
        (["check", "nowhere", "--data.a.knd", "labels"], ["--data.a.knd", "--data.a.kind"]),
        (["train", "pix2pix"], ["no data folder"]),
        (["train", "pix2pix", "nowhere"], ["there is no data folder or file nowhere"]),
        (["translate", "no.safetensors", "x.png", "-o", "out"], ["there is no image x.png"]),
        (["translate", "no.safetensors", "-o", "out"], ["name the images"]),
        (["translate", "no.safetensors", "x.png"], ["--out"]),
        (["translate", "m", "x.png", "-o", "o", "--policy", "papr"], ["--policy", "papr"]),
        (["translate", "m", "x.png", "-o", "o", "--batch_size", "0"], ["--batch_size"]),
        (["show", "no.safetensors"], ["no model no.safetensors"]),
        (["demo", "pix2pxi"], ["pix2pxi"]),
        (["plan"], ["recipe"]),
        (["plan", "pix2pxi"], ["did you mean pix2pix"]),
        (["plan", "pix2pix", "nowhere"], ["there is no data folder or file nowhere"]),
        (["plan", "pix2pix", "--steps", "-1"], ["--steps", "-1"]),
        (["plan", "pix2pix", "--steps", "many"], ["--steps", "many"]),
        (["plan", "pix2pix", "--step", "2"], ["--step"]),
        (["plan", "pix2pix", "--data.crop_size", "250"], ["250x250", "256x256 would fit"]),
        (["plan", "pix2pix", "--train.device", "abacus"], ["abacus"]),
        (["plan", "pix2pix", "--train.precision", "tf32", "--train.device", "cpu"], ["tf32"]),
        (["plan", "pix2pix", "--train.lr_per_network.judge", "1"], ["judge", "discriminator"]),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_that_names_it(
    words: list[str], named: list[str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, *words)
    assert [name for name in named if name not in said] == [], said
    assert list(tmp_path.iterdir()) == []


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
def test_a_file_that_is_no_model_is_named(
    content: bytes, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    before = fingerprint(data)
    for words in (["show", path], ["translate", path, data / "A", "-o", tmp_path / "out"],
                  ["train", "pix2pix", data, *QUICK, "--train.run", tmp_path / "run",
                   "--train.init", path]):  # fmt: skip
        assert "bad.safetensors is not a model of viceversa" in refused(capsys, *words)
    assert not (tmp_path / "out").exists() and fingerprint(data) == before


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_cut_model_is_damaged(
    share: float, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shown(capsys, "train", "pix2pix", data, *QUICK, "--train.run", run)
    for name in ("ab.safetensors", "checkpoints/0000000002.safetensors"):
        whole = (run / name).read_bytes()
        (run / name).write_bytes(whole[: int(len(whole) * share)])
    said = refused(capsys, "translate", run / "ab.safetensors", data / "A", "-o", tmp_path / "out")
    assert "ab.safetensors is damaged" in said
    said = refused(capsys, "train", "pix2pix", data, *QUICK, "--train.run", run)
    assert "every checkpoint" in said and "is damaged" in said


def test_the_command_itself_ends_with_2_and_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", "from viceversa.cli import main; main()"]
    done = subprocess.run(
        [*command, "show", "pix2pxi"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("viceversa: there is no recipe") and done.stderr.count("\n") == 1
    done = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0 and done.stdout.strip() == "0.1.0"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "none")],
)
def test_threads_that_wait_spin_briefly_unless_the_user_says_else(
    given: dict[str, str], expected: str, tmp_path: Path
) -> None:
    code = (
        "import os; from viceversa.cli import main; main(['show', 'pix2pix']); "
        "print(os.environ.get('GOMP_SPINCOUNT', 'none'))"
    )
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | given, capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == expected
