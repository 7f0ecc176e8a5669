#!/bin/sh
# Fetches what bench.composites puts together: the cut-outs of Debian's tuxpaint-stamps-default (GPL-2) and the photographs of
# mate-backgrounds (GPL-2+ and CC-BY-SA). Only the pictures are taken; the packages are not installed.
set -eu

folder=.cache/cutouts
if [ -e "$folder/stamps" ] && [ -e "$folder/nature" ]; then exit 0; fi
mkdir -p "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # apt downloads as its own user
root=""
[ "$(id -u)" = 0 ] || root=sudo
packages="tuxpaint-stamps-default mate-backgrounds"
# shellcheck disable=SC2086 # two words on purpose
(cd "$scratch" && { apt-get download -qq $packages 2>/dev/null ||
    { $root apt-get update -qq && apt-get download -qq $packages; }; })
for package in "$scratch"/*.deb; do dpkg-deb --extract "$package" "$scratch"; done
cp -r "$scratch/usr/share/tuxpaint/stamps" "$scratch/usr/share/backgrounds/mate/nature" "$folder"
