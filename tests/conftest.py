"""Settings of every test."""

import os
import tempfile

import torch

torch.set_num_threads(1)  # two workers share two cores
# What is learnt of data sets is kept in the user's cache folder; not in that of whoever tests.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="viceversa-tests-")
