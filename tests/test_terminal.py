"""Messages on stdout and in the logger `viceversa`."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from viceversa.terminal import counter, quiet, say, shows_progress


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


def test_an_exception_ends_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), quiet():
        raise KeyError
    say("again")
    assert capsys.readouterr().out == "again\n"


def test_without_logging_set_up_nothing_is_written_twice() -> None:
    code = "from viceversa.terminal import say; say('once')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("once\n", "")
