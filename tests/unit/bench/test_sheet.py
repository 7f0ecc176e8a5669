"""The sheet's own drawing; `make sheet` runs the system for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bench.sheet import ROW, TITLE, WIDTH, Result, contact, fitted, on_checkerboard, sheet
from lensora.core.imaging import encode_png


def test_a_refusal_is_shown_beside_its_photo() -> None:
    photo = np.full((60, 90, 3), (200, 30, 30), np.uint8)
    page = np.asarray(sheet(Result("text  ·  NO_SUBJECT", photo, photo, None, "there is no subject; choose another")))
    assert page.shape[1] == WIDTH
    for cell in (0, 1):
        middle = page[TITLE + ROW // 2, cell * WIDTH // 4 + WIDTH // 8]
        assert np.abs(middle.astype(int) - (200, 30, 30)).max() <= 2
    words = page[TITLE : TITLE + ROW, WIDTH // 2 :]
    assert words.min() < 60, "dark letters"
    assert np.median(words) > 240, "on a light ground"


def test_contact_has_room_for_an_odd_one() -> None:
    pages = [Image.new("RGB", (200, 100), (shade, 0, 0)) for shade in (50, 100, 150)]
    drawn = np.asarray(contact(pages))
    assert [drawn[20, 20, 0], drawn[20, 150, 0], drawn[80, 20, 0]] == [50, 100, 150]


def test_a_cut_out_lies_on_squares(tmp_path: Path) -> None:
    cutout = np.zeros((100, 100, 4), np.uint8)
    cutout[40:60, 40:60] = (10, 200, 10, 255)
    (tmp_path / "cutout.png").write_bytes(encode_png(cutout))
    drawn = np.asarray(on_checkerboard(tmp_path / "cutout.png"))
    assert tuple(drawn[50, 50]) == (10, 200, 10)
    assert set(np.unique(drawn[:30, :30])) == {190, 225}


def test_fitted_keeps_proportions() -> None:
    assert fitted(Image.new("L", (400, 100)), (200, 200)).size == (200, 50)
    assert fitted(Image.new("RGBA", (1, 900)), (200, 300)).size == (1, 300)
