"""A certificate authority for development: its certificates are good for one mesh on machines of one's own.

Certificates are laid out as Kubernetes mounts secrets: the files are links into a folder that is swapped whole, so
nobody ever reads a key beside another certificate.
"""

from __future__ import annotations

import datetime
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lensora.core.errors import InvalidArgument
from lensora.runtime.mesh import identity
from lensora.runtime.tls import AUTHORITY, CERTIFICATE, KEY

_AUTHORITY_KEY = "ca.key"
_DATA = "..data"
_AUTHORITY_DAYS = 3650
_SLACK = datetime.timedelta(minutes=5)
"""Clocks differ."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A self-signed certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def open(cls, folder: Path) -> Authority:
        """The one in the folder; made there, ``ca.crt`` and ``ca.key``, if there is none.

        Raises:
            InvalidArgument: what is there is not of this kind.
        """
        certificate_file, key_file = folder / AUTHORITY, folder / _AUTHORITY_KEY
        if not key_file.exists():
            made = cls._make()
            folder.mkdir(parents=True, exist_ok=True)
            _write_secret(key_file, _key_pem(made.key))
            certificate_file.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
            return made
        try:
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise _unusable(folder, str(error)) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise _unusable(folder, "the key is not the certificate's")
        return cls(certificate, key)

    @classmethod
    def _make(cls) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lensora development CA")])
        builder = _builder(name, name, key, _AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(sign_certificates=True), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    def issue(self, folder: Path, name: str, days: float, also: Sequence[str] = ()) -> None:
        """Put a new certificate for one member of the mesh into its folder, for both ends of a connection.

        Args:
            folder: gets ``tls.crt``, ``tls.key`` and ``ca.crt``, in place of those there are.
            name: of the member, for example ``mesh3d``.
            days: how long it is good.
            also: further DNS names that callers reach it by.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [identity(name), name, "localhost", *also]
        alternatives = [
            *(x509.DNSName(each) for each in dict.fromkeys(names)),
            x509.IPAddress(IPv4Address("127.0.0.1")),
        ]
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(subject, self.certificate.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(_usage(sign_certificates=False), critical=True)
        )
        pem = serialization.Encoding.PEM
        _swap(
            folder,
            {
                CERTIFICATE: builder.sign(self.key, hashes.SHA256()).public_bytes(pem),
                KEY: _key_pem(key),
                AUTHORITY: self.certificate.public_bytes(pem),
            },
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _swap(folder: Path, files: dict[str, bytes]) -> None:
    """Write all files beside the old ones, then turn one link over to them."""
    version = f"..{uuid.uuid4().hex[:12]}"
    (folder / version).mkdir(parents=True)
    for name, data in files.items():
        _write_secret(folder / version / name, data)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    link, fresh = folder / _DATA, folder / f"{version}.link"
    old = link.readlink() if link.is_symlink() else None
    fresh.symlink_to(version)
    fresh.replace(link)
    if old is not None:
        shutil.rmtree(folder / old, ignore_errors=True)


def _write_secret(file: Path, data: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(data)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _unusable(folder: Path, why: str) -> InvalidArgument:
    return InvalidArgument(f"the authority in {folder} cannot be used: {why}", reason="AUTHORITY_UNUSABLE")
