"""The files below a folder in which others write, too, and in which a folder can turn into a link at any moment.

The folders down to a file are opened one by one, no link on the way is followed, and what is done is done from the
folder that is then held open.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedRandom
from pathlib import Path

from petmodels.errors import ChecksumError
from petmodels.folder_files import temporary_of

# O_PATH, or O_SEARCH, asks for no right to list a folder that is only passed through.
_FOLDER = os.O_DIRECTORY | getattr(os, "O_PATH", getattr(os, "O_SEARCH", 0))
# Disks on which a file can't have two names.
_ONE_NAME = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}
_LEASE_SECONDS = 60.0  # longer than Linux lets anybody keep a lease that others wait for
_DEEPEST = 8  # levels of folders; those of a store are three
_LAST_SECOND = 253_402_300_799  # of the year 9999


class Tree:
    """The files below the folder `root`, which itself may lie behind links.

    Its methods take whole paths, and raise what the system does, for such a path; ChecksumError names a link that is
    where a folder should be.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def lstat(self, path: Path) -> os.stat_result:
        """Return what is known about a file, folder or link."""
        with self._held(path.parent) as folder, _named(path):
            return os.stat(path.name, dir_fd=folder, follow_symlinks=False)

    def open(self, path: Path) -> int:
        """Open a file to read, or a folder; a link is refused, and a pipe keeps nobody waiting.

        A file on which a server of this disk has a lease is given back when somebody asks for it, a moment later.
        """
        end = time.monotonic() + _LEASE_SECONDS
        with self._held(path.parent) as folder, _named(path):
            while True:
                try:
                    return os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.1)

    def unlink(self, path: Path) -> None:
        """Remove a file or link; nothing happens when it is absent."""
        with suppress(FileNotFoundError), self._held(path.parent) as folder, _named(path):
            os.unlink(path.name, dir_fd=folder)

    def names(self, path: Path) -> list[tuple[str, bool]]:
        """Return the names in a folder, each with whether it is a folder, which a link to one is not."""
        with self._held(path) as folder, _named(path):
            # What is held open to pass through can't be listed.
            listed = os.open(".", os.O_RDONLY, dir_fd=folder)
            try:
                with os.scandir(listed) as found:
                    return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
            finally:
                os.close(listed)

    def files(self, path: Path) -> Iterator[Path]:
        """Yield the files at any depth below a folder, links too; what is absent or can't be listed has none."""
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError), self._held(path) as folder:
            for below, folders, names, _ in os.fwalk(".", dir_fd=folder):
                if len(Path(path, below).relative_to(path).parts) >= _DEEPEST:
                    folders.clear()  # each level takes a descriptor, and there are few
                yield from (path / below / name for name in names)

    def write(self, path: Path, fill: Callable[[BufferedRandom], object], *, over: bool = True) -> bool:
        """Put a file at `path` once `fill` has written all of it; missing folders are made.

        Unless it may go `over` what is there, False when something is: also when this machine doesn't know it yet, as
        of a disk on the network, but not where a file can't have two names.
        """
        temporary = temporary_of(path)
        with self._held(path.parent, make=True) as folder:
            with _named(temporary):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                descriptor = os.open(temporary.name, flags, 0o666, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "w+b") as file:
                    fill(file)
                    file.flush()
                    os.fsync(descriptor)
                with _named(temporary):
                    return self._put(temporary.name, path.name, folder, over=over)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary.name, dir_fd=folder)
                raise

    def _put(self, temporary: str, name: str, folder: int, *, over: bool) -> bool:
        if not over:
            try:
                os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                if error.errno != errno.EEXIST and error.errno not in _ONE_NAME:
                    raise
                if error.errno == errno.EEXIST:
                    os.unlink(temporary, dir_fd=folder)
                    return False
            else:
                os.unlink(temporary, dir_fd=folder)
                return True
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        return True

    @contextmanager
    def _held(self, path: Path, *, make: bool = False) -> Iterator[int]:
        """Hold a folder open and yield its descriptor."""
        if make:
            self.root.mkdir(parents=True, exist_ok=True)
        held = os.open(self.root, os.O_RDONLY | _FOLDER)
        try:
            below = self.root
            for part in path.relative_to(self.root).parts:
                below /= part
                above, held = held, _below(held, below, make=make)
                os.close(above)
            yield held
        finally:
            os.close(held)


def written_at(found: os.stat_result) -> datetime:
    """Return when a file was written, as far as a date can say it."""
    return datetime.fromtimestamp(min(max(found.st_mtime, 0), _LAST_SECOND), UTC)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Have what the system refuses in the block name the whole path."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _below(above: int, path: Path, *, make: bool) -> int:
    with _named(path):
        try:
            return os.open(path.name, os.O_RDONLY | _FOLDER | os.O_NOFOLLOW, dir_fd=above)
        except FileNotFoundError:
            if not make:
                raise
            with suppress(FileExistsError):  # another writer was quicker
                os.mkdir(path.name, dir_fd=above)
            return _below(above, path, make=False)
        except OSError as error:
            with suppress(FileNotFoundError):
                if stat.S_ISLNK(os.stat(path.name, dir_fd=above, follow_symlinks=False).st_mode):
                    raise ChecksumError(f"the registry holds a symbolic link instead of a folder: {path}") from error
            raise
