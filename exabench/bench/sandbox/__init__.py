"""Running what strangers send: their model in a jail without network and without judgements, its answers checked.

`Sandboxed(part, model, options, limits)` is a reranker like the part itself; what it may not do ends in
SubmissionRefused.
"""

from __future__ import annotations

from exabench.bench.sandbox._folders import stranger
from exabench.bench.sandbox._jail import MODEL, JailLimits, check_jail, jail_command
from exabench.bench.sandbox._process import Jailed
from exabench.bench.sandbox._reranker import Conversation, Sandboxed
from exabench.bench.sandbox._seccomp import seccomp_filter
from exabench.models.screening import ERROR_CLASSES, SubmissionRefused

__all__ = [
    "Conversation",
    "ERROR_CLASSES",
    "Jailed",
    "JailLimits",
    "MODEL",
    "SubmissionRefused",
    "Sandboxed",
    "check_jail",
    "jail_command",
    "seccomp_filter",
    "stranger",
]
