"""Every call of a save may fail: the old file or the new one is there, and no lie (promise C2)."""

from __future__ import annotations

import re
import shutil
from collections import Counter

import pytest
from faults import Case, built, sweep

OURS = ("checkpoint", "model")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc to build the library that makes calls fail")
    folder = tmp_path_factory.mktemp("faults")
    return sweep(built(folder), folder)


def of(cases: list[Case], *ways: str) -> list[Case]:
    return [case for case in cases if case["way"] in ways and case["kind"] != "none"]


def test_every_kind_of_call_was_made_to_fail(cases: list[Case]) -> None:
    whole = {case["way"]: case["calls"] for case in cases if case["kind"] == "none"}
    assert set(whole["checkpoint"]) >= set("OWFRoDU")
    counts = Counter((case["way"], case["kind"], case["for_good"]) for case in cases)
    for way in OURS:
        for kind in ("ENOSPC", "EIO", "EDQUOT", "KILL"):
            assert counts[way, kind, False] == len(whole[way]), (way, kind, whole[way])


@pytest.mark.parametrize("way", OURS)
def test_the_old_or_the_new_is_there_and_success_is_no_lie(cases: list[Case], way: str) -> None:
    for case in of(cases, way):
        assert case["there"] in (1, 2), case
        assert case["there"] == 2 or case["said"] != "ok", case
        assert case["cleaned"] == [], case


@pytest.mark.parametrize("way", OURS)
def test_a_failure_is_told_with_the_path_and_what_is_free(cases: list[Case], way: str) -> None:
    failures = [case for case in of(cases, way) if case["said"] not in ("", "ok")]
    assert len(failures) > 20
    for case in failures:
        assert case["said"].startswith(f"UserError: {case['folder']}/"), case
        if case["kind"] in ("ENOSPC", "EDQUOT"):
            full = r"the disk is full: [\d.]+ [kM]B are needed, [\d.]+ [kMG]B are free"
            assert re.search(full, case["said"])
        if not case["for_good"]:
            assert case["left"] == [], case


def test_killed_and_short_writes(cases: list[Case]) -> None:
    for case in of(cases, *OURS):
        if case["kind"] == "KILL":
            assert case["status"] == -9 and case["said"] == "", case
        elif case["kind"] == "SHORT":  # ... is no error: the rest is written next
            assert case["said"] == "ok" and case["there"] == 2, case
        else:
            assert case["status"] == 0, case


def test_what_is_written_is_durable_before_it_takes_its_place(cases: list[Case]) -> None:
    whole = {case["way"]: case["calls"] for case in cases if case["kind"] == "none"}
    durable = re.compile(r"OW+o?F+RoDU*")
    assert durable.fullmatch(whole["checkpoint"]), whole
    assert whole["checkpoint"].endswith("U"), "the old one goes last"
    assert durable.fullmatch(whole["model"]), whole
    assert not durable.fullmatch(whole["naive"]), whole


def test_a_naive_save_loses_the_old_file(cases: list[Case]) -> None:
    writing = [case for case in of(cases, "naive") if case["number"] == 1]
    failed = [case for case in writing if case["kind"] != "SHORT"]
    assert len(failed) == 8
    assert [case for case in failed if case["there"] is not None] == []
