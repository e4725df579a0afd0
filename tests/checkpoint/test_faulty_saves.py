"""If any system call of a save fails, the old or the new file is intact (promise C2)."""

from __future__ import annotations

import re
import shutil
from collections import Counter

import pytest
from faulty_saves import Case, build_library, sweep

OURS = ("checkpoint", "model")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc to build the library that injects faults")
    folder = tmp_path_factory.mktemp("faults")
    return sweep(build_library(folder), folder)


def select(cases: list[Case], *savers: str) -> list[Case]:
    return [case for case in cases if case["saver"] in savers and case["kind"] != "none"]


def test_every_system_call_failed_once(cases: list[Case]) -> None:
    all_calls = {case["saver"]: case["calls"] for case in cases if case["kind"] == "none"}
    assert set(all_calls["checkpoint"]) >= set("OWFRoDU")
    counts = Counter((case["saver"], case["kind"], case["permanent"]) for case in cases)
    for saver in OURS:
        for kind in ("ENOSPC", "EIO", "EDQUOT", "KILL"):
            assert counts[saver, kind, False] == len(all_calls[saver]), (
                saver,
                kind,
                all_calls[saver],
            )


@pytest.mark.parametrize("saver", OURS)
def test_the_old_or_the_new_file_is_intact_and_success_means_the_new(
    cases: list[Case], saver: str
) -> None:
    for case in select(cases, saver):
        assert case["loaded"] in (1, 2), case
        assert case["loaded"] == 2 or case["result"] != "ok", case
        assert case["remaining"] == [], case


@pytest.mark.parametrize("saver", OURS)
def test_an_error_names_the_path_and_the_free_space(cases: list[Case], saver: str) -> None:
    failures = [case for case in select(cases, saver) if case["result"] not in ("", "ok")]
    assert len(failures) > 20
    for case in failures:
        assert case["result"].startswith(f"UserError: {case['folder']}/"), case
        if case["kind"] in ("ENOSPC", "EDQUOT"):
            full = r"the disk is full: [\d.]+ [kM]B are needed, [\d.]+ [kMG]B are free"
            assert re.search(full, case["result"])
        if not case["permanent"]:
            assert case["temporary"] == [], case


def test_killed_and_short_writes(cases: list[Case]) -> None:
    for case in select(cases, *OURS):
        if case["kind"] == "KILL":
            assert case["status"] == -9 and case["result"] == "", case
        elif case["kind"] == "SHORT":  # no error: the rest is written next
            assert case["result"] == "ok" and case["loaded"] == 2, case
        else:
            assert case["status"] == 0, case


def test_files_are_flushed_before_they_are_renamed(cases: list[Case]) -> None:
    all_calls = {case["saver"]: case["calls"] for case in cases if case["kind"] == "none"}
    durable = re.compile(r"OW+o?F+RoDU*")
    assert durable.fullmatch(all_calls["checkpoint"]), all_calls
    assert all_calls["checkpoint"].endswith("U"), "the old checkpoint is removed last"
    assert durable.fullmatch(all_calls["model"]), all_calls
    assert not durable.fullmatch(all_calls["naive"]), all_calls


def test_control_a_naive_save_loses_the_old_file(cases: list[Case]) -> None:
    writing = [case for case in select(cases, "naive") if case["number"] == 1]
    failed = [case for case in writing if case["kind"] != "SHORT"]
    assert len(failed) == 8
    assert [case for case in failed if case["loaded"] is not None] == []
