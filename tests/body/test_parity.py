"""Our kinematics equals OpenSim's on the pinned models and on random ones."""

import dataclasses
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import opensim

from simspine_jax.body import jacobian, kinematics
from simspine_jax.body.model import Model, Topology
from simspine_jax.io import marker_set
from simspine_jax.io.load import load_model
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.skeletons import simspine_markers
from tests import poses, random_models

ATOL = 1e-9  # m, and Frobenius norm of the difference of two rotations
ATOL_FLOAT32 = 2e-5
JACOBIAN_ATOL = 1e-8
COUPLER_ATOL = 1e-9
POSES = 3


class Ours(NamedTuple):
    rotation: jax.Array
    position: jax.Array
    markers: jax.Array


def place(model: Model, q: jax.Array) -> Ours:
    bodies = kinematics.forward_kinematics(model, q)
    markers = kinematics.marker_positions(model, q)
    return Ours(bodies.rotation, bodies.position, markers)


# Compilation is most of the time here: only the first is compiled as for use.
_QUICK = {"xla_backend_optimization_level": 0}
place_float64 = jax.jit(place)
place_float32 = jax.jit(
    lambda model, q: place(model, q.astype(jnp.float32)), compiler_options=_QUICK
)
marker_jacobian = jax.jit(jacobian.marker_jacobian, compiler_options=_QUICK)
expand = jax.jit(Model.expand, compiler_options=_QUICK)


def coupler_slopes(model: Model, q_free: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of ``expand``. Shape [T, N, F]."""
    shift = step * np.eye(q_free.shape[1])[:, None]
    both = np.stack([q_free + shift, q_free - shift])  # [2, F, T, F]
    high, low = np.asarray(expand(model, both))
    return np.moveaxis(high - low, 0, -1) / (2 * step)


def check(
    model: Model,
    reference: ReferenceModel,
    seed: int,
    padded: Model | None = None,
    slots: list[int] | None = None,
) -> None:
    """Compares a model, its markers at ``slots`` of the padded one, with OpenSim's."""
    padded, slots = padded or model, slots or list(range(len(model.marker_names)))
    assert model.body_names == reference.body_names
    assert model.coordinate_names == reference.coordinate_names
    assert model.marker_names == reference.marker_names
    np.testing.assert_allclose(model.default_q, reference.default_q, atol=1e-15)
    np.testing.assert_allclose(model.range, reference.ranges, atol=1e-15)
    kinds = [c.getMotionType() for c in reference.model.getCoordinateSet()]
    rotational = tuple(kind == opensim.Coordinate.Rotational for kind in kinds)
    assert model.coordinate_is_rotational == rotational

    raw = poses.random_poses(model, POSES, seed)
    assembled = reference.assemble(raw)
    q = np.concatenate([raw, assembled])
    rotation, position = reference.body_poses(q)
    markers = reference.marker_positions(q)
    for ours, atol in ((place_float64, ATOL), (place_float32, ATOL_FLOAT32)):
        found = ours(padded, q)
        turned = np.linalg.norm(found.rotation - rotation, axis=(2, 3))
        assert turned.max(initial=0.0) <= atol
        np.testing.assert_allclose(found.position, position, rtol=0, atol=atol)
        np.testing.assert_allclose(found.markers[:, slots], markers, rtol=0, atol=atol)

    # Couplers: OpenSim's assembled pose is what we make of its free coordinates.
    free = np.asarray(model.free_of(assembled))
    expanded = np.asarray(expand(model, free))
    np.testing.assert_allclose(expanded, assembled, rtol=0, atol=COUPLER_ATOL)
    np.testing.assert_array_equal(model.free_of(expanded), free)
    theirs = np.einsum(
        "tmin,tnf->tmif",
        reference.marker_jacobian(expanded),
        coupler_slopes(model, free),
    )
    ours = marker_jacobian(padded, free)[:, slots]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=JACOBIAN_ATOL)


def markers_for(path: Path, folder: Path) -> Path | None:
    """A marker set for the models that have none of their own."""
    if "<Marker name" in path.read_text(encoding="utf-8"):
        return None
    if "lumbar1" in path.read_text(encoding="utf-8"):
        file = folder / "simspine_markers.xml"
        marker_set.write_marker_set(file, simspine_markers.MARKERS)
        return file
    return path.parent / "Markers_Halpe26.xml"


def without_markers(model: Model) -> Topology:
    return dataclasses.replace(model.topology, marker_names=(), marker_bodies=())


def with_slots(model: Model, most: Counter[int]) -> tuple[Model, list[int]]:
    """Pads the markers of every body to the number that any model has there.

    Returns:
        The padded model, and the place of each of the model's own markers in it.
    """
    bodies = sorted(most.elements())
    free = {body: bodies.index(body) for body in most}
    place = []
    for body in model.topology.marker_bodies:
        place.append(free[body])
        free[body] += 1
    offset = np.zeros((len(bodies), 3))
    offset[place] = model.marker_offset
    topology = dataclasses.replace(
        model.topology,
        marker_names=tuple(f"slot_{k}" for k in range(len(bodies))),
        marker_bodies=tuple(bodies),
    )
    padded = dataclasses.replace(model, topology=topology, marker_offset=offset)
    return padded, place


def test_every_pinned_model(
    pose2sim_04: Path, pose2sim_08: Path, pose2sim_10: Path, tmp_path: Path
):
    files = poses.osim_files(pose2sim_04, pose2sim_08, pose2sim_10)
    assert len(files) == 26
    models = [load_model(path, markers_for(path, tmp_path)) for path in files]
    # Models that differ in their markers only share a compilation.
    most: dict[Topology, Counter[int]] = {}
    for model in models:
        assert len(model.marker_names) > 0
        counted = Counter(model.topology.marker_bodies)
        most.setdefault(without_markers(model), Counter())
        most[without_markers(model)] |= counted
    before = place_float64._cache_size()
    for seed, (path, model) in enumerate(zip(files, models, strict=True)):
        reference = ReferenceModel(path, markers_for(path, tmp_path))
        padded, slots = with_slots(model, most[without_markers(model)])
        check(model, reference, seed, padded, slots)
    assert len(most) == 7
    assert place_float64._cache_size() - before == len(most)


def test_two_subjects_share_a_compilation(pose2sim_08: Path):
    demo = pose2sim_08 / "Pose2Sim/S00_Demo_BatchSession/S00_P00_SingleParticipant"
    scaled = load_model(demo / "S00_P00_OpenSim/Model_Pose2Sim_LSTM_scaled.osim")
    generic = load_model(
        pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_LSTM.osim"
    )
    assert scaled.topology == generic.topology
    assert not np.array_equal(scaled.parent_translation, generic.parent_translation)
    traces = 0

    @jax.jit
    def place(model: Model, q: jax.Array) -> jax.Array:
        nonlocal traces
        traces += 1
        return kinematics.marker_positions(model, q)

    first, second = (place(m, np.asarray(m.default_q)[None]) for m in (scaled, generic))
    assert traces == 1
    assert np.abs(first - second).max() > 1e-3


def test_random_models(tmp_path: Path):
    compiled = (place_float64, place_float32, marker_jacobian)
    before = [function._cache_size() for function in compiled]
    for seed in random_models.SEEDS:
        made = random_models.write_random_model(seed, tmp_path / f"{seed}.osim")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is not enforced and is left out")
            model = load_model(made.path)
        check(model, ReferenceModel(made.path), seed)
    count = [
        function._cache_size() - b for function, b in zip(compiled, before, strict=True)
    ]
    assert count == [5, 5, 5]
