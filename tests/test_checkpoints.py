"""A checkpoint is whole or not there, comes back bit for bit, and nothing in the package can open a pickle."""

from __future__ import annotations

import ast
import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fits
import pytest
import torch
from safetensors.torch import load_file
from transformers.optimization import Adafactor

from exabench.core.errors import BadInput, CannotWrite
from exabench.core.files import digest_of, only_writer
from exabench.training.checkpoints import Checkpoint, load_newest, optimiser_state, restore_optimiser, save_checkpoint

PACKAGE = Path(__file__).parents[1] / "exabench"
RECIPE = digest_of("a recipe")
STATE = {
    "best": {"step": 2, "value": 0.1 + 0.2},
    "rates": [1e-5, 2.5e-324, 1 / 3],
    "curve": 7,
    "note": "é",
    "none": None,
}
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


def is_step(found: Checkpoint, step: int) -> bool:
    """Whether a checkpoint is that of `saved(folder, step)`, to the last bit."""
    wanted = tensors_of(step)
    return (
        (found.step, found.fingerprint, found.state) == (step, RECIPE, STATE | {"at": step})
        and {file: set(inner) for file, inner in found.tensors.items()}
        == {f: set(inner) for f, inner in wanted.items()}
        and all(same_bits(found.tensors[f][name], each) for f, inner in wanted.items() for name, each in inner.items())
    )


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What is saved comes back


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    path = saved(tmp_path / "checkpoints", 100)
    assert path == tmp_path / "checkpoints" / "step-000100" and tuple(names_in(path)) == FILES
    found = newest(tmp_path / "checkpoints")
    assert is_step(found, 100) and found.path == path and found.skipped == ()


def test_there_is_none_before_the_first(tmp_path):
    assert load_newest(tmp_path / "not there", RECIPE) is None
    assert load_newest(tmp_path, RECIPE) is None


@pytest.mark.parametrize(
    "dtype",
    [*(torch.float64, torch.float32, torch.float16, torch.bfloat16), *(torch.int64, torch.uint8, torch.bool)],
    ids=str,
)
def test_every_type_keeps_its_bits(tmp_path, dtype):
    made = torch.Generator().manual_seed(0)
    many = torch.randint(0, 2, (7, 4), generator=made).to(dtype) / (1 if not dtype.is_floating_point else 3)
    many = many.to(dtype)
    odd = {"many": many, "turned": many.clone().T, "none": many[:0].clone(), "one": many[0, 0].clone()}
    if dtype.is_floating_point:
        odd["strange"] = torch.tensor([float("nan"), float("inf"), -0.0, torch.finfo(dtype).tiny / 2], dtype=dtype)
    path = save_checkpoint(tmp_path, 1, {"model": odd}, {}, fingerprint=RECIPE)
    found = newest(tmp_path).tensors["model"]
    assert set(found) == set(odd) and all(same_bits(found[name], each) for name, each in odd.items())
    read_by_the_library = load_file(path / "model.safetensors")
    assert all(same_bits(read_by_the_library[name], each) for name, each in odd.items())


def test_tied_tensors_are_stored_once_and_come_back_under_every_name(tmp_path):
    shared = torch.randn(100, 8)
    path = save_checkpoint(
        tmp_path, 1, {"model": {"z": shared, "a": shared, "b": shared.clone()}}, {}, fingerprint=RECIPE
    )
    assert set(load_file(path / "model.safetensors")) == {"a", "b"}
    found = newest(tmp_path).tensors["model"]
    assert found["a"] is found["z"] and same_bits(found["z"], shared)


def test_the_same_state_makes_the_same_bytes(tmp_path):
    one, other = saved(tmp_path / "one", 3), saved(tmp_path / "other", 3)
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


def test_learning_on_from_what_was_loaded_does_not_touch_the_files(tmp_path):
    path = saved(tmp_path, 1)
    before = (path / "model.safetensors").read_bytes()
    for each in newest(tmp_path).tensors["model"].values():
        each.add_(1.0)
    assert (path / "model.safetensors").read_bytes() == before


# Learning goes on as if nothing had happened

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.1, betas=(0.9, 0.98)),
    "adamw, amsgrad, one by one": lambda groups: torch.optim.AdamW(groups, lr=1e-2, amsgrad=True, foreach=False),
    "adafactor": lambda groups: Adafactor(groups, lr=1e-2, scale_parameter=False, relative_step=False),
    "adafactor, with momentum": lambda groups: Adafactor(
        groups, lr=1e-2, beta1=0.9, scale_parameter=False, relative_step=False
    ),
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
    save_checkpoint(tmp_path, 3, tensors, {"optimiser": plain}, fingerprint=RECIPE)

    second, fresh = started(kind, dtype)
    learn(second, fresh, range(7, 9))  # something else was there before
    found = newest(tmp_path)
    second.load_state_dict(found.tensors["model"])
    parameters = dict(second.named_parameters())
    moments, numbers = found.tensors["optimiser"], found.state["optimiser"]
    restore_optimiser(fresh, parameters, moments, numbers, lambda whole, like: whole)
    shutil.rmtree(found.path)  # nothing of it is needed any more
    again, plain_again = optimiser_state(fresh, parameters)
    assert plain_again == plain and set(again) == set(state) and all(same_bits(again[n], state[n]) for n in state)
    learn(second, fresh, range(3, 5))
    for name, each in whole.state_dict().items():
        assert same_bits(second.state_dict()[name], each), name
    assert second.outer.weight is second.inner.weight


# Which are kept


def test_the_newest_are_kept_and_the_protected_ones_always(tmp_path):
    for step in range(1, 7):
        saved(tmp_path, step, keep=2, protect=2)
    assert names_in(tmp_path) == ["step-000002", "step-000005", "step-000006"]
    saved(tmp_path, 1_000_000, keep=1)
    assert names_in(tmp_path) == ["step-1000000"]


def test_steps_are_ordered_as_numbers(tmp_path):
    saved(tmp_path, 999_999)
    saved(tmp_path, 1_000_000)
    assert newest(tmp_path).step == 1_000_000


def test_damaged_later_ones_neither_count_nor_stay_when_their_step_comes_again(tmp_path):
    for step in (1, 2, 3):
        saved(tmp_path, step, keep=3)
    for step in (2, 3):
        (tmp_path / f"step-{step:06d}" / "state.json").unlink()
    assert newest(tmp_path).step == 1
    saved(tmp_path, 2, keep=2)  # the run goes on from 1
    found = newest(tmp_path)
    assert (
        is_step(found, 2) and len(found.skipped) == 1 and "step-000003/state.json: cannot be read" in found.skipped[0]
    )
    assert names_in(tmp_path) == ["step-000001", "step-000002", "step-000003"]
    saved(tmp_path, 3, keep=2)
    assert newest(tmp_path).skipped == () and is_step(newest(tmp_path), 3)


# Damage is named


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["first byte", "middle", "last byte"])
def test_a_flipped_bit_is_skipped_and_named(tmp_path, name, place):
    saved(tmp_path, 1)
    file = saved(tmp_path, 2) / name
    data = bytearray(file.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    file.write_bytes(data)
    found = newest(tmp_path)
    assert is_step(found, 1)
    assert len(found.skipped) == 1 and name in found.skipped[0] and "step-000002" in found.skipped[0]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])  # the last byte of a JSON file is an end of line, which nobody misses


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut, emptied, Path.unlink], ids=["cut", "emptied", "gone"])
def test_a_torn_file_is_skipped_and_named(tmp_path, name, damage):
    saved(tmp_path, 1)
    damage(saved(tmp_path, 2) / name)
    found = newest(tmp_path)
    assert is_step(found, 1) and len(found.skipped) == 1 and f"step-000002/{name}:" in found.skipped[0]
    assert "\n" not in found.skipped[0]


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


def state_with(path: Path, **changes: Any) -> bytes:
    return json.dumps(json.loads((path / "state.json").read_text()) | changes).encode()


@pytest.mark.parametrize(
    "name, change, says",
    [
        ("state.json", lambda path: b"[]", "state.json: is wrong: Expected `object`, got `array`"),
        ("state.json", lambda path: state_with(path, more=1), "unknown key 'more'; its keys: aliases, "),
        ("state.json", lambda path: state_with(path, format=1), "format: invalid enum value 1"),  # as version 0.1
        ("state.json", lambda path: state_with(path, state=[]), "state: expected `object`"),
        ("state.json", lambda path: state_with(path, fingerprint=3), "fingerprint: expected `str`"),
        (
            "state.json",
            lambda path: state_with(path, aliases={"model": {"x": "y"}, "optimiser": {}}),
            "model.safetensors: does not hold the tensors of a run",
        ),
        ("state.json", lambda path: b'{"step": NaN}', "is not JSON"),
        ("model.safetensors", lambda path: pickle.dumps(Canary(path.parent / "ran")), "does not hold the tensors"),
        ("extra.json", lambda path: b"{}", None),
    ],
)
def test_a_whole_file_of_the_wrong_content_is_skipped_and_named(tmp_path, name, change, says):
    saved(tmp_path, 1)
    path = saved(tmp_path, 2)
    rewritten(path, name, change(path))
    found = newest(tmp_path)
    assert not (tmp_path / "ran").exists()
    if says is None:  # a file more whose digest is right harms nobody
        assert found.step == 2
    else:
        assert is_step(found, 1)
        with pytest.raises(BadInput, match=says):
            raise BadInput(found.skipped[0])


@pytest.mark.parametrize("digests", ["[]", "{}", '{"state.json": 3}', '{"../x": "y"}', '{"state.json": {"a": []}}'])
def test_digests_that_are_none_are_skipped_and_named(tmp_path, digests):
    saved(tmp_path, 1)
    (saved(tmp_path, 2) / "digests.json").write_text(digests)
    found = newest(tmp_path)
    assert is_step(found, 1) and "step-000002" in found.skipped[0]


def test_where_none_is_whole_nobody_starts_anew_by_accident(tmp_path):
    cut(saved(tmp_path, 1) / "state.json")
    with pytest.raises(BadInput, match=r"holds no whole checkpoint \(.*step-000001/state.json: is damaged.*start anew"):
        load_newest(tmp_path, RECIPE)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    saved(tmp_path, 1)
    with pytest.raises(BadInput, match=r"step-000001: is of another recipe \(sha256:.*give each a folder"):
        load_newest(tmp_path, digest_of("another recipe"))


# No pickle


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "state.pkl", "weights.ckpt", "notes", ".hidden.pkl"])
@pytest.mark.parametrize("where", [".", "step-000001", "step-000002", "step-000002/deep", "other"])
def test_a_pickle_is_refused_by_name_wherever_it_lies(tmp_path, name, where):
    saved(tmp_path, 1)
    saved(tmp_path, 2)
    (tmp_path / where).mkdir(exist_ok=True)
    (tmp_path / where / name).write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    with pytest.raises(BadInput, match=f"{name}: is neither safetensors nor JSON and may hold code"):
        load_newest(tmp_path, RECIPE)
    assert not (tmp_path / "ran").exists()


def test_neither_saving_nor_loading_asks_for_a_pickle(tmp_path, monkeypatch):
    def never(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a pickle was asked for")

    for module, name in [(pickle, "load"), (pickle, "loads"), (pickle, "dump"), (pickle, "dumps")]:
        monkeypatch.setattr(module, name, never)
    for name in ("load", "save"):
        monkeypatch.setattr(torch, name, never)
    saved(tmp_path, 1)
    assert is_step(newest(tmp_path), 1)


PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def pickling(source: str) -> Iterator[str]:
    """Every import of a module that reads pickles, and every call that may read or write one."""
    tree = ast.parse(source)
    called: dict[str, str] = {}  # a name in the file and what it stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            called |= {each.asname or each.name.split(".")[0]: each.asname and each.name or "" for each in node.names}
            yield from (each.name for each in node.names if each.name.split(".")[0] in PICKLES)
        elif isinstance(node, ast.ImportFrom):
            called |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
            if (node.module or "").split(".")[0] in PICKLES:
                yield f"from {node.module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call | ast.Attribute | ast.Name):
            where = node.func if isinstance(node, ast.Call) else node
            first, _, rest = ast.unparse(where).partition(".")
            name = ".".join(filter(None, [called.get(first) or first, rest]))
            if name in {"torch.load", "torch.save", "torch.serialization.load", "torch.serialization.save"}:
                yield name
            if isinstance(node, ast.Call) and name in {"__import__", "importlib.import_module"}:
                yield from (each.value for each in node.args[:1] if getattr(each, "value", None) in PICKLES)
            if isinstance(node, ast.Call) and name in {"numpy.load", "numpy.save"}:
                allowed = [each.value for each in node.keywords if each.arg in ("allow_pickle", None)]
                if any(not (isinstance(each, ast.Constant) and each.value is False) for each in allowed):
                    yield f"{name} with allow_pickle"


@pytest.mark.parametrize(
    "source",
    [
        *(
            "import pickle",
            "import pickle as p",
            "from pickle import loads",
            "import os, dill",
            "from joblib import load",
        ),
        *("import torch\ntorch.load('x')", "import torch as t\nt.save(1, 'x')", "from torch import load\nload('x')"),
        *("import torch\nread = torch.load", "from torch import load as read\nread('x')"),
        *("import numpy as np\nnp.load('x', allow_pickle=True)", "import numpy\nnumpy.load('x', allow_pickle=flag)"),
        *("import numpy as np\nnp.load('x', **options)", "def f():\n    import pickle", "__import__('pickle')"),
        "import importlib\nimportlib.import_module('pickle')",
    ],
)
def test_the_search_for_pickles_finds_them(source):
    assert list(pickling(source))


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "import numpy\nnumpy.load('x')",
        "import json\njson.load(x)",
    ],
)
def test_the_search_for_pickles_finds_nothing_else(source):
    assert not list(pickling(source))


def test_nothing_in_the_package_can_open_a_pickle():
    for file in sorted(PACKAGE.rglob("*.py")):
        assert not list(pickling(file.read_text(encoding="utf-8"))), file


# A kill and a full disk


def test_a_kill_at_any_file_leaves_the_checkpoint_before_it_or_the_new_one(tmp_path):
    """Step 3 is there and damaged; it is saved again."""
    for step in (1, 2, 3):
        saved(tmp_path / "before", step, keep=9)
    cut(tmp_path / "before" / "step-000003" / "model.safetensors")
    found = []
    for number in range(1, 99):
        folder = tmp_path / str(number) / "checkpoints"
        shutil.copytree(tmp_path / "before", folder)
        child = os.fork()
        if child == 0:
            os.fsync = fits.at_sync(number, fits.kill)
            saved(folder, 3)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
        with only_writer(folder.parent):
            found.append(newest(folder).step)
            assert is_step(newest(folder), found[-1])
            saved(folder, 3)
        assert is_step(newest(folder), 3) and names_in(folder) == ["step-000002", "step-000003"]
    assert len(found) >= 8 and set(found) == {2, 3}


def test_a_full_disk_is_one_line_and_leaves_the_checkpoints_before_it(tmp_path, monkeypatch):
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    saved(tmp_path, 1)
    with monkeypatch.context() as patch, pytest.raises(CannotWrite, match="the disk is full: make room") as error:
        patch.setattr(os, "fsync", fits.at_sync(3, full))
        saved(tmp_path, 2)
    assert "\n" not in str(error.value) and names_in(tmp_path) == ["step-000001"]
    assert is_step(newest(tmp_path), 1)


def test_a_file_in_the_way_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(CannotWrite, match="cannot be written"):
        saved(tmp_path / "checkpoints", 1)
