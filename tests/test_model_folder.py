"""What a training leaves behind: whole or not there, the same bytes each time, no path in it, a card that is true."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from faults import full_disk_at_each_call, killed_at_each_call
from hub_client import write_release
from huggingface_hub import ModelCard
from hypothesis import given, strategies as st
from models import classifier_folder
from safetensors.torch import save_file
from toys import contents
from trained import RECIPE, write_model

import exabench
from exabench.bench.model_evaluation import evaluate
from exabench.bench.submissions import read_submission
from exabench.core.errors import BadInput
from exabench.core.files import file_digest, json_text
from exabench.core.nouns import Passage, Query
from exabench.core.rows import Release
from exabench.hub import client as hub
from exabench.hub.cards import model_card, model_template
from exabench.training.evaluation import BaselineComparison, CheckResult, check_result_of, correct_p_values
from exabench.training.groups import source_of
from exabench.training.model_folder import card_text, recipe_text
from exabench.training.recipe import Data

OWN = {
    *("README.md", "curves.csv", "manifest.json", "recipe.toml", "submission.toml", "training.json"),
    *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
}


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cross-encoder, as the last step left it."""
    return classifier_folder(tmp_path_factory.mktemp("start") / "weights")


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    made = write_release(tmp_path_factory.mktemp("release"), {"first": ["sky", "sea"]})
    leaks = {"rows": 1, "rate": 0.5, "benchmarks": {"scifact": {"rows": 1, "query text": 1}}}
    tables = {name: dataclasses.replace(table, report={"leaks": leaks}) for name, table in made.tables.items()}
    return dataclasses.replace(made, tables=tables)


def check(task: str, p: float, start: float | None = None) -> CheckResult:
    first = BaselineComparison(0.5, 0.125, (0.05, 0.2), p)
    other = None if start is None else BaselineComparison(0.25, 0.375, (0.3, 0.4), start)
    return CheckResult(task, "bm25-100", 100, "nDCG@10", 20, 0.625, (0.55, 0.7), first, other)


def written(to: Path, weights: Path, release: Release, curves: Path, **changes: Any) -> Path:
    """The model folder of a training that has come to its end."""
    checks = [check("scifact", 0.01, 0.04), check("nfcorpus", 0.02), check("trec-dl-2019", 0.3, 0.0002)]
    correct_p_values(checks)
    about = {
        "name": "local/small",
        "title": "A small cross-encoder",
        "recipe": {**RECIPE, "data": [{"release": "/home/somebody/releases/toy", "table": "first"}]},
        "best": 4,
        "dev": {"metric": "nDCG@10", "source": "16 held-out groups", "values": [(2, 0.5), (4, 1.0)]},
        "checks": [dataclasses.asdict(each) for each in checks],
        "save": lambda folder: shutil.copytree(weights, folder, dirs_exist_ok=True),
    }
    data = [source_of(release, Data(release="owner/toy", table="first"), 2)]
    return write_model(to, curves, data, **{**about, **changes})


@pytest.fixture
def made(start: Path, release: Release, tmp_path: Path) -> Path:
    return written(tmp_path / "model", start, release, tmp_path / "curves.csv")


def test_everything_that_a_model_needs_is_there_and_the_manifest_vouches_for_it(made, tmp_path):
    files = contents(made)
    assert set(files) == OWN
    manifest = json.loads(files["manifest.json"])
    assert manifest["files"] == {name: file_digest(made / name) for name in OWN - {"README.md", "manifest.json"}}
    assert files["curves.csv"] == (tmp_path / "curves.csv").read_bytes()
    training = json.loads(files["training.json"])
    assert training["data"][0]["version"] == "1.0.0" and training["data"][0]["leaks"]["rows"] == 1
    assert training["dev"] == {"metric": "nDCG@10", "source": "16 held-out groups", "values": [[2, 0.5], [4, 1.0]]}
    assert training["base"] == {"model": "owner/start", "revision": "a" * 40, "licence": "mit"}
    assert tomllib.loads(files["recipe.toml"].decode()) == training["recipe"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.csv", "model"]


def test_no_path_of_the_machine_is_left_in_it(start, release, tmp_path):
    weights = shutil.copytree(start, tmp_path / "weights")
    config = json.loads((weights / "config.json").read_text())
    (weights / "config.json").write_text(json.dumps({**config, "_name_or_path": str(tmp_path / "base")}))
    recipe = {**RECIPE, "model": f"{tmp_path}/base", "data": [{"release": "~/toy"}, {"release": "../up/toy"}]}
    options = {"max_length": 128, "lock": str(tmp_path / "lock.json")}
    base = {"model": str(tmp_path / "base"), "revision": "", "licence": ""}
    dev = {"metric": "nDCG@10", "source": "C:\\data\\dev", "values": []}
    changes = {"recipe": recipe, "base": base, "options": options, "dev": dev}
    folder = written(tmp_path / "model", weights, release, tmp_path / "curves.csv", **changes)
    for name, data in contents(folder).items():
        odd = () if name in ("model.safetensors", "tokenizer.json") else ("~/", "../", "C:\\")
        for path in (tmp_path, Path.home(), Path.cwd(), *odd):
            assert str(path).encode() not in data, (name, path)
    training = json.loads((folder / "training.json").read_text())
    assert training["recipe"]["model"] == training["base"]["model"] == "base"
    assert [table["release"] for table in training["recipe"]["data"]] == ["toy", "toy"]
    assert training["options"] == {"max_length": 128, "lock": "lock.json"}
    assert training["data"][0]["repository"] == "owner/toy"  # a Hub id is none


def test_the_submission_is_pinned_by_the_weights_and_not_by_what_is_said_of_them(made):
    submission = read_submission(made / "submission.toml")
    assert (submission.kind, submission.model, submission.training_data) == ("model", ".", ("owner/toy@1.0.0",))
    assert submission.options == {"max_length": 128} and submission.licence == "apache-2.0"
    assert hub.model_folder(str(made), submission.revision).revision == submission.revision
    for name in ("training.json", "manifest.json", "README.md", "submission.toml", "curves.csv"):
        (made / name).write_text("{}")
    assert hub.model_folder(str(made)).revision == submission.revision
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json_text({**config, "hidden_act": "relu"}))
    with pytest.raises(BadInput, match="is not at revision"):
        hub.model_folder(str(made), submission.revision)


def test_a_licence_that_the_submission_cannot_bear_is_said_and_nothing_is_written(start, release, tmp_path):
    with pytest.raises(BadInput, match="licence must be an SPDX identifier"):
        written(tmp_path / "model", start, release, tmp_path / "curves.csv", licence="see the paper")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.csv"]


@pytest.mark.parametrize("name", ["optimizer.pt", "deeper/state.PKL"])
def test_a_pickle_among_the_weights_is_refused(start, release, tmp_path, name):
    weights = shutil.copytree(start, tmp_path / "weights")
    (weights / name).parent.mkdir(exist_ok=True)
    (weights / name).write_bytes(b"anything")
    with pytest.raises(BadInput, match=f"{name} may be a pickle"):
        written(tmp_path / "model", weights, release, tmp_path / "curves.csv")
    assert not (tmp_path / "model").exists()


def test_a_pickle_is_known_by_how_it_begins_and_weights_are_not_taken_for_one(tmp_path):
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.dat")
    (tmp_path / "state").write_bytes(pickle.dumps([1]))
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()
    header = data[8 : 8 + int.from_bytes(data[:8], "little")].ljust(0x0280)  # a length that begins like a pickle
    (tmp_path / "odd.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert hub.pickles(tmp_path) == ["state", "weights.dat"]


def test_a_kill_or_a_full_disk_leaves_the_folder_before_it_or_the_new_one(made, start, release, tmp_path):
    given = (start, release, tmp_path / "curves.csv")
    before, new = contents(made), contents(written(tmp_path / "twin", *given, seed=8))
    stops = []
    for number in full_disk_at_each_call(lambda: written(made, *given, seed=8), numbers=(3,), calls=("fsync",)):
        stops.append(number)
        assert contents(made) == before
    for number in killed_at_each_call(lambda: written(made, *given, seed=8), numbers=(4, 12, 20, 24)):
        stops.append(number)
        there = [path for path in (made, made.with_name(".model.replaced")) if path.exists()]
        assert contents(there[0]) in (before, new)
    assert stops == [3, 4, 12, 20, 24]
    assert contents(written(made, *given, seed=8)) == new
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.csv", "model", "twin"]


def nested(inner: Any) -> Any:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)


NUMBERS = st.integers(-9, 9) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(NUMBERS | st.text(max_size=8), nested, max_leaves=6)


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=5))
def test_a_recipe_is_read_back_as_it_was(values):
    assert tomllib.loads(recipe_text(values)) == values
    assert recipe_text(dict(reversed(values.items()))) == recipe_text(values)


def test_a_check_says_how_much_is_gained_over_the_first_stage_and_over_the_start():
    best, first, worst = (evaluate(name, ["mini"])["mini"] for name in ("oracle", "unchanged", "reversed"))
    found = check_result_of(best, first, {"value": 0.9, "source": "a paper"})
    assert found.value == best[found.metric] and found.interval == best.interval
    assert found.first_stage == found.start  # the start left everything as it was
    assert found.first_stage.difference == pytest.approx(best[found.metric] - first[found.metric])
    assert 0 < found.first_stage.p < 0.05
    lost = check_result_of(worst, best)
    assert lost.start.difference == pytest.approx(worst[found.metric] - best[found.metric])
    assert lost.start.value == best[found.metric]


def card_of(made: Path, *, existing: str = "", name: str = "", **changes: Any) -> str:
    training = json.loads((made / "training.json").read_text())
    return card_text({**training, **changes}, name=name, existing=existing)


def test_the_card_says_what_the_hub_wants_to_know(made):
    text = (made / "README.md").read_text()
    front = ModelCard(text).data
    assert (front.license, front.base_model, front.datasets) == ("apache-2.0", "owner/start", ["owner/toy"])
    assert (front.library_name, front.pipeline_tag) == ("sentence-transformers", "text-ranking")
    assert front.tags[:3] == ["sentence-transformers", "cross-encoder", "reranker"]
    assert front.model_name == "local/small"
    shown = [(each.dataset_type, each.dataset_split, each.metric_type) for each in front.eval_results]
    ids = ("mteb/scifact", "mteb/nfcorpus", "whybe-choi/trec-dl-2019")
    assert shown == [(repo, "test", "ndcg@10") for repo in ids]
    assert {each.metric_name for each in front.eval_results} == {"nDCG@10 over bm25-100"}
    assert all(re.fullmatch("[0-9a-f]{40}", each.dataset_revision) for each in front.eval_results)
    assert {each.metric_value for each in front.eval_results} == {0.625}
    for said in (
        "| scifact | `bm25-100` | 100 | 20 | nDCG@10 | 0.6250 \\[0.5500, 0.7000\\] | 0.5000: +0.1250, p = 0.030 |",
        "| 0.2500: +0.3750, p = 0.040 |",
        "not measured |",
        "0.2500: +0.3750, p &lt; 0.001 |",
        "| `owner/toy` | `v1.0.0` | `first` | explanations | 2 | nobody (0) | mit | `sha256:",
        "| kept | step 4, nDCG@10 1 on 16 held-out groups |",
        "query text",  # the release's leaks
    ):
        assert said in text, said


def test_sentence_transformers_loads_what_the_card_says_it_loads_and_scores_it_as_exabench_does(made):
    library = pytest.importorskip("sentence_transformers")
    front = ModelCard((made / "README.md").read_text()).data
    assert front.library_name == "sentence-transformers"
    passages = [Passage("1", "The sky is blue."), Passage("2", "The sea is wide.")]
    ours = exabench.reranker("cross_encoder", model=str(made), max_length=128).score(Query("1", "sky"), passages)
    model = library.CrossEncoder(str(made), max_length=128, activation_fn=torch.nn.Identity())
    theirs = model.predict([("sky", passage.text) for passage in passages])
    assert theirs.tolist() == pytest.approx(list(ours), abs=1e-5)


def test_a_model_that_sentence_transformers_does_not_load_is_not_listed_as_its_own(made):
    front = ModelCard(card_of(made, kind="seq2seq", reranker="monot5")).data
    assert front.library_name == "transformers"
    assert not {"sentence-transformers", "cross-encoder"} & set(front.tags)


def test_a_result_on_a_task_without_a_hub_dataset_is_in_the_text_alone(made):
    training = json.loads((made / "training.json").read_text())
    text = card_of(made, checks=[{**training["checks"][0], "task": "mini"}])
    assert "model-index" not in yaml.safe_load(text.split("---\n")[1])
    assert "| mini | `bm25-100` |" in text


def test_a_card_names_no_repository_that_is_none(made):
    training = json.loads((made / "training.json").read_text())
    data = [{**training["data"][0], "repository": "", "leaks": {}}]
    base = {"model": "pypi:some-package", "revision": "", "licence": ""}
    text = card_of(made, base=base, data=data, checks=[], licence="CC BY 9")
    front = yaml.safe_load(text.split("---\n")[1])
    assert not front.keys() & {"base_model", "datasets", "model-index"}
    assert (front["license"], front["license_name"]) == ("other", "cc-by-9")
    assert "It was not measured on a test set." in text and "Not checked: leaks of benchmarks" in text
    with pytest.raises(BadInput, match="has no licence"):
        card_of(made, licence=" ")
    with pytest.raises(BadInput, match="training.json: is not what this exabench writes"):
        model_card({}, model_template())


def test_what_people_wrote_into_a_card_stays_and_the_rest_is_written_anew(made):
    text = (made / "README.md").read_text()
    assert card_of(made, existing=text) == text
    edited = text.replace("## Known limits", "## Thanks\n\nTo *all*.\n\n## Known limits")
    edited = edited.replace("language: en", "language: pt\nthanks: all")
    new = card_of(made, existing=edited, name="acme/small", title="Another")
    assert "To *all*." in new and "thanks: all" in new and "language: pt" in new and "language: en" not in new
    assert "Another" in new and "A small cross-encoder" not in new
    assert 'from_pretrained("acme/small")' in new
    assert yaml.safe_load(new.split("---\n")[1])["model-index"][0]["name"] == "acme/small"
    assert card_of(made, existing=new, name="acme/small", title="Another") == new
    with pytest.raises(BadInput, match="has no matching <!-- /exabench -->"):
        card_of(made, existing=text.replace("<!-- /exabench -->", "", 1))


def test_no_value_of_a_card_is_markup(made):
    evil = "<script>|\n# x\n<!-- /exabench -->"
    told = dict.fromkeys(("title", "note", "hardware"), evil)
    text = card_of(made, recipe={"loss": {"part": evil}}, options={"template": f"{evil}\n```"}, **told)
    assert "<script>" not in re.sub(r"```python.*?```", "", text, flags=re.DOTALL)
    assert text.count("<!-- /exabench -->\n") == text.count("<!-- exabench: ") and "\n# x" not in text


def test_the_code_on_the_card_runs_and_all_three_ways_give_the_same_scores(made):
    blocks = re.findall(r"```python\n(.*?)```", card_of(made, name=str(made)), re.DOTALL)
    found = []
    for block in blocks:
        known: dict[str, Any] = {}
        exec(block, known)
        found.append([float(score) for score in known["scores"]])
    assert len(found) == 3 and found[0][0] != found[0][1]
    assert found[1] == pytest.approx(found[0], abs=1e-5) and found[2] == pytest.approx(found[0], abs=1e-5)


def test_a_model_that_needs_its_template_is_shown_by_exabench_alone(made):
    text = card_of(made, kind="seq2seq", reranker="monot5", options={"strategy": "difference"})
    assert len(re.findall("```python", text)) == 1
    assert 'exabench.reranker("monot5", model="local/small", strategy=\'difference\')' in text
