"""The reply store, and teachers that ask only what nobody has asked them before: a call is paid for once."""

from exabench.replies._remembered import Remembered
from exabench.replies._store import Replies, call_key, filed

__all__ = ["Remembered", "Replies", "call_key", "filed"]
