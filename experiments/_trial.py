"""What the experiments on a marker trial share: inputs, messages and timing."""

import contextlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments._points import Points
    from simspine_jax import IkTasks, MarkerTrajectory, Model

_DEMO = "Pose2Sim/S00_Demo_BatchSession/S00_P00_SingleParticipant/S00_P00_OpenSim"
_MODEL = ("pose2sim-0.8.4", f"{_DEMO}/Model_Pose2Sim_body25b_scaled.osim")
_SETUP = ("pose2sim-0.8.4", "Pose2Sim/OpenSim_Setup/IK_Setup_Pose2Sim_Body25b.xml")
_TRC = ("pose2sim-0.4.15", "Pose2Sim/Demo/opensim/Balancing_for_IK.trc")


@dataclass(frozen=True)
class Markers:
    """What was observed, where it comes from, and the files that were read."""

    trajectory: "MarkerTrajectory"
    source: Path
    files: tuple[Path, ...]
    points: "Points | None" = None  # where they were triangulated


@dataclass(frozen=True)
class Trial:
    """Inputs of a fit; ``tasks`` is None where every shared marker counts alike."""

    model: "Model"
    trajectory: "MarkerTrajectory"
    tasks: "IkTasks | None"
    model_path: Path
    source: Path
    files: tuple[Path, ...]
    points: "Points | None" = None


def load(config: Any, observe: Callable[[Any], Markers] | None = None) -> Trial:
    """Reads the files that the configuration names, or the demo's.

    Args:
        config: Fields ``model``, ``setup``, ``markers``, ``frames`` and
            ``keep_coordinate_tasks``, and what ``observe`` takes.
        observe: Gives the markers; None reads the file that ``config.trc`` names, or
            the demo's where that is None or "demo".

    Raises:
        ValueError: A file cannot be used; one sentence says why.
        FileNotFoundError: A file is not there.
    """
    import simspine_jax as sj

    model_path = _path(config.model, _MODEL)
    wants_setup = config.setup or not config.model
    setup = _path(config.setup, _SETUP) if wants_setup else None
    say(f"model   {model_path}")
    model = sj.load_model(model_path, config.markers)
    observed = (observe or _marker_file)(config)
    trajectory: Any = observed.trajectory
    tasks = sj.read_ik_setup(setup, model) if setup else None
    if tasks is not None and not config.keep_coordinate_tasks:
        tasks = tasks.without_coordinate_tasks()
    say(f"weights {setup or 'every shared marker 1'}{_held(tasks)}")
    if config.frames:
        trajectory = trajectory.replace(
            points=trajectory.points[: config.frames],
            valid=trajectory.valid[: config.frames],
        )
    shared = [n for n in trajectory.names if n in model.marker_names]
    index = [trajectory.names.index(n) for n in shared]
    if shared and not trajectory.valid[:, index].any():
        raise ValueError(
            f"{observed.source}: none of the {len(shared)} markers that the model has "
            "is seen in any frame"
        )
    extra = [Path(config.markers)] if config.markers else []
    files = (model_path, *observed.files, *([setup] if setup else []), *extra)
    return Trial(
        model, trajectory, tasks, model_path, observed.source, files, observed.points
    )


def given(fields: Any) -> dict[str, Any]:
    """Returns the fields of a ConfigDict that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def say(text: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(text, flush=True)


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """Prints each warning of the library once, as one line of standard error."""
    said = set()

    def show(message, category, *_, **__) -> None:
        del category
        text = " ".join(str(message).split())
        if text not in said:
            print(f"warning: {text}", file=sys.stderr, flush=True)
        said.add(text)

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


class Progress:
    """Says how far a long fit is and how long it will take yet."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Prints a line after each part but the last."""
        spent = time.monotonic() - self.start
        if done < total:
            left = spent * (total - done) / done
            say(f"  {done} of {total} frames, {spent:.0f} s, about {left:.0f} s left")


@contextlib.contextmanager
def compile_seconds() -> Iterator[list[float]]:
    """Collects the seconds of each compilation, or of its reading from the cache."""
    import jax

    found: list[float] = []

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def _marker_file(config: Any) -> Markers:
    import simspine_jax as sj
    from simspine_jax.io import trc

    path = _path(None if config.trc == "demo" else config.trc, _TRC)
    say(f"trial   {path}")
    trajectory = sj.read_trc(path)
    trc.require_human_size(trajectory, path)
    return Markers(trajectory, path, (path,))


def _path(given: str | None, demo: tuple[str, str]) -> Path:
    if given is not None:
        return Path(given)
    from third_party import fetch

    return fetch.fetch(demo[0]) / demo[1]


def _held(tasks: "IkTasks | None") -> str:
    if tasks is None or not tasks.coordinate_tasks:
        return ", no coordinate held"
    return ", holding " + ", ".join(task.name for task in tasks.coordinate_tasks)
