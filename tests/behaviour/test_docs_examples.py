"""The shell examples of README.md and docs/ run, with small images and networks and few epochs."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import QUICK, ROOT, noise_images, noise_pairs, option_arguments

from viceversa.cli import main, worker
from viceversa.config import extensions
from viceversa.study import runner

pytestmark = pytest.mark.usefixtures("registries")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STUDIES = ROOT / "docs" / "studies.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Why examples that contain a text are not run.
NOT_RUN = {
    "pip install": "needs a network",
    "features --get": "needs a network",
    "curl": "needs a network",
    "make demo": "takes minutes; test_demo.py runs the demos for fewer steps",
    "viceversa demo": "takes minutes; test_demo.py runs the demos for fewer steps",
    "plan cyclegan": "searches for half a minute; tests/plan do, too",
    "torchrun": "starts several processes; test_distributed.py does, too",
    "srun": "needs SLURM; test_split_translations.py sets its variables",
    "--to bioimageio": "tested in tests/export/test_bioimageio.py",
    "--int8": "needs nncf; tests/export/test_int8.py runs it where it is installed",
    "--to page": "downloads a package with npm; tests/export/test_page_in_browser.py uses a copy",
    "viceversa serve": "serves until it is stopped; tests/serve do, too",
    "--ray": "needs Ray; tests/inference/test_ray.py runs it where it is installed",
    "serve run": "needs Ray; tests/serve/test_ray_serve.py runs the application",
    "RAY_": "sets variables of Ray",
    "cd examples": "for Ray",
    "docker": "needs Docker; tests/serve/test_dockerfile.py runs its steps",
    "--speed.compile": "compiles for a minute; test_compile.py does, too",
}

# What makes an example small: texts that are replaced, and options that it does not contain.
REPLACED = {
    "--epochs 50": "--epochs 2",
    "--folds 5": "--folds 2",
    "--seeds 3": "--seeds 2",
    "286 572": "36 72",
    "256 512": "32 64",
    "256 1024 --data.crop_size 256": "32 128 --data.crop_size 32",
}
SMALL = {name: value for name, value in QUICK.items() if name != "generator.depth"}
OF_GENERATOR: dict[str, dict[str, object]] = {
    "unet": {"generator.depth": 3},
    "resnet": {"generator.blocks": 1},
    "dilated": {},
}
GENERATOR = {"pix2pix": "unet", "cyclegan": "resnet", "reggan": "resnet"}  # of a recipe
OUTPUTS = ("-o", ">", "--sheet", "--preview", "--run", "--train.run")


def examples(text: str) -> list[str]:
    """Return the command lines of the shell blocks of a page, without comments."""
    lines = "".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    found = (" ".join(re.sub(r"(^| )#.*", "", line).split()) for line in lines)
    return [line for line in found if line]


def all_examples() -> list[str]:
    return [example for page in PAGES for example in examples(page.read_text())]


def is_run(example: str) -> bool:
    return not any(text in example for text in NOT_RUN)


def small(example: str) -> list[str]:
    """Return the words of an example, which runs within seconds."""
    for long, short in REPLACED.items():
        example = example.replace(long, short)
    program, *words = shlex.split(example)
    assert program == "viceversa", f"{example} is neither run nor in NOT_RUN"
    if words[0] in ("train", "plan", "study"):
        given = dict(pairwise(words))
        generator = given.get("--generator.name") or GENERATOR[words[1]]
        options = (SMALL | OF_GENERATOR[generator]).items()
        words += option_arguments({name: v for name, v in options if f"--{name}" not in given})
    return words


def run(example: str) -> None:
    """Run an example in this process, and check that it writes the files that it names."""
    words = small(example)
    outputs = [Path(name).expanduser() for option, name in pairwise(words) if option in OUTPUTS]
    command = words[: words.index(">")] if ">" in words else words
    extensions.imported.clear()  # as in a new process
    with redirect_stdout(io.StringIO()) as stdout:
        main(command)
    if command != words:
        outputs[-1].parent.mkdir(parents=True, exist_ok=True)
        outputs[-1].write_text(stdout.getvalue())
    assert stdout.getvalue(), example
    assert [path for path in outputs if not path.exists()] == [], example


class RunInThisProcess:
    """Stand-in for the process of a run of a study, which would import torch again."""

    stdin, returncode = None, 0

    def __init__(self, command: Sequence[str], **streams: Any):
        worker.train_and_evaluate(json.loads(command[-1]))

    def poll(self) -> int:
        return self.returncode


def write_video(path: Path) -> None:
    """Write a video of noise."""
    import av

    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25, width=48, height=40, pix_fmt="yuv420p")
        for number in range(3):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current and home directory, with the files that the pages name."""
    pairs = {
        "my-pairs/train": 40,
        "my-pairs/test": 44,
        "other-pairs": 36,
        "streets": 48,
        "documents": 48,
    }
    for name, side in pairs.items():
        noise_pairs(tmp_path / name, 4, side)
    for i, name in enumerate(("my-images/A", "my-images/B", "photos", "folder")):
        noise_images(tmp_path / name, 4, prefix=name[-1], size=(40 + i, 48))
    for name in ("generated-images", "real-images"):
        noise_images(tmp_path / name, 4)
    noise_images(tmp_path / "files", size=(40, 80))
    (tmp_path / "files" / "0.png").rename(tmp_path / "photo.png")
    (tmp_path / "files" / "1.png").rename(tmp_path / "pair.png")
    (tmp_path / "scans").mkdir()
    with Image.open(tmp_path / "photo.png") as photo:
        photo.save(tmp_path / "scans" / "1.jpg")
        photo.save(tmp_path / "scan.tif")
    rng = np.random.default_rng(0)
    for name, dtype, channels in (("cells", np.uint16, 1), ("bands", np.float32, 6)):
        for side, width in (("A", channels), ("B", 1)):
            (tmp_path / name / side).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 4096, (40, 40, width)).astype(dtype)
                path = tmp_path / name / side / f"{number}.tif"
                layout = "contig" if width > 1 else None
                tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig=layout)
    for name in ("clip.mp4", "clips/1.mov", "talk.mkv"):
        write_video(tmp_path / name)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_examples_of_studies_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "subprocess", SimpleNamespace(Popen=RunInThisProcess, PIPE=None))
    run("viceversa train pix2pix my-pairs --train.run runs/mine")
    for example in filter(is_run, examples(STUDIES.read_text())):
        run(example)
    assert len(list(folder.glob("studies/gan/runs/*/*/*/evaluation/metrics.json"))) == 8
    assert (folder / "translated" / "photo.spread-view.png").exists()


@pytest.mark.slow
def test_the_other_examples_run(folder: Path) -> None:
    """One after another, since later ones use the runs of earlier ones."""
    of_studies = examples(STUDIES.read_text())
    for page in PAGES:
        shutil.rmtree("translated", ignore_errors=True)  # existing images are not overwritten
        Path("patches.png").unlink(missing_ok=True)
        for example in filter(is_run, examples(page.read_text())):
            if example not in of_studies:
                run(example)
    for run_folder in ("mine", "2", "cycle", "sharp", "dilated"):
        assert (folder / "runs" / run_folder / "report.html").exists()
    assert json.loads((folder / "report.json").read_text())


def test_every_example_is_found_and_none_is_left_out_without_need() -> None:
    found = all_examples()
    assert sum(map(is_run, found)) > 40
    assert [text for text in NOT_RUN if not any(text in example for example in found)] == []
    page = "```sh\n# a comment\nviceversa check a \\\n    --json > b  # another\n```\n```\nc\n```\n"
    assert examples(page) == ["viceversa check a --json > b"]


@pytest.mark.parametrize(
    ("example", "error"),
    [
        ("viceversa show pix2pix --no-such-option", SystemExit),
        ("viceversa show pix2pix > folder/", OSError),
        ("make all", AssertionError),
    ],
)
def test_an_example_that_does_not_work_is_detected(
    example: str, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(error):
        run(example)
