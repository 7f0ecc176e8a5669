#!/bin/sh
# Installs the Debian packages that are missing: those named, or else those that running needs
# (OpenGL through EGL and Mesa for the renderer, venv for Python).
set -eu

missing=""
need() { missing="$missing $1"; }

if [ $# -gt 0 ]; then
    missing="$*"
else
    ldconfig=$(command -v ldconfig || echo /sbin/ldconfig)
    libraries=$("$ldconfig" -p)
    has() { case "$libraries" in *"$1"*) ;; *) need "$2" ;; esac; }
    has libEGL.so.1 libegl1
    has libGL.so.1 libgl1
    python3 -c 'import ensurepip' 2>/dev/null || need python3-venv
fi
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "please install what stands in Debian's packages$missing" >&2
    exit 1
fi
root=""
[ "$(id -u)" = 0 ] || root=sudo
echo "installing Debian packages:$missing"
$root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >/dev/null
