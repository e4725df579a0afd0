"""A file of weights from a stranger runs nothing, takes little, and is refused (W1, W3, W4, W8)."""

from __future__ import annotations

import os
from pathlib import Path

import hostile
import pytest
from support import fork

from viceversa.checkpoint import Checkpoints
from viceversa.cli import main

# Read as if they were sound, as long as Domain and the settings' numbers are not looked at.
NAMES = [*hostile.pickles("true"), *hostile.BOMBS, *hostile.SAYING]


@pytest.fixture(scope="module")
def ways() -> hostile.Ways:
    return hostile.Ways()


def put(name: str, folder: Path) -> tuple[Path, Path]:
    """A hostile file beside a good checkpoint, and what its payload would make."""
    marker = folder / "executed"
    checkpoints = Checkpoints(folder / "checkpoints", 3)
    checkpoints.save({"images": 1}, 1)
    path = checkpoints.folder / "0000000002.safetensors"
    content = hostile.pickles(f"touch {marker}").get(name)
    if content is None:
        (hostile.BOMBS | hostile.SAYING)[name](path)
    else:
        path.write_bytes(content)
    return path, marker


def test_there_are_enough() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 100
    assert len(hostile.pickles("true")) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_refused_in_every_way(name: str, tmp_path: Path, ways: hostile.Ways) -> None:
    path, marker = put(name, tmp_path)
    whole = name in hostile.SAYING or _says_something(path)
    told = hostile.tried(path, ways)
    assert not marker.exists(), "it was executed"
    for way, (ended, seconds, growth) in told.items():
        # What a whole file says is shown, whatever it is; starting from it needs its weights alone.
        if whole and way in ("show", "init"):
            assert ended in ("refused", "done"), (way, ended)
        else:
            assert ended == "refused", (way, ended)
        assert seconds < hostile.SECONDS and growth < hostile.GROWTH, (way, seconds, growth)


def _says_something(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b'"viceversa"' in file.read(200)


# Those left out are refused by today's torch, or need a reader of their own.
@pytest.mark.parametrize("name", [
    name for name in hostile.pickles("true")
    if name not in ("torch tar", "zip with a wrong CRC", "zip behind other bytes",
                    "TorchScript zip", "pickle within a tensor", "zip deflated")
])  # fmt: skip
def test_the_payloads_work_where_pickles_are_opened(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    content = hostile.pickles(f"touch {marker}")[name]

    def work(pipe: int) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        hostile.executed(name, content)

    child = fork(work)
    child.wait(20)
    child.output()
    assert marker.exists()


def test_a_good_file_is_taken_in_every_way(tmp_path: Path, ways: hostile.Ways) -> None:
    path = tmp_path / "ab.safetensors"
    hostile.good(path)
    Checkpoints(tmp_path, 3).save({"images": 1}, 1)
    told = hostile.tried(path, ways)
    assert {way: ended for way, (ended, *_) in told.items()} == dict.fromkeys(told, "done")


def test_time_and_memory_are_measured(tmp_path: Path, ways: hostile.Ways) -> None:
    class Greedy(hostile.Ways):
        def load(self, path: Path) -> None:
            bytes(bytearray(400 * 2**20))

    path = tmp_path / "0000000001.safetensors"
    hostile.good(path)
    ended, _, growth = hostile.tried(path, Greedy())["load"]
    assert ended == "done" and growth > hostile.GROWTH


def test_the_command_says_it_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, marker = put("torch zip", tmp_path)
    for words in (["show", str(path)], ["translate", str(path), str(path), "-o", "out"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2 and not marker.exists()
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "is not a model of viceversa" in said
