"""rank_llm's training JSON: a conversation for each list, with the teacher's order as its answer."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.files import digest_of, replacing
from exabench.core.rows import Row
from exabench.data.exports import Exported
from exabench.data.exports._groups import ORDERED, QueryGroup, group_of
from exabench.parts.prompting import PromptFile, prompt_file, truncate_passage


class RankLlmFormat:
    """A list of {id, conversations}, as castorini/rank_llm trains RankZephyr and FirstMistral on (training/).

    Passages are shown in the first stage's order, or where a row has none in one that their ids fix; the answer is
    the teacher's. They are called by letters, as all objectives of rank_llm need; where a list has more than 26 of
    them, all lists of the table use numbers, which its objective `generation` takes.
    """

    families = ORDERED

    def write(self, family: str, split: str, rows: Iterable[Row], to: Path) -> Exported:
        """The file `to`. Raises BadInput also for a list of one passage."""
        longest = 0
        for row in rows:
            longest = max(longest, len(group_of(family, row).passages))
        names = list(ascii_uppercase)
        prompt = prompt_file("first")
        if longest > len(names):
            names = [str(number) for number in range(1, longest + 1)]
            prompt = prompt_file("rank_zephyr")
        count = 0
        with replacing(to) as file:
            file.write(b"[")
            for row in rows:
                if count:
                    file.write(b",")
                record = self._conversation(group_of(family, row), row, names, prompt)
                file.write(b"\n" + json.dumps(record, ensure_ascii=False).encode())
                count += 1
            file.write(b"\n]\n")
        return Exported(count)

    def _conversation(self, group: QueryGroup, row: Row, names: list[str], prompt: PromptFile) -> dict[str, Any]:
        if len(group.passages) < 2:
            raise BadInput("has one passage; an order needs two or more", id=group.id)
        shown = []
        name_of = {}
        for name, place in zip(names, self._places_shown(group, row), strict=False):
            text, _ = truncate_passage(group.passages[place], ("title", "text"), sys.maxsize)
            shown.append(_without_numbers(text))
            name_of[place] = name
        (_, system), (_, question), *_ = prompt.turns(query=_without_numbers(group.query.text), passages=shown)
        # The group's own order is the teacher's, the best first.
        answer = " > ".join(f"[{name_of[place]}]" for place in range(len(group.passages)))
        turns = (("system", system), ("human", question), ("gpt", answer))
        return {"id": group.id, "conversations": [{"from": role, "value": text} for role, text in turns]}

    def _places_shown(self, group: QueryGroup, row: Row) -> list[int]:
        """Places in the teacher's order, as the model is shown the passages."""
        places = range(len(group.passages))
        ranks = row.get("first_stage_ranks")
        if ranks:
            return sorted(places, key=ranks.__getitem__)
        # Never in the teacher's order: then A would always be the best.
        return sorted(places, key=lambda place: digest_of([group.id, group.passages[place].id]))


def _without_numbers(text: str) -> str:
    """A text whose [1] is (1), so that it names no passage: rank_llm does so when it asks a model."""
    return re.sub(r"\[(\d+)\]", r"(\1)", text)
