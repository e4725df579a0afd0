"""A checkpoint that cannot be read at the moment is not damaged: an error, and no file changes."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import arguments, write_pairs
from support import fork

from viceversa.checkpoint import Checkpoints
from viceversa.cli import main
from viceversa.errors import UserError

OLD, NEW = "0000000010.safetensors", "0000000020.safetensors"
NOBODY = 65534


def state(images: int, numbers: int = 1000) -> dict[str, Any]:
    return {"images": images, "numbers": torch.full((numbers,), float(images))}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "checkpoints", 3)
    checkpoints.save(state(10), 10)
    checkpoints.save(state(20), 20)
    return checkpoints


def contents(folder: Path) -> dict[str, Any]:
    """Return the contents of a folder: inodes, which renaming keeps, and bytes."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_ino, path.is_file() and path.read_bytes())
        for path in folder.rglob("*")
    }


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_lost_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/not/mounted/file.safetensors")


def to_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (to_folder, "is a folder"),
        (to_lost_link, "there is no model"),
        (to_loop, "Too many levels of symbolic links"),
        (to_fifo, "is not a regular file"),
    ],
)
def test_a_checkpoint_that_is_not_a_regular_file_is_refused(
    checkpoints: Checkpoints, change: Callable[[Path], None], reason: str
) -> None:
    change(checkpoints.folder / NEW)
    before = os.listdir(checkpoints.folder)
    with pytest.raises(UserError, match=reason) as caught:
        checkpoints.latest(lambda text: None)
    assert caught.value.path == checkpoints.folder / NEW
    assert sorted(os.listdir(checkpoints.folder)) == sorted(before)


@pytest.mark.parametrize("at", ["open", "read"])
@pytest.mark.parametrize(
    "number",
    [
        errno.EACCES,
        errno.EIO,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENODEV,
    ],
)
def test_system_errors_are_reported(
    checkpoints: Checkpoints, number: int, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(checkpoints.folder)
    real_open = Path.open

    class Failing:
        """File object that raises when the data after the header are read."""

        def __init__(self, file: Any):
            self.file = file

        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def readinto(self, part: Any) -> int:
            raise OSError(number, os.strerror(number))

    def failing_open(self: Path, *args: Any, **more: Any) -> Any:
        if self.name != NEW:
            return real_open(self, *args, **more)
        if at == "open":
            raise OSError(number, os.strerror(number))
        return Failing(real_open(self, *args, **more))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", failing_open)
        with pytest.raises(UserError, match=os.strerror(number)) as caught:
            checkpoints.latest(lambda text: None)
    assert caught.value.path == checkpoints.folder / NEW
    assert contents(checkpoints.folder) == before
    found = checkpoints.latest(lambda text: None)  # when it can be read again
    assert found is not None and found[0]["images"] == 20


def latest_in_child(prepare: Callable[[], object], checkpoints: Checkpoints) -> str:
    """Return the result or error of `latest` in a child process after `prepare`."""

    def work(pipe: int) -> None:
        try:
            prepare()
            found = checkpoints.latest(lambda text: None)
            result = "none" if found is None else str(found[0]["images"])
        except UserError as error:
            result = str(error)
        os.write(pipe, result.encode())

    child = fork(work)
    child.wait(20)
    return child.output().decode()


def test_too_many_open_files(checkpoints: Checkpoints) -> None:
    def exhaust() -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0) + 1, hard))

    result = latest_in_child(exhaust, checkpoints)
    assert os.strerror(errno.EMFILE) in result and str(checkpoints.folder) in result
    assert latest_in_child(lambda: None, checkpoints) == "20"  # the control


@pytest.mark.slow
def test_too_little_memory(checkpoints: Checkpoints) -> None:
    checkpoints.save(state(30, 50_000_000), 30)

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**27, -1))

    assert "30.safetensors is larger than the memory that is free" in latest_in_child(
        limit, checkpoints
    )
    assert len(checkpoints.files()) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("owned", ["file", "folder"])
def test_files_of_another_user(owned: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # the folders of pytest are private
        Path(folder).chmod(0o755)
        checkpoints = Checkpoints(Path(folder, "checkpoints"), 3)
        checkpoints.save(state(20), 20)
        assert latest_in_child(lambda: os.setuid(NOBODY), checkpoints) == "20"  # the control
        path = checkpoints.folder / NEW if owned == "file" else checkpoints.folder
        path.chmod(0o700)
        result = latest_in_child(lambda: os.setuid(NOBODY), checkpoints)
        assert "Permission denied" in result and str(path) in result


def test_missing_and_invalid_checkpoint_folders(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", 3)
    assert checkpoints.latest(lambda text: None) is None
    checkpoints.folder.symlink_to("/not/mounted")
    with pytest.raises(UserError, match="is a link to a folder that is not there"):
        checkpoints.latest(lambda text: None)
    checkpoints.folder.unlink()
    checkpoints.folder.write_text("")
    with pytest.raises(UserError, match="Not a directory"):
        checkpoints.latest(lambda text: None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"damaged",
        b"\x00" * 5000,
        pytest.param(None, id="cut"),
        pytest.param(7, id="flipped"),
    ],
)
def test_a_damaged_checkpoint_is_kept_under_another_name(
    checkpoints: Checkpoints, content: bytes | int | None
) -> None:
    path = checkpoints.folder / NEW
    intact = path.read_bytes()
    if content is None:
        content = intact[:-10]
    elif isinstance(content, int):
        content = intact[:-content] + bytes([intact[-content] ^ 1]) + intact[1 - content :]
    for copy in (f"{NEW}.damaged", f"{NEW}.damaged-2"):
        path.write_bytes(content)
        notes: list[str] = []
        found = checkpoints.latest(notes.append)
        assert found is not None and found[0]["images"] == 10
        assert len(notes) == 1 and copy in notes[0] and str(path) in notes[0]
        assert (checkpoints.folder / copy).read_bytes() == content
        assert [one.name for one in checkpoints.files()] == [OLD]
    checkpoints.save(state(20), 20)  # the resumed run reaches it again
    assert (checkpoints.folder / f"{NEW}.damaged").read_bytes() == content


def test_if_all_checkpoints_are_damaged_no_file_changes(checkpoints: Checkpoints) -> None:
    for path in checkpoints.files():
        path.write_bytes(b"damaged")
    before = contents(checkpoints.folder)
    for _ in range(2):  # a second try does not restart from scratch
        with pytest.raises(UserError, match=r"every checkpoint in .* is damaged"):
            checkpoints.latest(lambda text: None)
        assert contents(checkpoints.folder) == before


@pytest.mark.slow
def test_the_command_refuses_and_changes_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    data, more = write_pairs(tmp_path / "data"), ["--train.save_every", "4"]
    main(arguments(data, run, epochs=1) + more)
    newest = run / "checkpoints" / "0000000008.safetensors"
    newest.rename(tmp_path / "elsewhere")
    newest.symlink_to("/not/mounted/file.safetensors")
    before = contents(run)
    with pytest.raises(SystemExit) as ended:
        main(arguments(data, run, epochs=2) + more)
    result = capsys.readouterr().err
    assert ended.value.code == 2 and str(newest) in result and "move it away" in result
    assert contents(run) == before
    newest.unlink()
    main(arguments(data, run, epochs=2) + more)  # without it, the run resumes from the previous one
    assert "0000000004.safetensors" in capsys.readouterr().out
