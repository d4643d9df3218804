"""Running models that somebody sent in: in a jail without network and without judgements, their answers checked.

`Sandboxed(part, model, options, limits)` is a reranker like the part itself; what it may not do ends in
SubmissionRefused.
"""

from __future__ import annotations

from exabench.bench.sandbox._jail import Jailed, JailLimits, check_jail, jail_command
from exabench.bench.sandbox._reranker import Conversation, Sandboxed, fetch_screened
from exabench.bench.sandbox._seccomp import seccomp_filter

__all__ = [
    "Conversation",
    "Jailed",
    "JailLimits",
    "Sandboxed",
    "check_jail",
    "fetch_screened",
    "jail_command",
    "seccomp_filter",
]
