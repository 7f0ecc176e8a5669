"""Thin edges over the use cases in ``gateway.jobs``."""
