"""The metadata of everything, in SQLite or PostgreSQL: transactions of repositories.

Called by `control` only. Rows stay inside; domain types go in and come out.
"""

from modelyard.store.database import DEFAULT_WORKSPACE, Database
from modelyard.store.transaction import Transaction

__all__ = ["DEFAULT_WORKSPACE", "Database", "Transaction"]
