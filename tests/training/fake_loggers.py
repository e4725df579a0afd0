"""Doubles of a logger that fail in different ways; `command` runs one in its own process."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from viceversa.training.loggers.base import About
from viceversa.training.loggers.child import serve

CODE = (
    "import json, sys; sys.path = json.loads(sys.argv[1]); "
    "from fake_loggers import run; run(sys.argv[2])"
)


def command(fault: str) -> list[str]:
    """Return the command line of a logger with a fault, such as `hang in log`; "" for none."""
    return [sys.executable, "-c", CODE, json.dumps([str(Path(__file__).parent), *sys.path]), fault]


def run(fault: str) -> None:
    serve(lambda about: FakeLogger(about, fault))


class FakeLogger:
    """Writes its calls to calls.jsonl of the run folder."""

    address = "an address"

    def __init__(self, about: About, fault: str):
        self.fault, self.path = fault, Path(about.folder) / "calls.jsonl"
        self._call("open", about.settings)

    def log(self, entry: dict[str, Any]) -> None:
        self._call("log", entry)

    def image(self, kind: str, images: int, path: str) -> None:
        self._call("image", [kind, images, path])

    def close(self) -> None:
        self._call("close", None)

    def _call(self, name: str, value: Any) -> None:
        print("a package prints something")
        if self.fault == f"hang in {name}":
            time.sleep(1000)
        if self.fault == f"raise in {name}":
            raise RuntimeError("no\nconnection")
        if self.fault == f"exit in {name}":
            os._exit(3)
        if self.fault == "slow":
            time.sleep(0.1)
        with self.path.open("a") as file:
            file.write(json.dumps([name, value]) + "\n")
