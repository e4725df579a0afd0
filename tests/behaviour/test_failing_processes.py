"""An exception of one process in the user's code ends all of them, once the run is saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import newest_checkpoint
from train_processes import start_processes, wait_for_output

from viceversa.checkpoint import load_state

SCRIPT = str(Path(__file__).with_name("failing_processes.py"))


def outputs(fault: str, folder: Path, count: int = 2) -> tuple[list[str], list[int]]:
    """Return the outputs and exit codes of `count` processes that train in FOLDER/run."""
    out = folder / f"output-{fault}"
    with start_processes(count, [SCRIPT, fault, str(folder / "run")], out) as processes:
        wait_for_output(processes, out)
        codes = [process.returncode for process in processes]
    return [(out / f"{rank}.txt").read_text() for rank in range(count)], codes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        ("on_step", 0),
        pytest.param("on_validation", 0, marks=pytest.mark.soak),
        pytest.param("validation", 0, marks=pytest.mark.soak),
        pytest.param("dataset 0", 0, marks=pytest.mark.soak),
        ("dataset 1", 1),
    ],
)
def test_the_others_save_and_name_the_process_that_failed(
    fault: str, failed: int, tmp_path: Path
) -> None:
    texts, codes = outputs(fault, tmp_path)
    assert codes == [1, 1], texts
    assert texts[failed].splitlines()[-1] == "LookupError: of the user"
    assert "of the user" not in texts[1 - failed]
    assert texts[1 - failed].splitlines()[-1] == (
        f"viceversa.errors.UserError: process {1 - failed} of 2 ends because process {failed} "
        "failed, whose message states the reason; the run is saved"
    )
    images = load_state(newest_checkpoint(tmp_path / "run"))["images"]
    assert 0 < images < 24 if fault.startswith("dataset") else images == 8
    texts, codes = outputs("none", tmp_path)  # the control: the same call resumes the run
    assert codes == [0, 0], texts
    assert load_state(newest_checkpoint(tmp_path / "run"))["images"] == 24
