"""How a background is named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.make import order
from lensora.client import Picture
from lensora.core.errors import InvalidArgument


def asked(words: str, picture: Path | None = None) -> str | Picture:
    made = order(b"photo", words, "dolly", None, "1280x720", 5.0, 0, Path("out"), None, picture)
    return made.options["background"]


@pytest.mark.parametrize(
    "words", ["transparent", "a beach", "photo.jpg", "https on a wall", "https://photos.example/a.jpg"]
)
def test_words_links_and_transparent(words: str) -> None:
    assert asked(words) == words


def test_an_open_link_is_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidArgument, match="must begin with https://"):
        asked("http://photos.example/a.jpg")


def test_a_picture_is_sent_as_its_bytes(tmp_path: Path) -> None:
    picture = tmp_path / "plate.jpg"
    picture.write_bytes(b"bytes")
    assert asked("transparent", picture) == Picture(b"bytes")
    with pytest.raises(InvalidArgument, match="not both"):
        asked("a beach", picture)
