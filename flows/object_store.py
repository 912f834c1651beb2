"""Run a real S3 server on this machine, for the demo and `make stack`: one seaweedfs process.

Reads nothing; leaves the store's data in the folder it is given, and the ports, so that a second start there finds the
same store at the same address.
"""

import json
import random
import shutil
import socket
import sys
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from flows.errors import StackError
from petmodels.tree import Tree

BUCKET = "models"
_ROOM_BYTES = 500_000_000  # it begins with a few files of 64 MB for what is to come
ADMIN = ("admin-key", "admin-secret-1234567890")


@dataclass(frozen=True)
class Server:
    """An S3 server that runs: its address, and what its log holds."""

    endpoint: str
    folder: Path

    def environment(self, identity: tuple[str, str] = ADMIN) -> dict[str, str]:
        """Return the variables that an AWS tool needs to use the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": identity[0],
            "AWS_SECRET_ACCESS_KEY": identity[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.folder / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "aws-config"),
        }


def weed() -> str | None:
    """Return the path of the seaweedfs program, None when it isn't installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def prepared(
    folder: Path, identities: list[dict[str, object]] | None = None, *, port: int | None = None
) -> tuple[Server, list[str]]:
    """Write what a server in `folder` needs; return how to reach it, and the command that starts it.

    Raises StackError where this platform has no such program, or the disk too little room for it.
    """
    program = weed()
    if program is None:
        raise StackError("no S3 server (seaweedfs) comes for this platform; put its program weed on PATH")
    _check_room(folder)
    (folder / "aws-config").touch()  # empty, to keep the user's away; DVC takes the null device for a missing file
    config = folder / "identities.json"
    config.write_text(json.dumps({"identities": [_admin(), *(identities or [])]}))
    (folder / "data").mkdir(exist_ok=True)
    ports = _ports(folder / "ports.json") | ({"s3.port": port} if port else {})
    flags = [f"-{name}={number}" for name, number in ports.items()]
    fixed = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
    more = [f"-dir={folder / 'data'}", f"-bucket={BUCKET}", f"-s3.config={config}"]
    off = ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command = [program, "-logtostderr=true", "mini", *fixed, *more, *off, *flags]
    return Server(f"http://127.0.0.1:{ports['s3.port']}", folder), command


def _check_room(folder: Path) -> None:
    """Raise StackError where a hundredth of the disk isn't free: the store would take nothing and let all wait."""
    disk = shutil.disk_usage(folder)
    needed = disk.total // 100 + _ROOM_BYTES
    if disk.free < needed:
        free = f"{disk.free / 1e9:.1f} GB is free where the S3 server wants {needed / 1e9:.1f}"
        raise StackError(f"the disk is full: {free}; make room, or give a folder on another disk: {folder}")


def forget_sockets(server: Server) -> None:
    """Delete what a server that has ended leaves outside its folder: the sockets of its parts."""
    with suppress(OSError):  # another user's of the same port stays
        ports = json.loads((server.folder / "ports.json").read_text())
        for port in {urlsplit(server.endpoint).port, *ports.values()}:
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  its own choice
                path.unlink(missing_ok=True)


def free_port() -> int:
    """Return a port that nobody listens on, below those that outgoing connections take at any moment.

    On Linux no other call returns it, in any process, until this one ends; a server can listen there all the same.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        one = socket.socket()
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            one.close()
            continue
        if sys.platform == "linux":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # lets those in who set it too: servers do
            one.detach()  # it stays open for as long as this process lives
        else:
            one.close()
        return port


def _admin() -> dict[str, object]:
    keys = [{"accessKey": ADMIN[0], "secretKey": ADMIN[1]}]
    return {"name": "admin", "credentials": keys, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}


def _ports(path: Path) -> dict[str, int]:
    """Return the ports of an earlier start: the store's own parts look for each other there."""
    if path.exists():
        return dict(json.loads(path.read_text()))
    ports: dict[str, int] = {}
    for name in _PORTS:
        ports[name] = next(port for port in iter(free_port, None) if port not in ports.values())
    Tree(path.parent).write(path, lambda file: file.write(json.dumps(ports).encode()))
    return ports


_PORTS = (
    "master.port", "master.port.grpc", "filer.port", "filer.port.grpc", "volume.port", "volume.port.grpc",
    "s3.port", "s3.port.grpc", "admin.port", "admin.port.grpc",
)  # fmt: skip


def answers(server: Server) -> bool:
    """Say whether the server's bucket is there: it refuses strangers, and knows that it does."""
    try:
        urllib.request.urlopen(f"{server.endpoint}/{BUCKET}?list-type=2", timeout=2).close()  # noqa: S310
    except HTTPError as error:
        error.close()
        return error.code == 403
    except (URLError, OSError):
        return False
    return False
