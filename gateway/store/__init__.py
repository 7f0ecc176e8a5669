"""The gateway's tables. They are all that callers ever see."""

from gateway.store.claims import Claims
from gateway.store.database import GONE, Database, explained, in_thread
from gateway.store.store import Call, Run, Store

__all__ = ["GONE", "Call", "Claims", "Database", "Run", "Store", "explained", "in_thread"]
