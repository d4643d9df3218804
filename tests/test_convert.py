"""What cannot be converted is refused in one line, before anything is unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path

import hostile
import pytest
from models import classifier_folder

import exabench
from exabench.core.errors import BadInput


def test_a_folder_without_pickles_or_a_sandbox_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = classifier_folder(tmp_path / "m")
    with pytest.raises(BadInput, match="has no pytorch_model.bin to convert, or safetensors next to it"):
        exabench.convert(folder, tmp_path / "new")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(hostile.Payload()))
    with pytest.raises(BadInput, match="exists; name a new folder with --to"):
        exabench.convert(folder, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(BadInput, match="no-sandbox: bwrap is missing"):
        exabench.convert(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists() and not hostile.CANARY.exists()
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../elsewhere.bin"}}')
    with pytest.raises(BadInput, match="names the shard '../elsewhere.bin', which is not in the folder"):
        exabench.convert(folder, tmp_path / "new")
