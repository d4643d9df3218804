"""The work folder of a build: the only code that knows its files. Each is whole or not there, and checked when read.

recipe.lock.json            what is being built; a build of anything else is refused here
revisions.lock.json         commits that were looked up on the Hub, once
plan/NNNNN.jsonl            the items, in shards of equal size; plan/plan.json says that all are there
shards/NNNNN.<digest>.jsonl the rows or rejections of a shard's items, under the digest of these very bytes
quarantine.jsonl            rejected items with reason and raw reply
release/                    the Release
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from exabench.core.errors import BadInput, printable
from exabench.core.files import digest_of, flatten, from_json, json_text, lines, read_bytes, read_json, write
from exabench.core.records import read
from exabench.core.rows import Item, Row


class WorkFolder:
    """A build's files below `folder`."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.lock = self.folder / "revisions.lock.json"
        self.release = self.folder / "release"
        self.quarantine = self.folder / "quarantine.jsonl"
        self._recipe_lock = self.folder / "recipe.lock.json"
        self._plan = self.folder / "plan" / "plan.json"

    @property
    def description(self) -> dict[str, Any]:
        """The build that the folder holds, as `agree` wrote it down; empty for none."""
        return dict(read_json(self._recipe_lock)) if self._recipe_lock.is_file() else {}

    def agree(self, about: Mapping[str, Any]) -> None:
        """Write down what is being built, or compare it with what was. Raises BadInput naming the differences.

        A plan of which no shard is made, as a dry run leaves it, gives way to another build. The table `quality` is of
        no account before the last step, and may change.
        """
        if not self._recipe_lock.is_file():
            write(self._recipe_lock, json_text(about))
            return
        before = dict(flatten(self.description))
        # Through JSON, so that a tuple equals the list that it was written as.
        now = dict(flatten(from_json(json_text(about))))
        differences = []
        for key in sorted(before.keys() | now.keys()):
            may_change = key == "fingerprint" or key.startswith("recipe.quality")
            if before.get(key) != now.get(key) and not may_change:
                differences.append(f"{key} was {_short(before.get(key))} and is {_short(now.get(key))}")
        if not differences:
            write(self._recipe_lock, json_text(about))
        elif not (self.folder / "shards").exists():
            self._plan.unlink(missing_ok=True)
            write(self._recipe_lock, json_text(about))
        else:
            shown = "; ".join(differences[:4])
            more = f"; and {len(differences) - 4} more" if len(differences) > 4 else ""
            raise BadInput(f"contains another build ({shown}{more}); give another --to", file=self.folder)

    # -- the plan ------------------------------------------------------------------------------------------

    def has_plan(self) -> bool:
        """Is the plan whole?"""
        return self._plan.is_file()

    def shard_count(self) -> int:
        """The number of shards in the plan."""
        return len(read_json(self._plan)["shards"])

    def plan(self, items: Iterable[Item], size: int) -> int:
        """Write the plan, `size` items to a shard; how many shards. Raises BadInput for an id that appears twice."""
        digests: list[str] = []
        keys = array("Q")  # eight bytes an item, whatever their number
        source = iter(items)
        while some := list(islice(source, size)):
            keys.extend(_key(item.id) for item in some)
            data = b"".join(_json(asdict(item)) for item in some)
            write(self._plan_file(len(digests)), data)
            digests.append(digest_of(data))

        found, times = np.unique(np.asarray(keys), return_counts=True)
        twins = set(found[times > 1].tolist())
        if twins:  # the ids were not kept, so they are read again
            for number in range(len(digests)):
                for _, line in lines(self._plan_file(number)):
                    id = json.loads(line)["id"]
                    if _key(id) in twins:
                        raise BadInput("the builder gives two items the same id; every item needs its own", id=id)
        # Written last: a plan without this file is made again.
        write(self._plan, json_text({"items": len(keys), "shards": digests}))
        return len(digests)

    def items(self, number: int) -> list[Item]:
        """The items of a shard. Raises BadInput where its file is not the one that was planned."""
        file = self._plan_file(number)
        data = read_bytes(file)
        if digest_of(data) != read_json(self._plan)["shards"][number]:
            raise BadInput("is not the file that was planned; remove the folder's plan/ and build again", file=file)
        return [read(Item, json.loads(line), file=file) for line in data.decode().split("\n") if line]

    def good_items(self) -> Iterator[Item]:
        """Every item that can be a row, in the order of the plan."""
        for number in range(self.shard_count()):
            for item in self.items(number):
                if not item.rejected:
                    yield item

    def _plan_file(self, number: int) -> Path:
        return self.folder / "plan" / f"{number:05d}.jsonl"

    # -- finished shards -----------------------------------------------------------------------------------

    def shard_file(self, number: int) -> Path | None:
        """The file of a shard that is done. One that is not what its name says is removed, so that it is made again."""
        for file in sorted((self.folder / "shards").glob(f"{number:05d}.*.jsonl")):
            if file.name == _shard_name(number, file.read_bytes()):
                return file
            file.unlink()
        return None

    def write_shard(self, number: int, lines: Iterable[Row]) -> None:
        """Keep the rows and rejections of a shard's items."""
        data = b"".join(map(_json, lines))
        write(self.folder / "shards" / _shard_name(number, data), data)

    def lines(self) -> Iterator[Row]:
        """The row or rejection of every item, in the order of the plan; one at a time."""
        for number in range(self.shard_count()):
            file = self.shard_file(number)
            if file is None:
                raise BadInput(f"shard {number} is not done; run the same build again", file=self.folder)
            yield from _read_lines(file)

    def lines_of(self, number: int) -> Iterator[Row]:
        """The row or rejection of every item of a shard; none where the shard is not done."""
        file = self.shard_file(number)
        if file is not None:
            yield from _read_lines(file)


def _read_lines(file: Path) -> Iterator[Row]:
    for _, line in lines(file):
        yield json.loads(line)


def _key(id: str) -> int:
    # 16 hexadecimal digits are the eight bytes of an entry of the array.
    return int(digest_of(id)[-16:], 16)


def _shard_name(number: int, data: bytes) -> str:
    # Half of the digest tells a damaged file as well.
    return f"{number:05d}.{digest_of(data).removeprefix('sha256:')[:32]}.jsonl"


def _json(value: object) -> bytes:
    """One line in UTF-8, where half of a surrogate pair stands as JSON escapes it."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    return line.encode(errors="backslashreplace")


def _short(value: object) -> str:
    return "absent" if value is None else printable(json.dumps(value, ensure_ascii=False))
