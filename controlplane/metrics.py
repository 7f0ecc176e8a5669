"""What the control plane counts; see ``lensora.runtime.telemetry`` for where it goes, if anywhere."""

from __future__ import annotations

from opentelemetry import metrics

_meter = metrics.get_meter("lensora.controlplane")

refused = _meter.create_gauge(
    "lensora.mesh.refused", description="1 while the newest configuration is refused and the last good one stays."
)
clients = _meter.create_up_down_counter(
    "lensora.mesh.client.open", unit="{client}", description="Clients that are connected to this replica."
)
rejections = _meter.create_counter(
    "lensora.mesh.rejected", unit="{response}", description="Responses that a client refused, by kind of resource."
)
requests = _meter.create_counter(
    "lensora.mesh.requests",
    unit="{call}",
    description="Calls that clients reported, by service, track and outcome (ok, error, dropped).",
)
