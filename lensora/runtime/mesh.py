"""What both ends of the mesh agree on: its services, names, and the policy of a call that nobody configured."""

from __future__ import annotations

import json
from dataclasses import dataclass

SERVICES = ("detect", "segment", "background", "mesh3d", "render")
"""Those that are called through it."""

CANARY = "x-canary"
"""Metadata of a call: ``always`` goes to the canary or fails, ``never`` to the stable track; else the weights rule."""

PROVIDER = "mesh"
"""Certificate provider, as bootstraps call it."""

OPERATOR = "operator"
"""Who may change weights."""


def identity(name: str) -> str:
    """The DNS name in the certificate of a service, wherever it runs."""
    return f"{name}.lensora.internal"


RETRIED = ("UNAVAILABLE", "CANCELLED")
"""Statuses after which a call is tried again. The second is what a gRPC server that stops answers to calls that it has
received and not begun; who cancels a call himself does not see it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a stage is called unless the mesh says otherwise; the same call twice is harmless, so it may be retried."""

    timeout_s: float = 900.0
    """No call is longer, whatever its own deadline."""

    attempts: int = 3
    """Including the first; see ``RETRIED``. Nothing is tried again of which a part was answered."""

    backoff_s: float = 0.1
    max_backoff_s: float = 1.0

    def service_config(self) -> str:
        """As gRPC's service config (grpc/doc/service_config.md), for a direct target."""
        retry = {
            "maxAttempts": self.attempts,
            "initialBackoff": f"{self.backoff_s:g}s",
            "maxBackoff": f"{self.max_backoff_s:g}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": list(RETRIED),
        }
        method = {"name": [{}], "timeout": f"{self.timeout_s:g}s", "retryPolicy": retry}
        return json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [method]})


def bootstrap(server: str, node: str, certificates: str = "", refresh_seconds: float = 10.0) -> str:
    """What a gRPC client must know to be in the mesh, as JSON for ``GRPC_XDS_BOOTSTRAP``.

    Args:
        server: of the control plane, ``dns:///host:port``.
        node: this client's name, its own among all.
        certificates: its folder of them; empty for plaintext.
        refresh_seconds: how often the files are looked at.
    """
    provider = {
        "certificate_file": f"{certificates}/tls.crt",
        "private_key_file": f"{certificates}/tls.key",
        "ca_certificate_file": f"{certificates}/ca.crt",
        "refresh_interval": f"{refresh_seconds:.3f}s",
    }
    credentials = {"type": "tls", "config": provider} if certificates else {"type": "insecure"}
    document = {
        "xds_servers": [{"server_uri": server, "channel_creds": [credentials], "server_features": ["xds_v3"]}],
        "node": {"id": node, "cluster": "lensora"},
    }
    if certificates:
        document["certificate_providers"] = {PROVIDER: {"plugin_name": "file_watcher", "config": provider}}
    return json.dumps(document, indent=2)
