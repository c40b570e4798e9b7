"""Download one pinned archive with pip or npm, without running its code.

The user's own pip and npm settings say where from. A wheel is asked for by the
platform in its file name, so that any machine can fetch any wheel.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from third_party import inert_backend
from third_party.errors import FetchError


@dataclass(frozen=True)
class Package:
    """One entry of the manifest; its fields are the manifest's."""

    name: str
    kind: str
    package: str
    version: str
    file: str
    sha256: str
    megabytes: int
    licence: str
    used_for: str
    files: tuple[str, ...]


def download(package: Package, folder: Path) -> Path:
    """Downloads the archive into ``folder``; its hash is the caller's to check.

    Args:
        package: What to download.
        folder: Existing, empty folder.

    Returns:
        The archive.

    Raises:
        FetchError: If pip or npm is missing or cannot get the archive.
    """
    commands = {"wheel": _wheel, "sdist": _sdist, "npm": _npm}
    if package.kind not in commands:
        raise FetchError(
            f"manifest.toml: {package.name} has kind {package.kind!r}; allowed are "
            f"{', '.join(commands)}"
        )
    command, environment = commands[package.kind](package, folder)
    _run(package, command, environment)
    archive = folder / package.file
    if not archive.is_file():
        found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise FetchError(
            f"{package.name}: {package.file} was asked for, but {found} came"
        )
    return archive


def _pip(folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"),
        *("--disable-pip-version-check", "--progress-bar=off", "--retries=2"),
        # The archive's files are read, never installed.
        *("--ignore-requires-python", "--dest", str(folder)),
    ]


def _wheel(package: Package, folder: Path) -> tuple[list[str], dict[str, str]]:
    python, abi, platform = package.file.removesuffix(".whl").split("-")[-3:]
    tags = []
    if (abi, platform) != ("none", "any"):
        implementation, version = python[:2], python[2:]
        tags = [f"--implementation={implementation}", f"--python-version={version}"]
        tags += [f"--abi={abi}"]
        tags += [f"--platform={tag}" for tag in platform.split(".")]
    requirement = f"{package.package}=={package.version}"
    return [*_pip(folder), "--only-binary=:all:", *tags, requirement], {}


def _sdist(package: Package, folder: Path) -> tuple[list[str], dict[str, str]]:
    # A folder of its own: what is in `folder` itself may come from the archive.
    work = folder / "pip"
    stand_in = work / "setuptools"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").touch()
    shutil.copy(inert_backend.__file__, stand_in / "build_meta.py")
    # With hashes pip checks the archive before it looks inside.
    requirements = work / "requirements.txt"
    requirements.write_text(
        f"{package.package}=={package.version} --hash=sha256:{package.sha256}\n",
        encoding="utf-8",
    )
    paths = [str(work), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "PIP_USE_PEP517": "1"}
    command = [*_pip(folder), "--no-binary=:all:", "--no-build-isolation"]
    return [*command, "--require-hashes", "-r", str(requirements)], environment


def _npm(package: Package, folder: Path) -> tuple[list[str], dict[str, str]]:
    command = [shutil.which("npm") or "npm", "pack", "--ignore-scripts", "--silent"]
    command += ["--pack-destination", str(folder)]
    return [*command, f"{package.package}@{package.version}"], {}


def _run(package: Package, command: list[str], environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise FetchError(
            f"{package.name} is fetched with {command[0]}, which is not installed"
        ) from error
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise FetchError(
            f"{package.name} is fetched with pip, which {sys.executable} does not "
            "have; `python -m ensurepip` installs it"
        )
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise FetchError(
            f"{package.name}: what was downloaded does not have the SHA-256 "
            f"{package.sha256} of the manifest, so it is not used"
        )
    raise FetchError(
        f"{package.name} is not cached and could not be downloaded "
        f"({_reason(done.stderr)}); connect to the internet once, or set "
        "SIMSPINE_THIRD_PARTY to a cache that holds it"
    )


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "npm err"))]
    return (errors or lines or ["no reason given"])[-1].removeprefix("ERROR: ")
