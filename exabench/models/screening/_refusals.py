"""Refusals: the fixed set of reasons why something that was sent in is not run, and the error that carries one."""

from __future__ import annotations

from exabench.core.errors import BadInput, printable

ERROR_CLASSES = {
    "invalid-submission": "the submission itself is wrong",
    "missing-files": "the model folder lacks a file that it needs",
    "unsafe-files": "the model folder holds a file, a name or a setting that may not be loaded",
    "unsupported-model": "no reranker here reads such a model",
    "too-large": "the model is larger than this runner takes",
    "load-failed": "the model could not be loaded",
    "out-of-memory": "the model needed more memory than it is given",
    "time-limit": "the model took longer than it is given",
    "crashed": "the model's process ended, or broke the rules, before it had answered",
    "bad-scores": "what came back is not one finite score for each passage",
    "no-sandbox": "this machine cannot run models of strangers",
    "missing-package": "this machine lacks a package that the submission needs",
    "unreachable": "a service that is needed was not reached",
}
"""Class: what it means, in words for the sender. The last three are no answers: the submission goes on waiting."""


class SubmissionRefused(BadInput):
    """A submission that is not run, or not to its end; `reason` is one of ERROR_CLASSES.

    `file` is a name inside the model folder: the message is shown to whoever sent it.
    """

    def __init__(self, reason: str, what: str, *, file: str | None = None) -> None:
        assert reason in ERROR_CLASSES
        super().__init__(f"{reason}: {printable(what, 400)}", file=None if file is None else printable(file, 200))
        self.reason = reason
