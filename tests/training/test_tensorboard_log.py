"""TensorBoard reads the event files; errors in writing them never stop a run."""

from __future__ import annotations

import resource
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viceversa.errors import UserError
from viceversa.training.tensorboard_log import TensorBoardLog

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def loss(images: int, values: dict[str, float]) -> dict[str, Any]:
    """Return a log line."""
    named = {f"loss.{name}": value for name, value in values.items()}
    return {"kind": "train", "images": images, "lr": 0.5, "images_per_s": None, **named}


def test_tensorboard_reads_log_lines_and_images(tmp_path: Path) -> None:
    board = TensorBoardLog(tmp_path / "board")
    for images in (200, 400):
        losses = {"g_l1": images / 100, "d_real": 0.5, "d_fake": float("nan")}
        board.line(loss(images, losses) | {"grad_norm.generator": 7.0})
    validation = {"val.l1": 0.25, "val.fid": None, "val_ema.l1": 0.125, "n": 3}
    board.line({"kind": "validation", "images": 400, "lr": 0.5, **validation})
    board.line({"kind": "diagnostic", "images": 400, "diagnostic.name": "collapse"})
    pixels = np.zeros((5, 7, 3), dtype=np.uint8)
    pixels[2, 3] = 255, 0, 128
    board.image("samples", 400, pixels)
    board.close()
    found = read(tmp_path / "board")
    assert sorted(found.Tags()["scalars"]) == [
        "gradients/generator",
        "losses/d_fake",
        "losses/d_real",
        "losses/g_l1",
        "training/lr",
        "validation/ema/l1",
        "validation/l1",
    ]
    assert scalars(tmp_path / "board", "losses/g_l1") == [(200, 2.0), (400, 4.0)]
    assert scalars(tmp_path / "board", "gradients/generator") == [(200, 7.0), (400, 7.0)]
    assert scalars(tmp_path / "board", "validation/l1") == [(400, 0.25)]
    assert scalars(tmp_path / "board", "validation/ema/l1") == [(400, 0.125)]
    (image,) = found.Images("samples")
    assert (image.step, image.width, image.height) == (400, 7, 5)
    assert np.array_equal(decoded(image.encoded_image_string), pixels)


def decoded(data: bytes) -> Any:
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


def test_values_can_be_read_before_the_file_is_closed(tmp_path: Path) -> None:
    board = TensorBoardLog(tmp_path)
    board.line(loss(200, {"g_l1": 3.0}))
    assert scalars(tmp_path, "losses/g_l1") == [(200, 3.0)]
    board.close()


@pytest.mark.parametrize(("done", "remaining"), [(400, [200, 400]), (600, [200, 400, 600])])
def test_a_resumed_run_removes_later_values(
    done: int, remaining: list[int], tmp_path: Path
) -> None:
    board = TensorBoardLog(tmp_path)
    for images in (200, 400, 600):
        board.line(loss(images, {"g_l1": 1.0}))
    board.close()
    board = TensorBoardLog(tmp_path, done)
    board.line(loss(800, {"g_l1": 2.0}))
    board.close()
    assert scalars(tmp_path, "losses/g_l1") == [*((n, 1.0) for n in remaining), (800, 2.0)]


def test_without_tensorboard_the_error_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'viceversa\[tensorboard\]'") as caught:
        TensorBoardLog(tmp_path)
    assert caught.value.option == "train.loggers"


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Limit the size of files to `limit` bytes, so that writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def disk_full(board: TensorBoardLog) -> None:
    with small_files(100):
        board.line(loss(400, {f"g_{i}": 1.0 for i in range(50)}))


def folder_removed(board: TensorBoardLog) -> None:
    shutil.rmtree(board.folder)


# A thread of TensorBoard writes the files. A traceback in it would be a warning, so an error here.
@pytest.mark.parametrize("fault", [disk_full, folder_removed])
def test_a_later_failure_is_reported_once_and_raises_nothing(
    fault: Callable[[TensorBoardLog], None], tmp_path: Path
) -> None:
    messages: list[str] = []
    before = threading.enumerate()
    board = TensorBoardLog(tmp_path / "board", say=messages.append)
    (thread,) = (one for one in threading.enumerate() if one not in before)
    board.line(loss(200, {"g_l1": 1.0}))
    assert messages == []
    fault(board)
    for images in range(600, 4000, 200):
        board.line(loss(images, {"g_l1": 1.0}))
        board.image("samples", images, np.zeros((4, 4, 3), dtype=np.uint8))
    board.close()
    thread.join(60)
    assert len(messages) == 1 and f" {tmp_path / 'board'} " in messages[0]
    if fault is disk_full:  # the complete records can still be read
        assert scalars(tmp_path / "board", "losses/g_l1") == [(200, 1.0)]


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "board").write_text("a file")
    messages: list[str] = []
    board = TensorBoardLog(tmp_path / "board", say=messages.append)
    board.line(loss(200, {"g_l1": 1.0}))
    board.close()
    assert len(messages) == 1
