import hashlib
import io
import multiprocessing
import os
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from third_party import archives, download, fetch
from third_party.download import Package
from third_party.errors import FetchError

ROOT = Path(__file__).resolve().parents[2]


def make_zip(path: Path, members: dict[str, bytes], mode: int = 0o644) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def make_tar(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tar_link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def package_of(archive: Path, *files: str, kind: str = "wheel") -> Package:
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Package(
        name="toy-1.0",
        kind=kind,
        package="toy",
        version="1.0",
        file=archive.name,
        sha256=sha256,
        megabytes=1,
        licence="MIT",
        used_for="a test",
        files=files,
    )


class Copier:
    """Stands in for the network: hands over an archive, slowly, and counts."""

    def __init__(self, archive: Path, seconds: float = 0.0):
        self.archive, self.seconds = archive, seconds
        self.log = archive.with_suffix(".log")

    def __call__(self, package: Package, folder: Path) -> Path:
        with self.log.open("a") as log:
            log.write("x")
        time.sleep(self.seconds)
        target = folder / self.archive.name
        target.write_bytes(self.archive.read_bytes())
        return target

    @property
    def calls(self) -> int:
        return len(self.log.read_text()) if self.log.exists() else 0


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    members = {
        "toy/model.osim": b"<model/>",
        "toy/deep/er.osim": b"<deep/>",
        "toy/code.py": b"1 / 0",
        "toy-1.0.dist-info/LICENSE": b"MIT",
    }
    return make_zip(tmp_path / "toy-1.0-py3-none-any.whl", members)


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_only_the_listed_files_are_unpacked(tmp_path: Path, wheel: Path):
    package = package_of(wheel, "toy/*.osim", "toy-1.0.dist-info/LICENSE")
    folder = fetch.fetch_package(package, tmp_path / "cache", Copier(wheel))
    assert files_below(folder) == {"toy/model.osim", "toy-1.0.dist-info/LICENSE"}
    assert (folder / "toy/model.osim").read_bytes() == b"<model/>"


def test_second_fetch_does_not_download(tmp_path: Path, wheel: Path):
    package, copier = package_of(wheel, "toy/*.osim"), Copier(wheel)
    first = fetch.fetch_package(package, tmp_path / "cache", copier)
    assert fetch.fetch_package(package, tmp_path / "cache", copier) == first
    assert copier.calls == 1


def test_changed_list_of_files_is_fetched_anew(tmp_path: Path, wheel: Path):
    copier = Copier(wheel)
    cache = tmp_path / "cache"
    fetch.fetch_package(package_of(wheel, "toy/*.osim"), cache, copier)
    folder = fetch.fetch_package(package_of(wheel, "toy/*/*.osim"), cache, copier)
    assert files_below(folder) == {"toy/deep/er.osim"}


def test_sources_and_npm_archives_are_tar_files(tmp_path: Path):
    members = {"toy-1.0/data.csv": b"1", "toy-1.0/setup.py": b"1 / 0"}
    archive = make_tar(tmp_path / "toy-1.0.tar.gz", members)
    package = package_of(archive, "toy-1.0/data.csv", kind="npm")
    folder = fetch.fetch_package(package, tmp_path / "cache", Copier(archive))
    assert files_below(folder) == {"toy-1.0/data.csv"}


@pytest.mark.parametrize(
    "name", ["../evil", "toy/../../evil", "/evil", "..\\evil", "C:/evil", "toy\\x"]
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("pattern", ["*/*", "toy/ok"])
def test_path_traversal_is_refused(tmp_path: Path, make, name: str, pattern: str):
    archive = make(tmp_path / "a.archive", {name: b"evil", "toy/ok": b"ok"})
    package, cache = package_of(archive, pattern), tmp_path / "cache"
    with pytest.raises(FetchError, match="would be written outside its folder"):
        fetch.fetch_package(package, cache, Copier(archive))
    assert not list(tmp_path.rglob("*evil*"))
    # Nothing stays under a final or a temporary name, but for the lock.
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tar_files_are_refused(tmp_path: Path, kind: bytes):
    outside = tmp_path / "outside"
    outside.write_text("secret")
    link = tar_link("toy/x", str(outside), kind)
    archive = make_tar(tmp_path / "a.tar.gz", {"toy/x": link})
    (tmp_path / "out").mkdir()
    with pytest.raises(FetchError, match=r"'toy/x' is a link or a device"):
        archives.unpack(archive, ["toy/*"], tmp_path / "out")
    assert files_below(tmp_path / "out") == set()


def test_file_behind_a_linked_folder_stays_inside(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tar_link("toy", str(outside), tarfile.SYMTYPE)
    archive = make_tar(tmp_path / "a.tar.gz", {"toy": link, "toy/x": b"1"})
    (tmp_path / "out").mkdir()
    archives.unpack(archive, ["toy/x"], tmp_path / "out")
    assert list(outside.iterdir()) == []
    assert files_below(tmp_path / "out") == {"toy/x"}


def test_symlink_in_zip_file_is_refused(tmp_path: Path):
    mode = stat.S_IFLNK | 0o777
    archive = make_zip(tmp_path / "a.zip", {"toy/x": b"/outside"}, mode)
    (tmp_path / "out").mkdir()
    with pytest.raises(FetchError, match=r"'toy/x' is a link or a device"):
        archives.unpack(archive, ["toy/*"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_name_given_twice_is_refused(tmp_path: Path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for content in (b"1", b"22"):
            info = tarfile.TarInfo("toy/x")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    (tmp_path / "out").mkdir()
    with pytest.raises(FetchError, match="twice"):
        archives.unpack(path, ["toy/x"], tmp_path / "out")


def test_pattern_without_a_file_is_an_error(tmp_path: Path, wheel: Path):
    package, cache = package_of(wheel, "toy/*.osim", "toy/*.trc"), tmp_path / "cache"
    with pytest.raises(FetchError, match=r"no file that matches 'toy/\*\.trc'"):
        fetch.fetch_package(package, cache, Copier(wheel))
    assert not [path for path in cache.iterdir() if path.is_dir()]


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 torn"])
def test_damaged_archive_is_an_error(tmp_path: Path, content: bytes):
    archive = tmp_path / "a.whl"
    archive.write_bytes(content)
    with pytest.raises(FetchError, match=r"a\.whl cannot be read"):
        fetch.fetch_package(package_of(archive, "x"), tmp_path / "c", Copier(archive))


def test_hash_mismatch_is_refused_before_unpacking(tmp_path: Path, wheel: Path):
    package = package_of(wheel, "toy/*.osim")
    make_zip(wheel, {"toy/model.osim": b"tampered"})
    with pytest.raises(FetchError, match=rf"the SHA-256 of {wheel.name} is \w+, but"):
        fetch.fetch_package(package, tmp_path / "cache", Copier(wheel))
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_two_processes_at_once_download_once(tmp_path: Path, wheel: Path):
    package, copier = package_of(wheel, "toy/*.osim"), Copier(wheel, seconds=0.5)
    context = multiprocessing.get_context("spawn")
    arguments = (package, tmp_path / "cache", copier)
    racers = [
        context.Process(target=fetch.fetch_package, args=arguments) for _ in range(2)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(timeout=60)
    assert [racer.exitcode for racer in racers] == [0, 0]
    assert copier.calls == 1
    folder = fetch.fetch_package(*arguments)
    assert files_below(folder) == {"toy/model.osim"}


def test_failed_fetch_can_be_repeated(tmp_path: Path, wheel: Path):
    package = package_of(wheel, "toy/*.osim")

    def offline(package: Package, folder: Path) -> Path:
        raise FetchError("offline")

    with pytest.raises(FetchError, match="offline"):
        fetch.fetch_package(package, tmp_path / "cache", offline)
    folder = fetch.fetch_package(package, tmp_path / "cache", Copier(wheel))
    assert files_below(folder) == {"toy/model.osim"}


@pytest.fixture
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the whole world."""
    world = tmp_path / "world"
    world.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(world))
    return world


def test_offline_and_not_cached_is_one_clear_sentence(only_here: Path):
    command = [sys.executable, "-m", "third_party.fetch", "pose2sim-0.8.4"]
    environment = {**os.environ, "SIMSPINE_THIRD_PARTY": str(only_here / "cache")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: pose2sim-0.8.4 is not cached and could not be down")
    assert "SIMSPINE_THIRD_PARTY" in last


def test_unknown_name_lists_what_is_there():
    with pytest.raises(FetchError, match=r"'pose3sim' is not .* bvhtoolbox-0\.1\.3$"):
        fetch.fetch("pose3sim")


def test_pip_fetches_a_wheel_of_any_platform(tmp_path: Path, only_here: Path):
    name = "toy-1.0-cp39-cp39-manylinux_2_17_s390x.manylinux2014_s390x.whl"
    wheel_file = b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\n"
    wheel_file += b"Tag: cp39-cp39-manylinux_2_17_s390x\n"
    # pip must not mind that this Python is too new for it.
    metadata = b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"
    metadata += b"Requires-Python: <3.10\n"
    members = {
        "toy/data.csv": b"1",
        "toy-1.0.dist-info/WHEEL": wheel_file,
        "toy-1.0.dist-info/METADATA": metadata,
        "toy-1.0.dist-info/RECORD": b"",
    }
    archive = make_zip(only_here / name, members)
    package = package_of(archive, "toy/data.csv")
    folder = fetch.fetch_package(package, tmp_path / "cache", download.download)
    assert files_below(folder) == {"toy/data.csv"}


@pytest.mark.parametrize("backend", ["", '"setuptools.build_meta"'])
def test_set_up_code_of_a_source_archive_is_not_run(
    tmp_path: Path, only_here: Path, backend: str
):
    proof = tmp_path / "set-up code ran"
    members = {
        "toy-1.0/setup.py": f"open({str(proof)!r}, 'w')".encode(),
        "toy-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n",
        "toy-1.0/data.csv": b"1",
    }
    if backend:
        system = f'[build-system]\nrequires = ["setuptools"]\nbuild-backend={backend}\n'
        members["toy-1.0/pyproject.toml"] = system.encode()
    archive = make_tar(only_here / "toy-1.0.tar.gz", members)
    package = package_of(archive, "toy-1.0/data.csv", kind="sdist")
    folder = fetch.fetch_package(package, tmp_path / "cache", download.download)
    assert files_below(folder) == {"toy-1.0/data.csv"}
    assert not proof.exists()


def test_tampered_source_archive_is_refused(tmp_path: Path, only_here: Path):
    members = {"toy-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"}
    archive = make_tar(only_here / "toy-1.0.tar.gz", members)
    package = package_of(archive, "toy-1.0/PKG-INFO", kind="sdist")
    make_tar(archive, {**members, "toy-1.0/setup.py": b""})
    with pytest.raises(FetchError, match="does not have the SHA-256"):
        fetch.fetch_package(package, tmp_path / "cache", download.download)


def test_unknown_kind_names_what_is_allowed(tmp_path: Path, wheel: Path):
    package = package_of(wheel, "toy/*.osim", kind="rpm")
    with pytest.raises(FetchError, match="kind 'rpm'; allowed are wheel, sdist, npm"):
        fetch.fetch_package(package, tmp_path / "cache", download.download)


def test_the_real_package(pose2sim_10: Path):
    setup = pose2sim_10 / "Pose2Sim" / "OpenSim_Setup"
    assert {path.name for path in setup.glob("*.osim")} == {
        "Model_Pose2Sim_muscles_flex.osim",
        "Model_Pose2Sim_simple.osim",
    }
    assert len(list(setup.glob("Markers_*.xml"))) == 10
    assert (pose2sim_10 / "pose2sim-0.10.49.dist-info/licenses/LICENSE").is_file()
    assert not list(pose2sim_10.rglob("*.py"))


def test_every_entry_of_the_manifest_is_complete():
    entries = fetch._packages(fetch._MANIFEST)
    assert fetch.names() == (
        *("pose2sim-0.4.15", "pose2sim-0.8.4", "pose2sim-0.10.49"),
        *("nimblephysics-0.10.52.1", "pybullet-3.2.7", "bvhtoolbox-0.1.3"),
    )
    for name, package in entries.items():
        assert package.name == name == f"{package.package}-{package.version}"
        assert len(package.sha256) == 64
        assert any("LICENSE" in pattern for pattern in package.files)
