"""Loading OpenSim models for kinematics only, without OpenSim's console output."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import opensim

from simspine_jax.body import spec

_STDOUT = 1  # file descriptor
_MESSAGE_LENGTH = 300


def quiet() -> None:
    """Turns OpenSim's log, and its file in the working folder, off for good."""
    opensim.Logger.setLevelString("off")
    opensim.Logger.removeFileSink()


@contextlib.contextmanager
def silent_stdout() -> Iterator[None]:
    """Drops what C++ prints past OpenSim's log; a no-op where there is no POSIX."""
    if os.name != "posix":
        yield
        return
    flush = ctypes.CDLL(None).fflush  # C++ streams share C's buffers
    sys.stdout.flush()
    flush(None)
    kept = os.dup(_STDOUT)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    try:
        yield
    finally:
        flush(None)
        os.dup2(kept, _STDOUT)
        os.close(kept)
        os.close(nowhere)


def one_line(error: Exception) -> str:
    """An OpenSim exception's text as one short line."""
    return " ".join(str(error).split())[:_MESSAGE_LENGTH]


def require_file(path: str | Path) -> str:
    """Returns a file's absolute path, as OpenSim wants it.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    return str(Path(path).resolve())


def load(osim_path: str | Path, markers: str | Path | None = None) -> opensim.Model:
    """Loads a model for kinematics only.

    Forces, controllers, contact and wrap geometry are removed: they take no part in
    kinematics, and muscles make every realisation slow.

    Args:
        osim_path: Model file.
        markers: Optional MarkerSet XML; its markers are added to the model's, and
            replace those of the same name.

    Returns:
        The connected model, before ``initSystem``.

    Raises:
        FileNotFoundError: A file is missing.
        ModelError: OpenSim refuses a file.

    Source: OpenSim 4.6 ``Model::updateMarkerSet``.
    """
    quiet()
    files = [require_file(p) for p in (osim_path, markers) if p is not None]
    try:
        model = opensim.Model(files[0])
        model.updForceSet().clearAndDestroy()
        model.updControllerSet().clearAndDestroy()
        model.updContactGeometrySet().clearAndDestroy()
        model.upd_ground().upd_WrapObjectSet().clearAndDestroy()
        for body in (model.updBodySet().get(i) for i in range(model.getNumBodies())):
            body.upd_WrapObjectSet().clearAndDestroy()
        if markers is not None:
            model.updateMarkerSet(opensim.MarkerSet(files[1]))
        model.finalizeConnections()
    except RuntimeError as error:
        raise spec.ModelError(f"{osim_path}: OpenSim: {one_line(error)}") from error
    return model


def set_names(items: opensim.MarkerSet | opensim.CoordinateSet) -> tuple[str, ...]:
    """Names in one of a model's sets, in its order."""
    return tuple(items.get(i).getName() for i in range(items.getSize()))
