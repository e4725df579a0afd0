#!/usr/bin/env bash
# Test and measure viceversa on a GPU, in some 8 minutes, without a network: see gpu.py.
#   benchmarks/gpu.sh [--device cuda] [--tiny] [--data FACADES] [--reference PATH] [--out DIR]
# $PYTHON (python3) needs torch with CUDA, the packages of pyproject.toml and pytest; viceversa itself
# is taken from this checkout.
set -eu
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" benchmarks/gpu.py "$@"
