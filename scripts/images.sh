#!/bin/sh
# Builds the images, lensora-NAME:TAG each: `images.sh [NAME...]`, all of them by default.
#   BUILDER   docker, podman or buildah; else the first that works here
#   BASE      image to build on; else Docker Hub's python:3.11-slim-bookworm, or, where that cannot be pulled, one that is
#             made from Debian's packages by mmdebstrap
#   TAG       of the images; else the project's version
# Wheels are downloaded here, with pip's own settings and certificates, and checked by the hashes in requirements/.
set -eu
cd "$(dirname "$0")/.."

python=.venv/bin/python
all="detect segment background mesh3d render gateway controlplane"
tag=${TAG:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
public=python:3.11-slim-bookworm
debian=localhost/lensora-base:bookworm
[ -x $python ] || { echo "please run make setup first" >&2; exit 1; }

works() {
    case $1 in
    docker) docker info >/dev/null 2>&1 ;;
    *) "$1" images >/dev/null 2>&1 ;;
    esac
}
if [ -z "${BUILDER:-}" ]; then
    for BUILDER in docker podman buildah none; do works $BUILDER && break; done
fi
[ "$BUILDER" != none ] || { echo "none of docker, podman and buildah works here" >&2; exit 1; }

import() { # a tar of a file system, under a name
    case $BUILDER in
    buildah)
        container=$(buildah from scratch)
        buildah add --quiet "$container" "$1" / >/dev/null
        buildah commit --quiet --rm "$container" "$2" >/dev/null ;;
    *) "$BUILDER" import "$1" "$2" >/dev/null ;;
    esac
}
base() {
    # podman and buildah keep no short names of their own making, and docker knows no localhost/
    if "$BUILDER" inspect "$debian" >/dev/null 2>&1; then
        echo "$debian"
    elif timeout 60 "$BUILDER" pull --quiet "$public" >/dev/null 2>&1; then
        echo "$public"
    else
        echo "$public cannot be pulled: making a base from Debian's packages" >&2
        command -v mmdebstrap >/dev/null || ./scripts/system.sh mmdebstrap >&2
        scratch=$(mktemp -d)
        mmdebstrap --quiet --variant=apt --include=python3,ca-certificates,usr-is-merged \
            --aptopt='APT::Install-Recommends "false"' \
            --customize-hook='chroot "$1" apt-get purge --quiet --yes usrmerge "^perl-modules-" "^libperl5" "^lib.*-perl$" >/dev/null' \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$scratch/base.tar" >&2
        import "$scratch/base.tar" "$debian"
        rm -r "$scratch"
        echo "$debian"
    fi
}
build() {
    case $BUILDER in
    docker) docker build --quiet "$@" . ;;
    # without namespaces of its own a build works also where containers may not be nested
    *) "$BUILDER" build --quiet --isolation chroot --network host --format docker "$@" . ;;
    esac
}

BASE=${BASE:-$(base)}
$python -c "from lensora.core import models; models.fetch()"
for name in ${*:-$all}; do
    layout=out/images/$name
    mkdir -p "$layout/wheels" "$layout/pip" "$layout/models"
    $python -m pip download --quiet --no-deps --dest "$layout/pip" pip
    $python -m pip download --quiet --no-deps --only-binary :all: --require-hashes \
        --requirement "requirements/$name.txt" --dest "$layout/wheels"
    $python -c "from lensora.core.models import MODELS, folder
for model in MODELS.values():
    if '$name' in model.stages and not model.terms: print(folder() / model.filename)" | xargs -r cp -t "$layout/models"
    build --build-arg "BASE=$BASE" --build-arg "SERVICE=$name" --tag "lensora-$name:$tag"
done
