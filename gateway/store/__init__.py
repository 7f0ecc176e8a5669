"""The gateway's tables. They are all that callers ever see."""

from gateway.store.store import Store

__all__ = ["Store"]
