"""What every process shares: settings, server, workers, interceptors, channels, telemetry."""
