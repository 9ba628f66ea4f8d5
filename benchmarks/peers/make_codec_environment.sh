#!/usr/bin/env bash
# Make the environment of the published codec that codec.py compares with: never softcell's own.
#
# Only the codec is wanted, which takes arrays: what its package wants besides (torch, torchvision,
# OpenCV, pandas, scikit-learn) serves training and is left out. It is built here, by a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/../.."
"${PYTHON:-python3.11}" -m venv .venv-codec
.venv-codec/bin/python -m pip install --quiet "numpy<2" safetensors
.venv-codec/bin/python -m pip install --quiet --no-deps nncodec==2.1.3
echo "ready: python benchmarks/peers/codec.py"
