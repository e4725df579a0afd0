"""TensorBoard reads the event files; errors in writing them never stop a run."""

from __future__ import annotations

import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from viceversa.errors import UserError
from viceversa.training.loggers import CODE, refuse_missing
from viceversa.training.loggers.background import BackgroundLogger
from viceversa.training.loggers.base import About

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")


def opened(run: Path, done: int = 0) -> Any:
    """Return the logger of a run folder, in this process."""
    from viceversa.training.loggers.tensorboard_logger import TensorBoardLogger

    return TensorBoardLogger(About(str(run), {}, done))


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def loss(images: int, values: dict[str, float]) -> dict[str, Any]:
    """Return a log line."""
    named = {f"loss.{name}": value for name, value in values.items()}
    common = {"kind": "train", "images": images, "time": 1.75e9, "lr": 0.5, "images_per_s": None}
    return {**common, **named}


def test_tensorboard_reads_log_lines_and_images(tmp_path: Path) -> None:
    board = opened(tmp_path)
    for images in (200, 400):
        losses = {"g_l1": images / 100, "d_real": 0.5, "d_fake": float("nan")}
        board.log(loss(images, losses) | {"grad_norm.generator": 7.0})
    validation = {"val.l1": 0.25, "val.fid": None, "val_ema.l1": 0.125, "n": 3}
    board.log({"kind": "validation", "time": 1.75e9, "images": 400, "lr": 0.5, **validation})
    board.log({"kind": "diagnostic", "time": 1.75e9, "images": 400, "diagnostic.name": "collapse"})
    pixels = np.zeros((5, 7, 3), dtype=np.uint8)
    pixels[2, 3] = 255, 0, 128
    Image.fromarray(pixels).save(tmp_path / "grid.png")
    board.image("samples", 400, tmp_path / "grid.png")
    board.close()
    found = read(tmp_path / "tensorboard")
    assert sorted(found.Tags()["scalars"]) == [
        "gradients/generator",
        "losses/d_fake",
        "losses/d_real",
        "losses/g_l1",
        "training/lr",
        "validation/ema/l1",
        "validation/l1",
    ]
    assert scalars(tmp_path / "tensorboard", "losses/g_l1") == [(200, 2.0), (400, 4.0)]
    assert scalars(tmp_path / "tensorboard", "gradients/generator") == [(200, 7.0), (400, 7.0)]
    assert scalars(tmp_path / "tensorboard", "validation/l1") == [(400, 0.25)]
    assert scalars(tmp_path / "tensorboard", "validation/ema/l1") == [(400, 0.125)]
    (image,) = found.Images("samples")
    assert (image.step, image.width, image.height) == (400, 7, 5)
    assert np.array_equal(decoded(image.encoded_image_string), pixels)


def decoded(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_values_can_be_read_before_the_file_is_closed(tmp_path: Path) -> None:
    board = opened(tmp_path)
    board.log(loss(200, {"g_l1": 3.0}))
    assert scalars(tmp_path / "tensorboard", "losses/g_l1") == [(200, 3.0)]
    board.close()


@pytest.mark.parametrize(("done", "remaining"), [(400, [200, 400]), (600, [200, 400, 600])])
def test_a_resumed_run_removes_later_values(
    done: int, remaining: list[int], tmp_path: Path
) -> None:
    board = opened(tmp_path)
    for images in (200, 400, 600):
        board.log(loss(images, {"g_l1": 1.0}))
    board.close()
    board = opened(tmp_path, done)
    board.log(loss(800, {"g_l1": 2.0}))
    board.close()
    assert scalars(tmp_path / "tensorboard", "losses/g_l1") == [
        *((n, 1.0) for n in remaining),
        (800, 2.0),
    ]


def test_without_tensorboard_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'viceversa\[tensorboard\]'") as caught:
        refuse_missing(["tensorboard"])
    assert caught.value.option == "train.loggers"


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)); "


def in_process(run: Path, code: str, report: Callable[[str], None]) -> BackgroundLogger:
    """Return the logger of a run folder, in another process."""
    command = [sys.executable, "-c", code, json.dumps(sys.path), "tensorboard"]
    about = {"folder": str(run), "settings": {}, "done": 0}
    return BackgroundLogger("TensorBoard", command, about, report)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_full_disk_is_reported_once(tmp_path: Path) -> None:
    """Files that are too large fail like a full disk."""
    messages: list[str] = []
    board = in_process(tmp_path, LIMITED + CODE, messages.append)
    board.log(loss(200, {"g_l1": 1.0}))
    board.log(loss(400, {f"g_{i}": 1.0 for i in range(50)}))
    wait_for(lambda: messages or board.log(loss(600, {"g_l1": 1.0})))
    for images in range(800, 4000, 200):
        board.log(loss(images, {"g_l1": 1.0}))
    board.finish()
    board.close()
    (message,) = messages
    assert message.startswith("TensorBoard failed (OSError: ")
    assert message.endswith("; training continues without it")
    # The complete records can still be read.
    assert scalars(tmp_path / "tensorboard", "losses/g_l1") == [(200, 1.0)]


@pytest.mark.slow
def test_a_removed_folder_is_reported_once(tmp_path: Path) -> None:
    messages: list[str] = []
    board = in_process(tmp_path, CODE, messages.append)
    wait_for(lambda: list(tmp_path.glob("tensorboard/*")))
    shutil.rmtree(tmp_path / "tensorboard")
    wait_for(lambda: messages or board.log(loss(600, {"g_l1": 1.0})))
    board.finish()
    board.close()
    assert len(messages) == 1 and str(tmp_path / "tensorboard") in messages[0]


@pytest.mark.slow
def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file")
    messages: list[str] = []
    board = in_process(tmp_path, CODE, messages.append)
    board.log(loss(200, {"g_l1": 1.0}))
    board.finish()
    board.close()
    assert len(messages) == 1 and str(tmp_path / "tensorboard") in messages[0]


@pytest.mark.slow
def test_without_a_fault_nothing_is_reported(tmp_path: Path) -> None:
    """The control."""
    messages: list[str] = []
    board = in_process(tmp_path, CODE, messages.append)
    board.log(loss(200, {"g_l1": 1.0}))
    board.finish()
    board.close()
    assert messages == [] and scalars(tmp_path / "tensorboard", "losses/g_l1") == [(200, 1.0)]
