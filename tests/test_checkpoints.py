"""A checkpoint is whole or not there, comes back bit for bit, and nothing in the package can open a pickle."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import pickle
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers.optimization import Adafactor

from exabench.errors import BadInput, CannotWrite
from exabench.files import digest_of, only_writer
from exabench.training.checkpoints import Checkpoint, load_newest, optimiser_tensors, restore_optimiser, save

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
    return save(folder, step, tensors_of(step), STATE | {"at": step}, fingerprint=RECIPE, **more)


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
    odd = {"many": many, "turned": many.T, "none": many[:0], "one": many[0, 0], "ones": torch.ones(3, dtype=torch.int8)}
    if dtype.is_floating_point:
        odd["strange"] = torch.tensor([float("nan"), float("inf"), -0.0, torch.finfo(dtype).tiny / 2], dtype=dtype)
    path = save(tmp_path, 1, {"model": odd}, {}, fingerprint=RECIPE)
    found = newest(tmp_path).tensors["model"]
    assert set(found) == set(odd) and all(same_bits(found[name], each) for name, each in odd.items())
    read_by_the_library = load_file(path / "model.safetensors")
    assert all(same_bits(read_by_the_library[name], each) for name, each in odd.items())


def test_a_type_that_is_not_stored_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"complex64 are not stored .*\(id 'wave'\)"):
        save(tmp_path, 1, {"model": {"wave": torch.zeros(2, dtype=torch.complex64)}}, {}, fingerprint=RECIPE)
    assert names_in(tmp_path) == []


def test_tied_tensors_are_stored_once_and_come_back_under_every_name(tmp_path):
    shared = torch.randn(100, 8)
    path = save(
        tmp_path, 1, {"model": {"z": shared, "a": shared, "row": shared[0], "view": shared.T}}, {}, fingerprint=RECIPE
    )
    assert set(load_file(path / "model.safetensors")) == {"a", "row", "view"}  # a view of another shape has its bytes
    found = newest(tmp_path).tensors["model"]
    assert found["a"] is found["z"] and same_bits(found["z"], shared)
    assert same_bits(found["row"], shared[0]) and same_bits(found["view"], shared.T)


def test_the_same_state_makes_the_same_bytes(tmp_path):
    one, other = saved(tmp_path / "one", 3), saved(tmp_path / "other", 3)
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, float("nan"), {"x"}, b"bytes"], ids=str)
def test_a_state_that_json_would_change_is_refused_before_anything_stands(tmp_path, value):
    with pytest.raises((ValueError, TypeError)):
        save(tmp_path, 1, tensors_of(1), {"key": value}, fingerprint=RECIPE)
    assert names_in(tmp_path) == []


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
    "adafactor, its own rate": lambda groups: Adafactor(groups, beta1=0.9, warmup_init=True),
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
    parameters = dict(model.named_parameters())
    biases = [each for name, each in parameters.items() if "bias" in name]
    weights = [each for name, each in parameters.items() if "bias" not in name]
    return model, OPTIMISERS[kind]([{"params": weights}, {"params": biases, "weight_decay": 0.0}])


def learn(model: Toy, optimiser: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimiser.param_groups[0]["lr"] = None if optimiser.param_groups[0]["lr"] is None else 0.01 / (step + 1)
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
    state, plain = optimiser_tensors(optimiser, dict(first.named_parameters()))
    save(tmp_path, 3, {"model": first.state_dict(), "optimiser": state}, {"optimiser": plain}, fingerprint=RECIPE)

    second, fresh = started(kind, dtype)
    learn(second, fresh, range(7, 9))  # something else was there before
    found = newest(tmp_path)
    second.load_state_dict(found.tensors["model"])
    parameters = dict(second.named_parameters())
    restore_optimiser(fresh, parameters, found.tensors["optimiser"], found.state["optimiser"])
    shutil.rmtree(found.path)  # nothing of it is needed any more
    again, plain_again = optimiser_tensors(fresh, parameters)
    assert plain_again == plain and set(again) == set(state) and all(same_bits(again[n], state[n]) for n in state)
    assert [group["weight_decay"] for group in fresh.param_groups][1] == 0.0
    learn(second, fresh, range(3, 5))
    for name, each in whole.state_dict().items():
        assert same_bits(second.state_dict()[name], each), name
    assert second.outer.weight is second.inner.weight


def test_options_that_were_tuples_are_tuples_again():
    model, optimiser = started("adafactor", torch.float32)
    names = dict(model.named_parameters())
    tensors, plain = optimiser_tensors(optimiser, names)
    restore_optimiser(optimiser, names, tensors, json.loads(json.dumps(plain)))
    assert optimiser.param_groups[0]["eps"] == (1e-30, 1e-3) and not optimiser.state


def test_an_optimiser_of_other_parameters_is_refused():
    model, optimiser = started("adamw", torch.float32)
    names = dict(model.named_parameters())
    tensors, plain = optimiser_tensors(optimiser, names)
    one_group = torch.optim.AdamW(model.parameters())
    with pytest.raises(BadInput, match="has other parameters or groups than this one"):
        restore_optimiser(one_group, names, tensors, plain)
    with pytest.raises(BadInput, match="a parameter that the model has no name for"):
        optimiser_tensors(optimiser, {"unused": model.unused})


# Which are kept


def test_the_newest_are_kept_and_the_protected_ones_always(tmp_path):
    for step in range(1, 7):
        saved(tmp_path, step, keep=2, protect=[2])
    assert names_in(tmp_path) == ["step-000002", "step-000005", "step-000006"]
    saved(tmp_path, 1_000_000, keep=1)
    assert names_in(tmp_path) == ["step-1000000"]
    with pytest.raises(BadInput, match="keep at least 1"):
        saved(tmp_path, 1_000_001, keep=0)


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
    assert is_step(found, 2) and len(found.skipped) == 1 and "step-000003/state.json: is missing" in found.skipped[0]
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
        ("state.json", lambda path: b"[]", "must hold aliases, fingerprint, state, step and nothing else"),
        ("state.json", lambda path: state_with(path, more=1), "must hold aliases"),
        ("state.json", lambda path: state_with(path, step=7), r"is of another step than its folder \(7\)"),
        ("state.json", lambda path: state_with(path, step=None), "is of another step than its folder"),
        ("state.json", lambda path: state_with(path, state=[]), "no table for the state"),
        ("state.json", lambda path: state_with(path, fingerprint=3), "no text for the fingerprint"),
        ("state.json", lambda path: state_with(path, aliases={}), "does not name the .safetensors files"),
        (
            "state.json",
            lambda path: state_with(path, aliases={"model": {"x": "y"}, "optimiser": {}}),
            "has aliases of tensors that model.safetensors does not hold",
        ),
        ("state.json", lambda path: b'{"step": NaN}', "is not JSON"),
        ("model.safetensors", lambda path: pickle.dumps(Canary(path.parent / "ran")), "is not a safetensors file"),
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


def test_a_file_that_no_digest_knows_is_named(tmp_path):
    saved(tmp_path, 1)
    (saved(tmp_path, 2) / "more.json").write_text("{}")
    assert "step-000002/more.json: is not in digests.json" in newest(tmp_path).skipped[0]


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


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_in_the_package_can_open_a_pickle(file):
    assert not list(pickling(file.read_text(encoding="utf-8")))


# A kill and a full disk at every call to the system

CALLS = [(os, name) for name in ("mkdir", "open", "fsync", "chmod", "replace", "rename", "unlink", "rmdir")]


class Faults:
    """Counts the calls to the system that write something and lets `fault` happen at number `at`."""

    def __init__(self, patch: pytest.MonkeyPatch, fault: Callable[[], None], at: int, *, removing: bool = True) -> None:
        self.count, self.at, self.fault = 0, at, fault
        for module, name in [*CALLS, (tempfile, "mkstemp")]:
            if removing or name not in ("open", "unlink", "rmdir"):  # `open`: only folders, and what mkstemp makes
                patch.setattr(module, name, self._counted(getattr(module, name)))
        faults = self

        class File(io.FileIO):
            """Half of what is written when the fault comes is in the file."""

            def write(self, data: Any) -> int:
                if faults.count + 1 == faults.at:
                    super().write(data[: len(data) // 2])
                faults.happens()
                return super().write(data)

        patch.setattr(os, "fdopen", lambda descriptor, _mode: io.BufferedWriter(File(descriptor, "wb")))

    def happens(self) -> None:
        self.count += 1
        if self.count == self.at:
            self.fault()

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if call.__name__ != "mkdir" or not Path(args[0]).exists():  # making what is there makes nothing
                self.happens()
            return call(*args, **kwargs)

        return counted


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def calls_of_a_save(folder: Path, step: int, *, removing: bool = True) -> int:
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(patch, lambda: None, 0, removing=removing)
        saved(folder, step)
    return faults.count


def killed_at(folder: Path, step: int, at: int) -> None:
    """Save in a process that is killed at its call number `at`."""
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            Faults(patch, kill, at)
            saved(folder, step)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, f"call {at} never came"


@pytest.mark.parametrize("before", [[], [1, 2], [1, 2, 3]], ids=str)
def test_a_kill_at_any_call_leaves_the_one_before_or_the_new_one(tmp_path, before):
    """[1, 2]: the save removes step 1. [1, 2, 3]: step 3 is there, is damaged, and is saved again."""
    new = 3

    for step in before:
        saved(tmp_path / "before", step, keep=9)
    if new in before:
        cut(tmp_path / "before" / "step-000003" / "model.safetensors")
    last = max((step for step in before if step != new), default=None)

    def prepared(name: str) -> Path:
        folder = tmp_path / name / "checkpoints"
        folder.parent.mkdir()
        if before:
            shutil.copytree(tmp_path / "before", folder)
        return folder

    calls = calls_of_a_save(prepared("counted"), new)
    assert calls > 25
    outcomes = set()
    for at in range(1, calls + 1):
        folder = prepared(f"at {at}")
        killed_at(folder, new, at)
        found = load_newest(folder, RECIPE)
        assert is_step(found, new) or is_step(found, last) if found else last is None, f"call {at}"
        outcomes.add(found and found.step)
        with only_writer(folder.parent), only_writer(folder):
            saved(folder, new)  # a left folder is in nobody's way
        assert is_step(newest(folder), new) and newest(folder).skipped == ()
        assert [name for name in names_in(folder) if not name.startswith("step-")] == []
    assert outcomes == {last, new}


def test_a_full_disk_at_any_call_is_one_line_and_leaves_the_ones_before(tmp_path):
    for step in (1, 2):
        saved(tmp_path / "before", step)
    shutil.copytree(tmp_path / "before", tmp_path / "counted")
    calls = calls_of_a_save(tmp_path / "counted", 3, removing=False)
    unharmed = 0
    for at in range(1, calls + 1):
        folder = tmp_path / f"at {at}"
        shutil.copytree(tmp_path / "before", folder)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(CannotWrite) as caught:
            Faults(patch, no_space, at, removing=False)
            saved(folder, 3)
        assert "the disk is full: make room and run again" in str(caught.value) and "\n" not in str(caught.value)
        assert all(name.startswith("step-") for name in names_in(folder)), f"call {at} left litter"
        for step in (1, 2):  # not only the newest: every one is as it was
            for name in FILES:
                file = f"step-{step:06d}/{name}"
                assert (folder / file).read_bytes() == (tmp_path / "before" / file).read_bytes()
        found = newest(folder)
        assert is_step(found, 2) or is_step(found, 3)
        unharmed += found.step == 2
        saved(folder, 3)  # once there is room, it goes through
        assert is_step(newest(folder), 3) and names_in(folder) == ["step-000002", "step-000003"]
    assert unharmed == 23  # folder, five calls for each of four files, sync and rename; the rest comes after it


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    def interrupt() -> None:
        raise KeyboardInterrupt

    saved(tmp_path, 1)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Faults(patch, interrupt, 12, removing=False)
        saved(tmp_path, 2)
    assert names_in(tmp_path) == ["step-000001"]


def test_a_file_in_the_way_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(CannotWrite, match="cannot be written"):
        saved(tmp_path / "checkpoints", 1)
