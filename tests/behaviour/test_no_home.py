"""Without a home folder nothing is cached, and all commands work."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import command_error, noise_pairs

from viceversa import UserError
from viceversa.cli import main
from viceversa.evaluation import features
from viceversa.files import user_cache

NAMELESS = 54321  # a user ID without a name
COMMANDS = """
check data
train pix2pix data --generator.width 2 --generator.depth 3 --discriminator.width 2 \
--discriminator.layers 1 --data.load_size 16 --data.crop_size 16 --train.epochs 1 \
--train.device cpu --train.precision fp32 --train.run r
evaluate r data
features
"""
SCRIPT = f"""
import os
from viceversa.cli import main
def run():
    for line in {COMMANDS!r}.strip().splitlines():
        main(line.split())
os.chdir("first")  # loads every module before the user changes: Python may be readable by root only
run()
os.chdir("../second")
for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"):
    os.environ.pop(name, None)
os.setgroups([]); os.setgid({NAMELESS}); os.setuid({NAMELESS})
run()
"""


def no_home(name: str) -> Path:
    raise RuntimeError("could not determine the home directory for '~/.cache'")


def relative(name: str) -> Path:
    return Path("~/.cache") / name  # what earlier versions of platformdirs return


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Yield a folder that any user may pass through; every start of pytest closes its own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.mark.parametrize("cache", [no_home, relative])
def test_without_a_home_nothing_is_cached(
    cache: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", cache)
    monkeypatch.chdir(tmp_path)
    noise_pairs(tmp_path / "data", 2, 286)
    assert user_cache() is None and features.user_folder() is None
    main(["check", "data"])
    assert "No problems detected" in capsys.readouterr().out
    main(["features"])
    assert "missing: alexnet.safetensors" in capsys.readouterr().out
    assert features.find("alexnet") is None
    with pytest.raises(UserError, match="HOME is not set"):
        features.load("alexnet")
    assert "HOME is not set" in command_error(capsys, "features", "--get", "alexnet")
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to change the user"
)
def test_a_user_without_a_name(shared_folder: Path) -> None:
    for name in ("first", "second"):
        noise_pairs(shared_folder / name / "data", 2, 16)
    (shared_folder / "second").chmod(0o777)
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=shared_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (shared_folder / "second" / "r" / "evaluation" / "metrics.json").is_file()
    assert sorted(os.listdir(shared_folder / "second")) == ["data", "r"]
