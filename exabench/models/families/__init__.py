"""Families of models: how each is asked and what it answers, one TOML file a family.

A file names the reranker that reads the family, how a model is recognised (`ids`: patterns of Hub ids in small
letters; `architectures` and `model_types` of config.json), the `template`, the `answers` (positive first), the
`strategy`, the longest input, and the source of each fact. In a template {instruction} stands for the instruction;
`with_instruction` is the template where one is given to a family that needs none. A template that is a list is
tokenised piece by piece, as its authors do, and the answer is the next piece. The token ids of the answers always
come from the model's tokenizer, but for `answer_ids`, where the authors read a place of the vocabulary.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from exabench.core.errors import BadInput, printable
from exabench.core.files import read_toml
from exabench.core.records import Record, read

INSTRUCTION = "{instruction}"


class Source(Record, frozen=True):
    """Where a fact was found, and the licence of what was found there."""

    fact: str
    url: str
    licence: str


class Family(Record, frozen=True):
    """A family, as the module describes it; `name` is that of its file.

    One without a template is asked by the model's own chat template.
    """

    about: str
    reranker: str
    template: str | tuple[str, ...]
    strategy: str
    name: str = ""
    ids: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    model_types: tuple[str, ...] = ()
    with_instruction: str | tuple[str, ...] = ""
    instruction: str = ""
    answers: tuple[str, ...] = ()
    answer_ids: tuple[int, ...] = ()
    max_length: int = 0
    sources: tuple[Source, ...] = ()

    def asked(
        self,
        *,
        template: str | Sequence[str] = "",
        instruction: str = "",
        answers: Sequence[str] = (),
        strategy: str = "",
    ) -> Family:
        """The family with the values that a user gave, and the instruction filled into its template.

        `answers` are a list, or one text with commas. Raises BadInput for an instruction that the template has no
        place for, and for a place without an instruction.
        """
        asked = self
        if isinstance(answers, str):
            answers = [word.strip() for word in answers.split(",")]
        if answers:
            # The places of the vocabulary are the authors' answers, and not the user's.
            asked = replace(asked, answers=tuple(answers), answer_ids=())
        if strategy:
            asked = replace(asked, strategy=strategy)
        if not template and instruction and self.with_instruction:
            template = self.with_instruction
        template = template or self.template
        if template:
            asked = replace(asked, template=_fill_instruction(template, instruction, self.instruction))
        return asked


@cache
def families() -> Mapping[str, Family]:
    """Every family, by name."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.toml")):
        family = read(Family, read_toml(file), file=file)
        found[file.stem] = replace(family, name=file.stem)
    return found


def family_named(name: str) -> Family:
    """The family of that name. Raises BadInput with the names of all."""
    if name not in families():
        raise BadInput(f"unknown family {printable(name)!r}; choose from: {', '.join(families())}")
    return families()[name]


def family_of_id(model: str) -> Family | None:
    """The family whose longest pattern a Hub id matches; None for other ids, and for a folder, which has no id."""
    # A folder may be called anything: owner/name as a path is no promise of what is in it.
    if Path(model).is_dir():
        return None
    patterns = {}
    for family in families().values():
        for pattern in family.ids:
            patterns[pattern] = family
    return _longest_match(patterns, model)


def family_of_name(name: str) -> Family | None:
    """The family whose Hub ids have such a name behind their owner's; None where none has."""
    patterns = {}
    for family in families().values():
        for pattern in family.ids:
            patterns[pattern.rpartition("/")[2]] = family
    return _longest_match(patterns, name)


def _longest_match(patterns: Mapping[str, Family], name: str) -> Family | None:
    matching = [pattern for pattern in patterns if fnmatch.fnmatchcase(name.lower(), pattern)]
    if not matching:
        return None
    return patterns[max(matching, key=len)]  # the longest says most: mt5-13b-mmarco-100k, not mt5-*


def family_of_config(architecture: str, model_type: str) -> Family | None:
    """The family of the models of an architecture, by name and model_type; None where no family has it."""
    for family in families().values():
        fits = any(fnmatch.fnmatchcase(architecture, pattern) for pattern in family.architectures)
        if fits and (not family.model_types or model_type in family.model_types):
            return family
    return None


def usual_family(default: str, model: str, family: str = "") -> Family:
    """The family of a model: the one called `family`, else that of its Hub id, else the one called `default`.

    Raises BadInput for an unknown family, and for one that another reranker reads than the default one.
    """
    usual = families()[default]
    found = family_of_id(model)
    if family:
        found = family_named(family)
        if found.reranker != usual.reranker:
            fitting = ", ".join(name for name, other in families().items() if other.reranker == usual.reranker)
            wrong = f"family {family} is read by reranker {found.reranker}, not by {usual.reranker}"
            raise BadInput(f"{wrong}, which reads {fitting}")
    if found is None or found.reranker != usual.reranker:
        return usual
    return found


def _fill_instruction(template: str | Sequence[str], given: str, usual: str) -> str | tuple[str, ...]:
    pieces = [template] if isinstance(template, str) else list(template)
    has_place = any(INSTRUCTION in piece for piece in pieces)
    if given and not has_place:
        raise BadInput(f"the template has no {INSTRUCTION}; name it there, or leave instruction out")
    instruction = given or usual
    if has_place and not instruction:
        raise BadInput(f"the template names {INSTRUCTION}; give instruction")
    filled = tuple(piece.replace(INSTRUCTION, instruction) for piece in pieces)
    return filled[0] if isinstance(template, str) else filled
