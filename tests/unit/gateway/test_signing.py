"""Signed addresses and their secret."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.settings import Settings
from gateway.signing import Grant, Signer, signer
from lensora.core.errors import FailedPrecondition, NotFound

GRANT = Grant("artifacts", "acme", "job", "film.mp4", 1000)
SIGNER = Signer(b"secret", 3600, lambda: 999.0)


def test_a_grant_passes_until_it_expires() -> None:
    signature = SIGNER._sign(GRANT)
    SIGNER.check(GRANT, signature)
    assert SIGNER.seconds_left(GRANT) == 1
    with pytest.raises(FailedPrecondition) as caught:
        Signer(b"secret", 3600, lambda: 1000.0).check(GRANT, signature)
    assert caught.value.reason == "LINK_EXPIRED"


@pytest.mark.parametrize(
    "other",
    [
        replace(GRANT, purpose="events"),
        replace(GRANT, account="acm"),
        replace(GRANT, account="acme\njob", resource_id=""),
        replace(GRANT, account='acme", "job', resource_id="film.mp4", file=""),
        replace(GRANT, resource_id="jo"),
        replace(GRANT, file="mesh.glb"),
        replace(GRANT, expires=1001),
    ],
)
def test_a_signature_is_good_for_one_grant(other: Grant) -> None:
    with pytest.raises(NotFound):
        SIGNER.check(other, SIGNER._sign(GRANT))


@pytest.mark.parametrize("signature", ["", "x", "\udfff", "é" * 43])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    with pytest.raises(NotFound):
        SIGNER.check(GRANT, signature)


def test_another_secret_signs_otherwise() -> None:
    with pytest.raises(NotFound):
        SIGNER.check(GRANT, Signer(b"other", 3600)._sign(GRANT))


def test_a_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    first, second = signer(settings), signer(settings)
    file = tmp_path / "home" / "signing.key"
    assert first._sign(GRANT) == second._sign(GRANT)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_bytes()) == 64
    assert [path.name for path in file.parent.iterdir()] == ["signing.key"]
    given = signer(Settings(home=tmp_path / "other", signing_secret=SecretStr("shared by all replicas")))
    assert given._sign(GRANT) != first._sign(GRANT)
    assert not (tmp_path / "other").exists()
