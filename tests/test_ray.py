"""A Ray cluster of two nodes builds the same bytes as one process, and runs a study to the same report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fits
import pytest
import ray
from models import classifier_folder
from ray.cluster_utils import Cluster
from toys import contents

from exabench.data.building import Sources, build
from exabench.studies import read_study, report_study, run_study


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def joined(two_nodes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on Ray runs on the two nodes."""
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


@pytest.mark.slow
@pytest.mark.usefixtures("joined")
def test_two_nodes_build_the_same_bytes_and_both_take_part(tmp_path: Path) -> None:
    build("mini-explanations", tmp_path / "alone", sources=Sources(replies=tmp_path / "alone.sqlite"))
    shared = Sources(replies=tmp_path / "shared.sqlite")
    told: list[str] = []
    cluster = {"engine": "ray", "workers": 2, "progress": lambda done, total, what: told.append(what)}
    build("mini-explanations", tmp_path / "cluster", sources=shared, **cluster)
    assert contents(tmp_path / "cluster" / "release") == contents(tmp_path / "alone" / "release")
    assert "shards, made on 2 nodes" in told


@pytest.mark.slow
@pytest.mark.usefixtures("joined")
def test_a_study_on_two_nodes_ends_in_the_report_of_one_run_here(tmp_path: Path) -> None:
    release = fits.write_release(tmp_path / "release", {"lists": ("listwise", {"train": fits.listwise(sizes=(4, 5))})})
    data = [{"release": str(release), "table": "lists"}]
    start = classifier_folder(tmp_path / "start")
    fits.recipe(tmp_path / "toy.toml", data, model=str(start), steps={"epochs": 1, "groups": 4})
    page = tmp_path / "seeds.toml"
    page.write_text(
        'title = "Seeds"\ntrain = "toy.toml"\nseeds = [1, 2]\nbaseline = "start"\nuntrained = "start"\n'
        'task = [{ task = "mini", depth = 5 }]\n'
    )
    study = read_study(page)
    reports = []
    for place, options in (("here", {}), ("cluster", {"engine": "ray", "workers": 2})):
        assert len(run_study(study, tmp_path / place, devices=["cpu"], **options)) == 3
        report_study(study, tmp_path / place)
        reports.append((tmp_path / place / "report.json").read_bytes())
    assert reports[0] == reports[1]
