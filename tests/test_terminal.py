"""Messages on stdout and in the logger `viceversa`."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from viceversa.terminal import BAR_AFTER, LINE_EVERY, counter, pace, quiet, say, shows_progress


class Terminal:
    """A stream that is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_a_message_is_printed_and_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "viceversa"):
        say("100% of one message")
    assert capsys.readouterr().out == "100% of one message\n"
    assert [(one.name, one.getMessage()) for one in caplog.records] == [
        ("viceversa", "100% of one message")
    ]


def test_quiet_leaves_the_logger(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "viceversa"):
        with quiet(), quiet(False):
            say("one")
        say("two")
        with quiet(False):
            say("three")
    assert capsys.readouterr().out == "two\nthree\n"
    assert [one.getMessage() for one in caplog.records] == ["one", "two", "three"]


def test_quiet_draws_no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert shows_progress(stream)
    with quiet(), counter("images") as update:
        assert not shows_progress(stream)
        update(1, 2)
    assert stream.text == ""
    with counter("images") as update:  # the control
        update(1, 2)
    assert "images" in stream.text


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.mark.parametrize(
    ("done", "total", "seconds", "text"),
    [
        (30, 90, 10, "3 images/s, 0:20 left"),
        (1, 4000, 3, "0.333 images/s, 3:19:57 left"),
        (1234, 2468, 10, "123 images/s, 0:10 left"),
        (5, 5, 2, "2.5 images/s"),
        (0, 5, 2, ""),
        (5, 9, 0, ""),
    ],
)
def test_rate_and_time_left(done: int, total: int, seconds: float, text: str) -> None:
    assert pace(done, total, seconds, "images") == text


def test_without_a_terminal_lines_on_stderr_report_the_progress_of_long_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    with counter("translating", "images", clock) as update:
        for done in range(1, 10):
            clock.time += LINE_EVERY / 4
            update(done, 20)
    lines = (
        "translating: 4 of 20 images, 0.4 images/s, 0:40 left\n"
        "translating: 8 of 20 images, 0.4 images/s, 0:30 left\n"
    )
    assert capsys.readouterr() == ("", lines)
    with quiet(), counter("translating", "images", clock) as update:
        clock.time += 2 * LINE_EVERY
        update(1, 2)
    with counter("checking", clock=clock) as update:  # without a unit
        clock.time += 2 * LINE_EVERY
        update(1, 2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("stream", [None, "closed"])
def test_progress_on_a_lost_stream_ends_no_work(
    stream: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Closed() if stream else None
    monkeypatch.setattr(sys, "stderr", closed)
    clock = Clock()
    with counter("translating", "images", clock) as update:
        clock.time += 2 * LINE_EVERY
        update(1, 2)
    assert closed is None or closed.writes


class Closed:
    """A stream whose reader is gone."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError

    def isatty(self) -> bool:
        return False


def test_the_bar_of_short_work_does_not_appear(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = Terminal(), Clock()
    monkeypatch.setattr(sys, "stderr", stream)
    with counter("translating", "images", clock) as update:
        clock.time += BAR_AFTER / 2
        update(1, 30)
    assert stream.text == ""
    with counter("translating", "images", clock) as update:
        clock.time += BAR_AFTER
        update(4, 30)
    assert "4/30" in stream.text and "2 images/s, 0:13 left" in stream.text


def test_an_exception_ends_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), quiet():
        raise KeyError
    say("again")
    assert capsys.readouterr().out == "again\n"


def test_without_logging_set_up_nothing_is_written_twice() -> None:
    code = "from viceversa.terminal import say; say('once')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("once\n", "")
