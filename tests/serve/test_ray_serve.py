"""Test the example of Ray Serve; skipped without Ray (`pip install 'ray[serve]'`)."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import small_model

from viceversa import Translator
from viceversa.images.domain import Domain

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import numpy as np
from serving import Requests, noise, wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = """
import sys
import ray
from ray import serve
from ray_serve import app

ray.init(num_cpus=3, include_dashboard=False, _temp_dir=sys.argv[1])
serve.start(http_options={"port": int(sys.argv[2])})
serve.run(app({"models": sys.argv[3], "token": "a token"}))
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""
PORT = 18734
AUTHORIZED = {"authorization": "Bearer a token"}


@pytest.fixture
def requests(tmp_path: Path) -> Iterator[Requests]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    model, folder = small_model(tmp_path, Domain(), Domain()), tempfile.mkdtemp(dir="/tmp")
    home = tmp_path / "home"
    home.mkdir()
    variables = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(home)}
    variables["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES), *sys.path[1:]])
    command = [sys.executable, "-c", SCRIPT, folder, str(PORT), f"m={model}"]
    found = Requests()
    found.port = PORT
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | variables,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line == "ready\n" for line in process.stdout)
        yield found
        process.communicate()
        assert process.returncode == 0
    assert list(home.iterdir()) == []  # Ray has stored no token
    shutil.rmtree(folder)


def replicas() -> set[int]:
    """Return the IDs of the processes of all replicas."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::ServeReplica:default:Translation"):
                found.add(int(path.parent.name))
        except OSError:  # the process has ended
            pass
    return found


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_replicas_translate_and_are_replaced(requests: Requests, tmp_path: Path) -> None:
    data = noise()
    expected = np.asarray(Translator.load(tmp_path / "ab.safetensors")(data))
    for _ in range(8):
        answer = requests.translate(data, "m", **AUTHORIZED)
        assert np.array_equal(answer.image, expected)
    assert requests.translate(data, "m").failure == (401, "unauthorized")
    assert requests.translate(b"x", "m", **AUTHORIZED).failure == (415, "unsupported_type")
    before = replicas()
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    wait_for(lambda: requests.translate(data, "m", **AUTHORIZED).status == 200)
    wait_for(lambda: len(replicas() - {min(before)}) == 2, 120)
