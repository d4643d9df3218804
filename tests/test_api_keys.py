"""No file that one was given sends a key anywhere but to the service that it belongs to, unless the user allows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from endpoint import Endpoint, chat
from hub_client import CANARY
from toys import toml

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.recipe import read_recipe

EXPLAINS = "The passage says what was asked, in so many words, about "


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of the embedded collection; `told` is put behind it."""
    page = read_recipe("data", "mini-explanations").values
    file = tmp_path / "given.toml"
    file.write_text(toml({key: value for key, value in page.items() if key != "teacher"}))
    return file


def with_teacher(recipe: Path, **teacher: object) -> Path:
    recipe.write_text(recipe.read_text() + f"\n[teacher]\n{toml({'part': 'openai', 'model': 'm', **teacher})}")
    return recipe


def explaining() -> object:
    return chat(lambda sent: EXPLAINS + " ".join(sent.split()[-6:]))


def keys_sent(server: Endpoint) -> set[str | None]:
    return {headers["authorization"] for headers in server.headers}


@pytest.mark.parametrize("name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "MY_KEY"])
def test_a_recipe_names_no_key_of_others_and_nothing_is_sent_or_written(
    name: str, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, CANARY)
    with explaining() as server:
        with_teacher(recipe, base_url=server.url, api_key_env=name)
        build = ["data", "build", str(recipe), "--to", str(tmp_path / "work"), "--replies", str(tmp_path / "r")]
        assert main([*build, "--limit", "2"]) == 2
        said = capsys.readouterr().err
        assert f"would send the key {name} to 127.0.0.1" in said and f"--key-env {name}" in said and CANARY not in said
        assert server.headers == [] and not (tmp_path / "work").exists()
        # Another name allows nothing; this one does, for this call alone.
        assert main([*build, "--limit", "2", "--key-env", "ANOTHER"]) == 2
        assert main([*build, "--limit", "2", "--key-env", name]) == 0
        assert keys_sent(server) == {f"Bearer {CANARY}"} and not os.environ.get("EXABENCH_KEY_ENV")
        assert main([*build, "--limit", "2"]) == 2
    assert CANARY not in capsys.readouterr().err


def test_the_usual_key_goes_to_openai_alone(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with explaining() as server:
        with_teacher(recipe, base_url=server.url)
        build = ["data", "build", str(recipe), "--to", str(tmp_path / "work"), "--replies", str(tmp_path / "r")]
        assert main([*build, "--limit", "2"]) == 0
        assert keys_sent(server) == {"Bearer none"}
        # What is said on the command line is the user's own word.
        told = f'teacher={{part="openai",model="m",base_url="{server.url}",api_key_env="OPENAI_API_KEY"}}'
        other = ["data", "build", "mini-explanations", "--set", told, "--to", str(tmp_path / "other")]
        assert main([*other, "--replies", str(tmp_path / "s"), "--limit", "2"]) == 0
        assert keys_sent(server) == {"Bearer none", f"Bearer {CANARY}"}


@pytest.mark.parametrize(
    ("url", "name", "holds"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY", True),
        ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", True),
        ("https://openrouter.ai/api/v1", "OPENAI_API_KEY", False),
        ("https://api.openai.com.evil.example/v1", "OPENAI_API_KEY", False),
        ("https://evil.example/api.openai.com", "OPENAI_API_KEY", False),
    ],
)
def test_a_known_service_gets_its_own_key(
    url: str, name: str, holds: bool, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_teacher(recipe, base_url=url, api_key_env=name)
    assert main(["data", "show", str(recipe)]) == (0 if holds else 2)
    assert holds or f"would send the key {name}" in capsys.readouterr().err


def test_a_reranker_inside_a_recipe_is_held_to_the_same_rule(recipe: Path) -> None:
    recipe.write_text(
        'builder = "scored"\ndataset = "d"\ntable = "t"\nlicence = "cc0-1.0"\n[options]\ntask = "mini"\n'
        'queries = "given"\nretrievers = { bm25 = "bm25" }\n[options.reranker]\npart = "endpoint"\nmodel = "m"\n'
        'endpoint = "http://127.0.0.1:9/v1"\napi_key_env = "HF_TOKEN"\n'
    )
    with pytest.raises(BadInput, match="would send the key HF_TOKEN to 127.0.0.1"):
        exabench.build(recipe, recipe.parent / "work")
    assert not (recipe.parent / "work").exists()
