"""What the mesh's commands refuse before they ask anybody, and the certificates and bootstraps that they make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from cli.main import app
from controlplane.authority import Authority
from lensora.core.errors import InvalidArgument
from lensora.runtime import tls


def refused(*arguments: str) -> str:
    """What a command that must fail says."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    return result.output


@pytest.mark.parametrize("share", ["canary=101", "stable=10", "canary=x", "canary=-1"])
def test_shares_are_percents_of_the_canary(share: str) -> None:
    assert "canary=0 to canary=100" in refused("mesh", "weight", "mesh3d", share)


def test_what_cannot_be_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_HOME", str(tmp_path))
    assert "detect, segment" in refused("canary", "judge", "paint", "--photos", str(tmp_path))
    assert "NO_CASES" in refused("canary", "judge", "mesh3d", "--photos", str(tmp_path))
    for steps in ("50,5", "", "0,100", "5,101", "5,5", "a"):
        assert "rising" in refused("canary", "run", "mesh3d", "--photos", str(tmp_path), "--steps", steps)


def test_certificates_are_issued_and_issued_anew(tmp_path: Path) -> None:
    command = ["mesh", "certs", "mesh3d", "gateway", "--out", str(tmp_path), "--days", "2", "--name", "mesh3d-stable"]
    assert CliRunner().invoke(app, command).exit_code == 0
    first = tls.read(tmp_path / "mesh3d")
    certificate, authority = (x509.load_pem_x509_certificate(pem) for pem in (first[0], first[2]))
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"mesh3d.lensora.internal", "mesh3d", "mesh3d-stable"} <= set(names.get_values_for_type(x509.DNSName))
    assert (tmp_path / "mesh3d/tls.key").stat().st_mode & 0o777 == 0o600
    assert CliRunner().invoke(app, command).exit_code == 0
    second = tls.read(tmp_path / "mesh3d")
    assert second[0] != first[0] and second[2] == first[2], "the authority stays"
    assert len(list((tmp_path / "mesh3d").iterdir())) == 5, "what is old is gone: three links, one to the folder, it"
    assert "lower-case" in refused("mesh", "certs", "../etc", "--out", str(tmp_path))


def test_an_authority_that_is_none_is_refused(tmp_path: Path) -> None:
    Authority.open(tmp_path)
    (tmp_path / "ca.crt").write_text("nonsense")
    with pytest.raises(InvalidArgument, match="cannot be used"):
        Authority.open(tmp_path)


def test_a_bootstrap() -> None:
    plain = CliRunner().invoke(app, ["mesh", "bootstrap", "--node", "one"]).stdout
    assert json.loads(plain)["xds_servers"][0]["channel_creds"] == [{"type": "insecure"}]
    secure = CliRunner().invoke(app, ["mesh", "bootstrap", "--node", "one", "--certificates", "/certs"]).stdout
    document = json.loads(secure)
    assert document["certificate_providers"]["mesh"]["config"]["private_key_file"] == "/certs/tls.key"
    assert document["node"]["id"] == "one"
