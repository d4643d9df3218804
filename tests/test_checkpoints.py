"""A checkpoint is whole or not there, comes back bit for bit, and nothing in the package can open a pickle."""

from __future__ import annotations

import ast
import json
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import full_disk_at_each_call, killed_at_each_call
from safetensors.torch import load_file
from toys import contents
from transformers.optimization import Adafactor

from exabench.core.errors import BadInput, CannotWrite
from exabench.core.files import digest_of, only_writer
from exabench.training.checkpoints import Checkpoint, load_newest, optimiser_state, restore_optimiser, save_checkpoint

PACKAGE = Path(__file__).parents[1] / "exabench"
RECIPE = digest_of("a recipe")
STATE = {"best": {"step": 2, "value": 0.1 + 0.2}, "rates": [1e-5, 2.5e-324, 1 / 3], "note": "é", "none": None}
FILES = ("digests.json", "model.safetensors", "optimiser.safetensors", "state.json")


def tensors_of(step: int) -> dict[str, dict[str, torch.Tensor]]:
    made = torch.Generator().manual_seed(step)
    draw = {name: torch.randn(3, 5, generator=made) for name in ("a.weight", "b.weight", "c")}
    return {"model": draw, "optimiser": {"a.weight/step": torch.tensor(float(step))}}


def saved(folder: Path, step: int, **more: Any) -> Path:
    return save_checkpoint(folder, step, tensors_of(step), STATE | {"at": step}, fingerprint=RECIPE, **more)


def newest(folder: Path) -> Checkpoint:
    found = load_newest(folder, RECIPE)
    assert found is not None
    return found


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    def raw(tensor: torch.Tensor) -> bytes:
        return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()

    return one.dtype == other.dtype and one.shape == other.shape and raw(one) == raw(other)


def all_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(same_bits(one[name], other[name]) for name in other)


def is_step(found: Checkpoint, step: int) -> bool:
    """Whether a checkpoint is that of `saved(folder, step)`, to the last bit."""
    wanted = tensors_of(step)
    if (found.step, found.fingerprint, found.state) != (step, RECIPE, STATE | {"at": step}):
        return False
    return found.tensors.keys() == wanted.keys() and all(all_same(found.tensors[f], wanted[f]) for f in wanted)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_comes_back_as_it_was_and_is_the_same_bytes_each_time(tmp_path):
    assert load_newest(tmp_path / "not there", RECIPE) is load_newest(tmp_path, RECIPE) is None
    path = saved(tmp_path / "checkpoints", 100)
    assert path == tmp_path / "checkpoints" / "step-000100" and tuple(names_in(path)) == FILES
    found = newest(tmp_path / "checkpoints")
    assert is_step(found, 100) and found.skipped == ()
    before = contents(path)
    assert contents(saved(tmp_path / "other", 100)) == before
    for each in found.tensors["model"].values():
        each.add_(1.0)  # learning on from what was loaded does not touch the files
    assert contents(path) == before


@pytest.mark.parametrize(
    "dtype",
    [*(torch.float64, torch.float32, torch.float16, torch.bfloat16), *(torch.int64, torch.uint8, torch.bool)],
    ids=str,
)
def test_every_type_keeps_its_bits(tmp_path, dtype):
    made = torch.Generator().manual_seed(0)
    many = torch.randint(0, 2, (7, 4), generator=made).to(dtype)
    odd = {"turned": many.clone().T, "none": many[:0].clone(), "one": many[0, 0].clone()}
    if dtype.is_floating_point:
        odd["many"] = many / 3
        odd["strange"] = torch.tensor([float("nan"), float("inf"), -0.0, torch.finfo(dtype).tiny / 2], dtype=dtype)
    path = save_checkpoint(tmp_path, 1, {"model": odd}, {}, fingerprint=RECIPE)
    for found in (newest(tmp_path).tensors["model"], load_file(path / "model.safetensors")):
        assert all_same(found, odd)


def test_tied_tensors_are_stored_once_and_come_back_under_every_name(tmp_path):
    shared = torch.randn(100, 8)
    tensors = {"model": {"z": shared, "a": shared, "b": shared.clone()}}
    path = save_checkpoint(tmp_path, 1, tensors, {}, fingerprint=RECIPE)
    assert set(load_file(path / "model.safetensors")) == {"a", "b"}
    found = newest(tmp_path).tensors["model"]
    assert found["a"] is found["z"] and same_bits(found["z"], shared)


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.1, betas=(0.9, 0.98)),
    "adafactor": lambda groups: Adafactor(groups, lr=1e-2, beta1=0.9, scale_parameter=False, relative_step=False),
}


class Toy(torch.nn.Module):
    """Two layers, one tied to the first, and a parameter that no gradient reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)
        self.outer.weight = self.inner.weight
        self.unused = torch.nn.Parameter(torch.ones(3))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(numbers)))


def started(kind: str, dtype: torch.dtype) -> tuple[Toy, torch.optim.Optimizer]:
    torch.manual_seed(4)
    model = Toy().to(dtype)
    return model, OPTIMISERS[kind](model.parameters())


def learn(model: Toy, optimiser: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimiser.param_groups[0]["lr"] = 0.01 / (step + 1)
        numbers = torch.randn(4, 6, generator=torch.Generator().manual_seed(step)).to(model.unused.dtype)
        optimiser.zero_grad()
        model(numbers).float().square().sum().backward()
        optimiser.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", OPTIMISERS)
def test_five_steps_are_three_steps_a_checkpoint_and_two_steps(tmp_path, kind, dtype):
    whole, its_optimiser = started(kind, dtype)
    learn(whole, its_optimiser, range(5))

    first, optimiser = started(kind, dtype)
    learn(first, optimiser, range(3))
    state, plain = optimiser_state(optimiser, dict(first.named_parameters()))
    tensors = {"model": first.state_dict(keep_vars=True), "optimiser": state}
    path = save_checkpoint(tmp_path, 3, tensors, {"optimiser": plain}, fingerprint=RECIPE)

    second, fresh = started(kind, dtype)
    learn(second, fresh, range(7, 9))  # something else was there before
    found = newest(tmp_path)
    second.load_state_dict(found.tensors["model"])
    parameters = dict(second.named_parameters())
    moments, numbers = found.tensors["optimiser"], found.state["optimiser"]
    restore_optimiser(fresh, parameters, moments, numbers, lambda whole, like: whole)
    shutil.rmtree(path)  # nothing of it is needed any more
    again, plain_again = optimiser_state(fresh, parameters)
    assert plain_again == plain and all_same(again, state)
    learn(second, fresh, range(3, 5))
    assert all_same(second.state_dict(), whole.state_dict())
    assert second.outer.weight is second.inner.weight


def test_the_newest_are_kept_and_the_protected_ones_always(tmp_path):
    for step in range(1, 7):
        saved(tmp_path, step, keep=2, protect=2)
    assert names_in(tmp_path) == ["step-000002", "step-000005", "step-000006"]
    saved(tmp_path, 999_999)
    saved(tmp_path, 1_000_000, keep=1)  # steps are ordered as numbers
    assert names_in(tmp_path) == ["step-1000000"] and newest(tmp_path).step == 1_000_000


def test_damaged_later_ones_neither_count_nor_stay_when_their_step_comes_again(tmp_path):
    for step in (1, 2, 3):
        saved(tmp_path, step, keep=3)
    for step in (2, 3):
        (tmp_path / f"step-{step:06d}" / "state.json").unlink()
    assert newest(tmp_path).step == 1
    saved(tmp_path, 2, keep=2)  # the run goes on from 1
    found = newest(tmp_path)
    assert is_step(found, 2) and len(found.skipped) == 1
    assert "step-000003/state.json: cannot be read" in found.skipped[0]
    assert names_in(tmp_path) == ["step-000001", "step-000002", "step-000003"]
    saved(tmp_path, 3, keep=2)
    assert newest(tmp_path).skipped == () and is_step(newest(tmp_path), 3)


def flip(file: Path) -> None:
    """One bit in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])  # the last byte of a JSON file is an end of line, which nobody misses


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "gone"])
def test_a_damaged_file_is_skipped_and_named(tmp_path, name, damage):
    saved(tmp_path, 1)
    damage(saved(tmp_path, 2) / name)
    found = newest(tmp_path)
    assert is_step(found, 1) and len(found.skipped) == 1 and "\n" not in found.skipped[0]
    assert "step-000002" in found.skipped[0] and name in found.skipped[0]


def rewritten(path: Path, name: str, data: bytes) -> None:
    """Change a file and its digest: what only somebody who means to can do."""
    (path / name).write_bytes(data)
    digests = json.loads((path / "digests.json").read_text())
    (path / "digests.json").write_text(json.dumps(digests | {name: digest_of(data)}))


class Canary:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"more": 1}, "unknown key 'more'; "),
        ({"format": 1}, "format: invalid enum value 1"),  # as version 0.1
        ({"aliases": {"model": {"x": "y"}, "optimiser": {}}}, "model.safetensors: does not have the tensors of a run"),
        (b"[]", "state.json: is wrong: Expected `object`, got `array`"),
        (b'{"step": NaN}', "is not JSON"),
    ],
)
def test_a_whole_state_of_the_wrong_content_is_skipped_and_named(tmp_path, changes, says):
    saved(tmp_path, 1)
    path = saved(tmp_path, 2)
    data = changes
    if isinstance(changes, dict):
        data = json.dumps(json.loads((path / "state.json").read_text()) | changes).encode()
    rewritten(path, "state.json", data)
    found = newest(tmp_path)
    assert is_step(found, 1) and says in found.skipped[0]


def test_a_pickle_in_place_of_tensors_is_not_opened_and_one_file_more_harms_nobody(tmp_path):
    saved(tmp_path, 1)
    path = saved(tmp_path, 2)
    rewritten(path, "extra.json", b"{}")
    assert newest(tmp_path).step == 2
    rewritten(path, "model.safetensors", pickle.dumps(Canary(tmp_path / "ran")))
    found = newest(tmp_path)
    assert is_step(found, 1) and "does not have the tensors" in found.skipped[0]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("digests", ["[]", "{}", '{"state.json": 3}', '{"../x": "y"}', '{"state.json": {"a": []}}'])
def test_digests_that_are_none_are_skipped_and_named(tmp_path, digests):
    saved(tmp_path, 1)
    (saved(tmp_path, 2) / "digests.json").write_text(digests)
    found = newest(tmp_path)
    assert is_step(found, 1) and "step-000002" in found.skipped[0]


def test_where_none_is_whole_or_the_recipe_is_another_nobody_starts_anew_by_accident(tmp_path):
    path = saved(tmp_path, 1)
    with pytest.raises(BadInput, match=r"step-000001: is of another recipe \(sha256:.*give each its own folder"):
        load_newest(tmp_path, digest_of("another recipe"))
    cut(path / "state.json")
    with pytest.raises(
        BadInput, match=r"has no complete checkpoint \(.*step-000001/state.json: is damaged.*start again"
    ):
        load_newest(tmp_path, RECIPE)


@pytest.mark.parametrize("name", ["model.pt", "step-000002/deep/weights.ckpt", "other/notes", "other/.hidden.pkl"])
def test_a_pickle_is_refused_by_name_wherever_it_lies(tmp_path, name):
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    with pytest.raises(BadInput, match=f"{name}: is neither safetensors nor JSON and may hold code"):
        load_newest(tmp_path, RECIPE)
    assert not (tmp_path / "ran").exists()


MODULES = "pickle|_pickle|cPickle|cloudpickle|dill|joblib|marshal|shelve"
PICKLING = re.compile(
    rf"^\s*(import|from) (.*\W)?({MODULES})(\W|$)|import\w*\(.({MODULES}).\)"
    r"|\btorch\.(load|save|serialization)\b|import torch as|from torch import .*\b(load|save|serialization)\b"
    r"|allow_pickle(?!=False)|\b(np|numpy)\.load\(.*\*",
    re.MULTILINE,
)
"""Every import of a module that reads pickles, and every call that may read or write one."""


def opens_pickles(source: str) -> bool:
    return PICKLING.search(ast.unparse(ast.parse(source))) is not None  # without comments, an import on one line


def test_nothing_in_the_package_but_the_program_of_the_jail_can_open_a_pickle():
    for bad in ("import os, dill", "importlib.import_module('pickle')", "from torch import (\n    nn,\n    load)"):
        assert opens_pickles(bad), bad
    for bad in ("read = torch.load", "import torch as t", "np.load('x', allow_pickle=flag)", "np.load('x', **options)"):
        assert opens_pickles(bad), bad
    for good in ("np.load('x', allow_pickle=False)", "numpy.load('x')", "json.load(x)", "from x import pickles"):
        assert not opens_pickles(good), good
    jailed = PACKAGE / "models" / "pickled.py"
    assert "weights_only=True" in jailed.read_text(encoding="utf-8")
    for file in sorted(PACKAGE.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert file == jailed or not opens_pickles(text), file
        assert "models.pickled" not in text or file == PACKAGE / "bench" / "sandbox" / "_unpickler.py", file


def test_a_kill_at_any_call_leaves_the_checkpoint_before_it_or_the_new_one(tmp_path):
    """Step 3 is there and damaged; it is saved again."""
    before, folder = tmp_path / "before", tmp_path / "run" / "checkpoints"
    for step in (1, 2, 3):
        saved(before, step, keep=9)
    cut(before / "step-000003" / "model.safetensors")
    shutil.copytree(before, folder)
    steps = []
    for _ in killed_at_each_call(lambda: saved(folder, 3)):
        with only_writer(folder.parent):
            found = newest(folder)
            steps.append(found.step)
            assert is_step(found, found.step)
            saved(folder, 3)
        assert is_step(newest(folder), 3) and names_in(folder) == ["step-000002", "step-000003"]
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
    assert len(steps) >= 8 and set(steps) == {2, 3}


def test_a_disk_that_is_full_or_in_the_way_is_one_line_and_leaves_the_checkpoints_before_it(tmp_path):
    saved(tmp_path, 1)
    steps = []
    for _ in full_disk_at_each_call(lambda: saved(tmp_path, 2)):
        found = newest(tmp_path)
        steps.append(found.step)
        assert is_step(found, found.step) and found.skipped == ()
    assert len(steps) > 5 and steps[0] == 1 and is_step(newest(tmp_path), 2)
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot be written"):
        saved(tmp_path / "file", 1)
