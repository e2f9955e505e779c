#!/bin/sh
# The package as a stranger gets it: an sdist, a wheel made of that sdist, and the wheel in an empty environment.
#
#   make wheel [PYTHON=python3.13]
#
# The second installation finds no compiler: the wheel alone must do.
set -eu
project=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

"$python" -m venv "$work/building"
"$work/building/bin/python" -m pip install --quiet build
mkdir "$work/source"
git -C "$project" archive HEAD | tar -x -C "$work/source" # what is committed, and nothing else
git -C "$project" rev-parse HEAD >"$work/source/commit.txt"
"$work/building/bin/python" -m build --outdir "$work/dist" "$work/source" >"$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }
ls -l "$work/dist"

"$python" -m venv "$work/empty"
CC=/bin/false "$work/empty/bin/python" -m pip install --quiet --only-binary :all: "$work"/dist/*.whl
cd "$work"
empty/bin/crash-harness --version | grep "commit $(git -C "$project" rev-parse --short=12 HEAD)"
empty/bin/crash-harness doctor
empty/bin/crash-harness run controls deterministic-bug
empty/bin/crash-harness exec -- sh -c 'exit 0'
