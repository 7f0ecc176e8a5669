"""How a background is named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.make import order
from lensora.core.errors import InvalidArgument
from lensora.studio.v1 import studio_pb2


def asked(words: str, picture: Path | None = None) -> studio_pb2.Background:
    made = order(b"photo", words, "dolly", None, "1280x720", 5.0, 0, Path("out"), None, picture)
    return made.spec.background


@pytest.mark.parametrize(
    ("words", "background"),
    [
        ("transparent", studio_pb2.Background(transparent=studio_pb2.TransparentBackground())),
        ("a beach", studio_pb2.Background(prompt="a beach")),
        ("photo.jpg", studio_pb2.Background(prompt="photo.jpg")),
        ("https on a wall", studio_pb2.Background(prompt="https on a wall")),
        ("https://photos.example/a.jpg", studio_pb2.Background(url="https://photos.example/a.jpg")),
    ],
)
def test_words_links_and_transparent(words: str, background: studio_pb2.Background) -> None:
    assert asked(words) == background


def test_an_open_link_is_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidArgument, match="must begin with https://"):
        asked("http://photos.example/a.jpg")


def test_a_picture_is_sent_as_its_bytes(tmp_path: Path) -> None:
    picture = tmp_path / "plate.jpg"
    picture.write_bytes(b"bytes")
    assert asked("transparent", picture) == studio_pb2.Background(picture=b"bytes")
    with pytest.raises(InvalidArgument, match="not both"):
        asked("a beach", picture)
