"""Settings of every test."""

import os
import tempfile

import pytest
import torch

torch.set_num_threads(1)  # two workers share two cores
# What is learnt of data sets is kept in the user's cache folder; not in that of whoever tests.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="viceversa-tests-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `cuda` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
