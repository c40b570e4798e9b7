"""What the readers of our own HDF5 files check first."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py


@contextmanager
def opened(
    path: str | os.PathLike[str], kind: str, version: int, fields: Sequence[str]
) -> Iterator[h5py.File]:
    """Opens a file of ours for reading.

    Args:
        path: The file.
        kind: Its attribute ``format``.
        version: Its attribute ``version``.
        fields: Data sets and attributes that it must have.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not HDF5 or not such a file, another version of it, or a field is
            missing.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: not an HDF5 file")
    with h5py.File(path, "r") as file:
        found = file.attrs.get("format")
        if found != kind:
            raise ValueError(
                f"{path}: its format is {found!r}, and it must be {kind!r}"
            )
        if file.attrs.get("version") != version:
            raise ValueError(
                f"{path}: its version is {file.attrs.get('version')}, and only "
                f"version {version} can be read"
            )
        for name in fields:
            if not isinstance(file.get(name), h5py.Dataset) and name not in file.attrs:
                raise ValueError(f"{path}: a field is missing, {name!r}")
        yield file
