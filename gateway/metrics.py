"""What the gateway counts and measures; see ``lensora.runtime.telemetry`` for where it goes, if anywhere."""

from __future__ import annotations

from opentelemetry import metrics

_meter = metrics.get_meter("lensora.gateway")

stage_seconds = _meter.create_histogram(
    "lensora.stage.duration",
    unit="s",
    description="Time that a stage took, by service and engine; without those that were used again.",
    explicit_bucket_boundaries_advisory=[0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300],
)
stages_reused = _meter.create_counter(
    "lensora.stage.reused", unit="{stage}", description="Stages whose earlier result was used again, by service."
)
jobs_ended = _meter.create_counter("lensora.job.ended", unit="{job}", description="Jobs, by how they ended.")
credits_refunded = _meter.create_counter(
    "lensora.credits.refunded", unit="{credit}", description="Credits given back for jobs without artifacts."
)
jobs_open = _meter.create_gauge(
    "lensora.job.open",
    unit="{job}",
    description="Jobs of all replicas that wait (queued) or are at work (running); every replica tells the same.",
)
watchers_open = _meter.create_up_down_counter(
    "lensora.watcher.open", unit="{watcher}", description="Callers who follow a job here."
)
