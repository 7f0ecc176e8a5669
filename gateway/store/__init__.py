"""The gateway's tables. They are all that callers ever see."""

from gateway.store.database import Database
from gateway.store.store import Call, Run, Store

__all__ = ["Call", "Database", "Run", "Store"]
