"""Models that were submitted, run in a jail without network and without judgements; their answers are checked.

`SandboxedReranker(part, model, options, limits)` is a reranker like the part itself; what it may not do ends in
SubmissionRefused.
"""

from __future__ import annotations

from exabench.bench.sandbox._cgroup import make_group, remove_group
from exabench.bench.sandbox._conversion import unpickle
from exabench.bench.sandbox._jail import LIMITS, JailedProcess, JailLimits, check_jail
from exabench.bench.sandbox._reranker import Conversation, SandboxedReranker, fetch_screened
from exabench.bench.sandbox._seccomp import seccomp_filter

__all__ = [
    "LIMITS",
    "Conversation",
    "JailedProcess",
    "JailLimits",
    "SandboxedReranker",
    "check_jail",
    "fetch_screened",
    "make_group",
    "remove_group",
    "seccomp_filter",
    "unpickle",
]
