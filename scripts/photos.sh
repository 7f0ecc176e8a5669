#!/bin/sh
# Fetches three CC0 photographs that KDE ships as avatars in Debian's plasma-workspace-data, for the demo, the tests and
# the bench. Only the pictures are taken, each checked by its SHA-256; the package is not installed.
set -eu

folder=.cache/photos
inside=usr/share/plasma/avatars/photos
pictures="air-balloon|Air Balloon|7f7fa070a74066b7702dbd4bff0fb66d733cda60abefbc2bf6c7dc74614af05c
cocktail|Cocktail|08c60a9b2deef1cb57000ec2d54e437f43067f5b593fe7d3b9eeb7016c0f6058
astronaut|Astronaut|2684f214319779d4112fc8973722f47d61b7aaf5a33820a1c7e0a6945e3a158a"

mkdir -p "$folder"
each() { echo "$pictures" | while IFS='|' read -r name title sum; do "$1" "$folder/$name.png" "$title" "$sum" || exit 1; done; }
whole() { echo "$3  $1" | sha256sum --check --status 2>/dev/null; }
take() {
    cp "$scratch/$inside/$2.png" "$1"
    whole "$1" "$2" "$3" || { rm "$1"; echo "$2.png in the package is another picture than expected" >&2; return 1; }
    echo "$1:"
    sed 's/^/    /' "$scratch/$inside/$2.png.license"
}

if each whole; then exit 0; fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # apt downloads as its own user
root=""
[ "$(id -u)" = 0 ] || root=sudo
(cd "$scratch" && { apt-get download -qq plasma-workspace-data 2>/dev/null ||
    { $root apt-get update -qq && apt-get download -qq plasma-workspace-data; }; })
dpkg-deb --extract "$scratch"/*.deb "$scratch"
each take
