"""Test the files, options and health check of the Dockerfile; in `make soak`, also its steps."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError

import pytest
from support import small_model

from viceversa.images.domain import Domain
from viceversa.serve.settings import ServeSettings

ROOT = Path(__file__).parents[2]
PORT = "8000"


class Instruction(NamedTuple):
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Return the words of the JSON list at the end of the text, or of the text."""
        found = re.search(r"\[.*\]$", self.text)
        return json.loads(found[0]) if found else shlex.split(self.text)


def instructions() -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    lines = text.replace("\\\n", " ").splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line]


def only(name: str) -> Instruction:
    (found,) = (one for one in instructions() if one.name == name)
    return found


def copied() -> list[str]:
    """Return the names that are copied from the repository."""
    copies = [one.words for one in instructions() if one.name == "COPY"]
    return [word for words in copies if "--from=build" not in words for word in words[:-1]]


def health_check(port: int) -> None:
    """Run the health check of the Dockerfile. Raises HTTPError if it fails."""
    python, option, code = only("HEALTHCHECK").words
    assert (python, option) == ("python", "-c") and PORT in code
    exec(code.replace(PORT, str(port)), {})


def test_the_copied_files_exist_and_are_not_ignored() -> None:
    kept = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split()]
    assert kept[0] == "*"  # all other files are ignored
    for name in copied():
        assert (ROOT / name).exists() and name in kept
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= set(copied())
    assert "serve" in project["optional-dependencies"]


def test_the_command_has_options_of_serve_and_an_open_port() -> None:
    program, command, *options = only("ENTRYPOINT").words
    assert (program, command) == ("viceversa", "serve")
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert given.keys() <= {f"--{field.name}" for field in fields(ServeSettings)}
    assert given["--port"] == only("EXPOSE").text == PORT


def test_the_server_runs_without_root_and_handles_its_stop_signal() -> None:
    user, group = only("USER").text.split(":")
    assert int(user) > 0 and int(group) > 0
    assert only("STOPSIGNAL").text == "SIGTERM"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("models"), Domain(), Domain())


def test_the_health_check_fails_while_the_server_is_not_ready(model: Path) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    from serving import running

    with running({"m": model}, ServeSettings(port=0, decoders=1)) as client:
        health_check(client.port)
        client.service.loaded.clear()
        with pytest.raises(HTTPError) as caught:
            health_check(client.port)
        caught.value.close()
        assert caught.value.code == 503


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Path]:
    """Run the steps of the first stage in a folder; return the virtual environment."""
    stage, target = tmp_path / "src", tmp_path / "viceversa"
    stage.mkdir()
    steps = instructions()[1:]  # after FROM
    for step in steps[: next(i for i, one in enumerate(steps) if one.name == "FROM")]:
        if step.name == "COPY":
            for name in step.words[:-1]:
                source = ROOT / name
                (shutil.copytree if source.is_dir() else shutil.copy)(source, stage / name)
        elif step.name == "RUN":
            script = step.text.replace("/opt/viceversa", str(target))
            script = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", script)
            variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
            variables["TORCH_INDEX"] = "https://pypi.org/simple"
            subprocess.run(["sh", "-ec", script], cwd=stage, env=variables, check=True)
    yield target
    shutil.rmtree(target)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_steps_install_a_server_that_serves_and_ends(installed: Path, model: Path) -> None:
    program, *options = only("ENTRYPOINT").words
    options[options.index("0.0.0.0")] = "127.0.0.1"
    options[options.index(PORT)] = "0"
    variables = {"PATH": f"{installed}/bin", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    command = [installed / "bin" / program, *options, "--workers", "2", model.parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "serving on" in line)
        port = int(re.findall(r":(\d+)", line)[0])
        health_check(port)
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/v1/models")
        assert connection.getresponse().status == 200
        connection.close()
        process.terminate()
        assert process.wait(30) == 0
