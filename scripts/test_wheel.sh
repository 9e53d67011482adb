#!/bin/sh
# Runs the tests of decoding and transforms against an installed wheel, with the checkout out of reach:
#   scripts/test_wheel.sh [PYTHON [DIST [CONSTRAINT...]]]
# in a new environment of PYTHON, with the wheel of DIST (dist/) for it, e.g. with numpy==1.24.4 pyarrow==14.0.2. Without
# PyTorch: what needs it is skipped.
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3} dist=$(realpath "${2:-dist}")
[ $# -lt 2 ] || shift
[ $# -lt 1 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
venv=$work/venv/bin
"$venv/python" -m pip install -q --disable-pip-version-check --no-index --find-links "$dist" --no-deps genimage-stream
"$venv/python" -m pip install -q --disable-pip-version-check --prefer-binary genimage-stream "$@"
(cd "$work" && venv/bin/genimage-stream demo --out demo)
"$venv/python" -m pip install -q --disable-pip-version-check --prefer-binary pillow pytest pytest-timeout hypothesis scipy "$@"
# No package of the checkout lies beside the tests; what the tests share is in tests/.
mkdir "$work/checkout"
cp -r tests stand_ins benchmarks pyproject.toml "$work/checkout"
cd "$work/checkout"
"$venv/python" -c 'import genimage_stream, sys; sys.exit(not genimage_stream.__file__.startswith(sys.prefix))'
"$venv/python" -m pytest -q -p no:cacheprovider tests/genimage_stream/decode tests/genimage_stream/transforms
