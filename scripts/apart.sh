#!/bin/sh
# Makes .cache/NAME, an environment of its own, from requirements/NAME.txt: for a tool that pins other versions than we do.
set -eu
cd "$(dirname "$0")/.."

environment=.cache/$1
if ! [ "$environment/stamp" -nt "requirements/$1.txt" ]; then
    python3 -m venv --clear "$environment"
    "$environment/bin/python" -m pip install --quiet --require-hashes --requirement "requirements/$1.txt"
    touch "$environment/stamp"
fi
