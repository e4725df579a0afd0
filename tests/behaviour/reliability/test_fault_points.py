"""A run fails at any point between start and exit; repeating the command loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fault_points
import pytest
from fault_points import FAULT_POINTS
from support import identical


class Uninterrupted(NamedTuple):
    """The data, the calls of each fault point, and the results of an uninterrupted run."""

    data: Path
    calls: dict[str, int]
    results: dict[str, Any]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    folder = tmp_path_factory.mktemp("uninterrupted")
    data = fault_points.write_splits(folder / "data")
    calls = fault_points.count_calls(data, folder / "run")
    return Uninterrupted(data, calls, fault_points.results(folder / "run"))


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("small") / "disk"
    try:
        with fault_points.small_disk(folder) as mounted:
            yield mounted
    except OSError as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")


# One case of each fault point: (name, call from the first (1) or the last (-1), fault)
CASES = [
    ("config.json", 1, "SIGTERM"),
    ("machine.json", 1, "exception"),
    ("step", 3, "SIGTERM"),
    ("log line", 2, "SIGKILL"),
    ("log of a step", -2, "SIGKILL"),
    ("monitoring", -1, "SIGTERM"),
    ("diagnostics", 2, "exception"),
    ("sample grid", -1, "ENOSPC"),
    ("image of a sample grid or patch map", 4, "exception"),
    ("validation", 1, "SIGTERM"),
    ("image of a validation", -1, "SIGTERM"),
    ("best models", 1, "ENOSPC"),
    ("page", -1, "exception"),
    ("checkpoint", 2, "SIGKILL"),
    ("tensor file", 8, "SIGKILL"),
    ("renamed file", -2, "SIGKILL"),
    ("best models published", 2, "SIGKILL"),
    ("models", 2, "ENOSPC"),
    ("EMA models", -1, "SIGTERM"),
    ("end of the log", 1, "SIGTERM"),
]


def check(uninterrupted: Uninterrupted, run: Path, name: str, call: int, fault: str) -> None:
    call = call if call > 0 else uninterrupted.calls[name] + 1 + call
    faulty_run = fault_points.run_with_fault(uninterrupted.data, run, name, call, fault)
    assert fault_points.problems_of(faulty_run, name, fault) == [], faulty_run
    fault_points.repeat(uninterrupted.data, run)
    results = fault_points.results(run)
    assert {
        part for part in results if not identical(results[part], uninterrupted.results[part])
    } == set()


QUICK = {"step", "diagnostics", "best models", "checkpoint"}  # one for each fault


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "call", "fault"),
    [pytest.param(*case, marks=[] if case[0] in QUICK else pytest.mark.slow) for case in CASES],
)
def test_nothing_is_lost_at_any_fault_point(
    name: str,
    call: int,
    fault: str,
    uninterrupted: Uninterrupted,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    folder = request.getfixturevalue("small_disk") if fault == "ENOSPC" else tmp_path
    check(uninterrupted, folder / f"{name}-{call}", name, call, fault)


def test_every_fault_point_has_a_case_and_is_called(uninterrupted: Uninterrupted) -> None:
    assert {name for name, *_ in CASES} == set(FAULT_POINTS)
    assert all(uninterrupted.calls.values()), uninterrupted.calls


def test_control_monitoring_before_the_save_loses_steps(
    uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of monitoring ends the run at once."""
    monkeypatch.setattr(
        "viceversa.training.run.Run.monitor_if_due",
        lambda run: run.monitor.run(run.log, run.progress),
    )
    faulty_run = fault_points.run_with_fault(
        uninterrupted.data, tmp_path / "run", "diagnostics", 1, "exception"
    )
    assert (
        "failed monitoring lost steps"
        in fault_points.problems_of(faulty_run, "diagnostics", "exception")[0]
    )
