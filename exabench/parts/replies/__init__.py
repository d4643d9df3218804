"""Cache of teacher replies in SQLite, and teachers that ask only what is not in it: a call is paid for once."""

from exabench.parts.replies._cached import MOST_HELD, CachedTeacher
from exabench.parts.replies._store import SCHEMA, Call, Replies, call_key, without_server

__all__ = ["MOST_HELD", "SCHEMA", "CachedTeacher", "Call", "Replies", "call_key", "without_server"]
