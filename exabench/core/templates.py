"""Jinja templates that end: jinja2's immutable sandbox, in which whatever a template makes is counted.

A template consists of texts, values, conditions, loops and filters. It has no macros and no blocks. Each
pass of a loop, and each text, list or number that is made on the way, counts by its size; a step that multiplies sizes
(`"x" * 10**10`) is looked at before it is taken.
"""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from exabench.core.errors import REASON, BadInput, printable
from exabench.core.files import Bound

TEMPLATE_BOUND = Bound(1 << 18)
"""Of the file of a template; the largest of ours has four thousand bytes."""

_MOST_MADE = 1 << 23  # characters, of all that one filling makes: twice a context of a million tokens
_MOST_SECONDS = 2.0  # of this thread's time, for one filling; a prompt takes milliseconds
_LARGEST_BITS = 4096  # of a whole number: longer ones take more than a moment to multiply
_MULTIPLYING = frozenset(
    "batch center expandtabs indent join ljust replace rjust slice tojson translate wordwrap zfill".split()
)
"""Filters and methods whose result may be as long as the product of what they are given."""
_LONG_FORMAT = re.compile(r"\d{5}|\*|\{[^}]*\{")  # a width of five digits, or one that is a value
_REFUSED = (
    *(nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock),
    *(nodes.Block, nodes.Extends, nodes.Import, nodes.FromImport),
)
_ERRORS = (
    *(jinja2.TemplateError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError),
    # What Python says of a template that is nested too deeply.
    *(RecursionError, SyntaxError, MemoryError),
)


class TooMuch(jinja2.TemplateRuntimeError):
    """A template makes more than a filling may."""


class Templates(ImmutableSandboxedEnvironment):
    """Jinja's settings for templates of which none runs for ever or fills the memory. `options` are jinja2's."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, *, finalize: Callable[[Any], Any] = lambda value: value, **options: Any) -> None:
        self._filling = threading.local()  # several threads may fill in prompts
        super().__init__(undefined=jinja2.StrictUndefined, finalize=self._counting(finalize), **options)
        del self.globals["lipsum"]
        self.filters = {name: self._counting(filter) for name, filter in self.filters.items()}

    @contextmanager
    def filling(self, what: str, file: str | Path | None = None) -> Iterator[None]:
        """One template, from reading it to its text. Raises BadInput for whatever is wrong with it."""
        self._filling.left = _MOST_MADE
        self._filling.end = time.thread_time() + _MOST_SECONDS
        try:
            yield
        except _ERRORS as error:
            reason = str(error)
            if isinstance(error, jinja2.TemplateError):
                reason = str(error.message)
            reason = printable(reason or type(error).__name__, REASON)
            if file is not None and isinstance(error, jinja2.TemplateSyntaxError):
                raise BadInput(f"is not a Jinja template ({reason})", file=file, line=error.lineno) from error
            raise BadInput(f"{what} cannot be filled in ({reason})".lstrip(), file=file) from error

    def compile(self, source: Any, *given: Any, **named: Any) -> Any:
        """Jinja's code of a template that counts what it does."""
        if isinstance(source, str):
            source = self.parse(source, *given[:2])
        for node in source.find_all(_REFUSED):
            allowed = "use text, values, if, for, set and filters"
            raise jinja2.TemplateSyntaxError(f"{type(node).__name__} is not allowed; {allowed}", node.lineno)
        return super().compile(_Counting().visit(source), *given, **named)

    def spend(self, size: int) -> bool:
        """Count what was made, or is about to be. Raises TooMuch."""
        self._filling.left -= size
        if self._filling.left < 0:
            raise TooMuch(f"it would make more than {_MOST_MADE:,} characters or steps")
        if time.thread_time() > self._filling.end:
            raise TooMuch(f"it takes more than {_MOST_SECONDS:g} seconds")
        return True

    def made(self, value: Any) -> Any:
        """A value that was made, counted."""
        self.spend(self._size(value))
        return value

    def _size(self, value: Any) -> int:
        """The characters of a value, of its parts where it has some. Raises TooMuch for more than there may be."""
        size = 0
        waiting = [value]
        while waiting:
            one = waiting.pop()
            size += 1
            if isinstance(one, str | bytes | range):
                size += len(one)
            elif isinstance(one, int) and one.bit_length() > _LARGEST_BITS:
                raise TooMuch("it makes a number of thousands of digits")
            elif isinstance(one, Mapping):
                waiting += [*one.keys(), *one.values()]
            elif isinstance(one, list | tuple | set | frozenset):
                waiting += one
            if size + len(waiting) > _MOST_MADE:
                raise TooMuch(f"it would make more than {_MOST_MADE:,} characters or steps")
        return size

    def _counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter, or what makes a value ready to be shown, with its result counted."""

        @functools.wraps(function)  # also of the marks that tell jinja2 what else it is given
        def counting(*given: Any, **named: Any) -> Any:
            self._look_ahead(function.__name__.removeprefix("do_"), (*given, *named.values()))
            made = function(*given, **named)
            if isinstance(made, Iterator):
                made = list(made)
            return self.made(made)

        return counting

    def _look_ahead(self, name: str, given: tuple[Any, ...]) -> None:
        """Raise TooMuch for a step that would multiply sizes to more than there may be."""
        if name in ("format", "format_map", "%"):
            for one in given:
                if isinstance(one, str) and _LONG_FORMAT.search(one):
                    raise TooMuch("it has a format with a width of thousands")
        if name not in _MULTIPLYING:
            return
        product = 1
        for one in given:
            if isinstance(one, int):
                product *= max(1, abs(one))
            elif not isinstance(one, jinja2.Environment | jinja2.runtime.Context | nodes.EvalContext):
                product *= self._size(one)
        if product > _MOST_MADE:
            raise TooMuch(f"it would make more than {_MOST_MADE:,} characters or steps")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An operator that may make something large."""
        if operator == "%" and isinstance(left, str):
            self._look_ahead("%", (left,))
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * abs(right) > _LARGEST_BITS:
                raise TooMuch("it makes a number of thousands of digits")
        elif operator == "*" and not (_is_number(left) and _is_number(right)):
            for one, other in ((left, right), (right, left)):
                if isinstance(one, int) and self._size(other) * abs(one) > _MOST_MADE:
                    raise TooMuch(f"it would make more than {_MOST_MADE:,} characters or steps")
        return self.made(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __obj: Any, *given: Any, **named: Any) -> Any:  # noqa: N805 - as in jinja2
        """A function or a method."""
        name = getattr(__obj, "__name__", "")
        text = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)  # jinja2 wraps str.format
        if isinstance(text, str):
            __self._look_ahead(name, (text, *given, *named.values()))
        return __self.made(super().call(__context, __obj, *given, **named))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _texts(part: nodes.Node) -> Iterator[nodes.TemplateData]:
    """The texts of a part of a loop, but for those of loops in it, which count by themselves."""
    if isinstance(part, nodes.TemplateData):
        yield part
    if not isinstance(part, nodes.For):
        for inner in part.iter_child_nodes():
            yield from _texts(inner)


class _Counting(jinja2.visitor.NodeTransformer):
    """Counts each pass of a loop, lists as they are made, and `a ~ b`, which becomes the filter join of a list."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """A loop; one with a condition counts also the values that it leaves out."""
        if node.recursive:
            raise jinja2.TemplateSyntaxError("it has a recursive loop", node.lineno)
        shown = 1
        for part in node.body:
            shown += sum(len(text.data) for text in _texts(part))
        self.generic_visit(node)
        count = nodes.Call(nodes.EnvironmentAttribute("spend"), [nodes.Const(shown)], [], None, None)
        if node.test is None:
            node.body.insert(0, nodes.ExprStmt(count))
        else:
            node.test = nodes.And(count, node.test)
        return node.set_lineno(node.lineno)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """Texts that are put together."""
        parts = [self.visit(part) for part in node.nodes]
        return nodes.Filter(nodes.List(parts), "join", [], [], None, None).set_lineno(node.lineno)

    def _visit_parts(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        if getattr(node, "ctx", "load") != "load":  # the names that a loop or `set` gives to values
            return node
        return nodes.Call(nodes.EnvironmentAttribute("made"), [node], [], None, None).set_lineno(node.lineno)

    visit_List = visit_Tuple = visit_Dict = _visit_parts
