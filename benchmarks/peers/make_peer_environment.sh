#!/usr/bin/env bash
# Make the environment of the peers that benchmarks compare with: never softcell's own.
set -euo pipefail
cd "$(dirname "$0")/../.."
"${PYTHON:-python3.11}" -m venv .venv-peer
.venv-peer/bin/python -m pip install --quiet torch==2.13.0
.venv-peer/bin/python -m pip install --quiet --no-deps aihwkit==1.1.0
.venv-peer/bin/python -m pip install --quiet ldpc==2.4.1
.venv-peer/bin/python -m pip install --quiet --no-deps sionna-no-rt==2.2.0 importlib_resources h5py
.venv-peer/bin/python -m pip install --quiet scipy requests protobuf numpy tqdm pillow
echo "ready: python benchmarks/speed/cells.py, python benchmarks/speed/ldpc_decoding.py"
