"""Shell completion of commands, recipes, and options of recipes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import command_error, command_output

COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )); COMPREPLY=()
_viceversa; echo "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    path = tmp_path_factory.mktemp("completion") / "viceversa"
    with path.open("w") as file:
        command = "from viceversa.cli import main; main(['completion', 'bash'])"
        subprocess.run([sys.executable, "-c", command], stdout=file, check=True)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("viceversa tr", {"train", "translate"}),
        ("viceversa train cycleg", {"cyclegan", "cyclegan-paper", "cyclegan-reference"}),
        ("viceversa train pix2pix photos --train.ep", {"--train.epochs"}),
        ("viceversa train pix2pix photos --method.lambda_c", {"--method.lambda_cycle"}),
        ("viceversa plan pix2pix --generator.norm in", {"instance", "instance-affine"}),
        ("viceversa study pix2pix photos --fold", {"--folds", "--fold_seed"}),
        ("viceversa show pix", {"pix2pix", "pix2pix-paper"}),
        ("viceversa show --js", {"--json"}),
        ("viceversa train pix2pix photos --method.gan_loss ls", {"lsgan"}),
        ("viceversa study pix2pix --method.gan_loss h", {"hinge"}),
        ("viceversa check photos --data.a.k", {"--data.a.kind"}),
        ("viceversa evaluate fakes reals --data.b.ra", {"--data.b.range"}),
        ("viceversa translate m.safetensors --ov", {"--overwrite"}),
        ("viceversa nothing-like-this --", set()),
    ],
)
def test_bash_completes(line: str, expected: set[str], script: Path) -> None:
    words = ["bash", "-c", COMPLETE, "bash", str(script), *line.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    completions = set(done.stdout.split())
    assert expected <= completions
    assert all(word.startswith(line.split()[-1]) for word in completions)
    assert expected or "--train.epochs" not in completions


def test_bash_completes_files_if_no_name_matches(script: Path) -> None:
    words = ["bash", "-c", 'source "$1"; complete -p viceversa', "bash", str(script)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "-o default" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_scripts_of_other_shells(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = command_output(capsys, "completion", shell)
    assert "viceversa" in output and "train.epochs" in output


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "tcsh" in command_error(capsys, "completion", "tcsh")
