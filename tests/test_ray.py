"""A Ray cluster of two nodes builds the same bytes as one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from toys import contents

from exabench.data.building import Sources, build


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_two_nodes_build_the_same_bytes_and_both_take_part(
    two_nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    build("mini-explanations", tmp_path / "alone", sources=Sources(replies=tmp_path / "alone.sqlite"))
    shared = Sources(replies=tmp_path / "shared.sqlite")
    told: list[str] = []
    cluster = {"engine": "ray", "workers": 2, "progress": lambda done, total, what: told.append(what)}
    build("mini-explanations", tmp_path / "cluster", sources=shared, **cluster)
    assert contents(tmp_path / "cluster" / "release") == contents(tmp_path / "alone" / "release")
    assert "shards, made on 2 nodes" in told
