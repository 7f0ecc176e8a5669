"""The gateway's tables. They are all that callers ever see."""

from gateway.store.database import DATABASE_ERRORS, Database, database_down
from gateway.store.store import Call, Run, Store

__all__ = ["DATABASE_ERRORS", "Call", "Database", "Run", "Store", "database_down"]
