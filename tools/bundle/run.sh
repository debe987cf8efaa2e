#!/bin/sh
# Runs the program of this bundle with the LibTorch of this machine:
#   ./run.sh run PAPER --device cuda
#   ./run.sh cuda_test, ./run.sh benchmark --device=cuda
# LibTorch is the folder TORCH_HOME if that has lib/libtorch_cpu.so, or else the
# one of python3's torch.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
built_with=@TORCH_VERSION@

torch=${TORCH_HOME:-}
if [ ! -e "$torch/lib/libtorch_cpu.so" ]; then
  torch=$(python3 -c 'import importlib.util
print(importlib.util.find_spec("torch").submodule_search_locations[0])' 2>/dev/null) || {
    echo "run.sh: no LibTorch: set TORCH_HOME to a folder with lib/libtorch_cpu.so (LibTorch $built_with with CUDA), or install torch for python3" >&2
    exit 2
  }
fi
found=$(sed -n "s/^__version__ = '\([0-9.]*\).*/\1/p" "$torch/version.py" 2>/dev/null || true)
if [ -n "$found" ] && [ "$found" != "$built_with" ]; then
  echo "run.sh: built with LibTorch $built_with, $torch is $found: it may not load" >&2
fi

libraries=$torch/lib
for folder in "$torch"/../nvidia/*/lib; do
  [ -d "$folder" ] && libraries=$libraries:$folder
done
export LD_LIBRARY_PATH="$libraries:$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export REPRO_ASSETS="$here/assets${REPRO_ASSETS:+:$REPRO_ASSETS}"
export XDG_CACHE_HOME="$here/cache"

case "${1:-}" in
  cuda_test | benchmark)
    if [ -x "$here/$1" ]; then
      program=$1
      shift
      exec "$here/$program" "$@"
    fi
    ;;
esac
exec "$here/repro" "$@"
