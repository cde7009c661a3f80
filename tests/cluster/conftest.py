"""The cluster that every test of this folder shares."""

from collections.abc import Iterator

import pytest

from tests.cluster.slurm import SlurmCluster, why_not


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """Four idle nodes n1..n4, started once for the whole test run."""
    if reason := why_not():
        pytest.skip(reason)
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def at_length(request: pytest.FixtureRequest) -> None:
    """What takes minutes is for `make chaos`."""
    if not request.config.getoption("--long"):
        pytest.skip("in the long form: pytest --long")
