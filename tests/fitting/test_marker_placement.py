"""Placing markers, against OpenSim's MarkerPlacer on the same files."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.fitting import marker_placement, scale
from simspine_jax.io.fixed_markers import read_fixed_markers
from simspine_jax.io.scale_setup import MarkerPlacer, ScaleSetup, read_scale_setup
from simspine_jax.reference import opensim_objective, opensim_scale
from simspine_jax.reference.opensim_model import ReferenceModel
from simspine_jax.types import IkTasks, MarkerTrajectory
from tests import random_models, scale_setups

ATOL = 1e-9  # m
STAY = ("Neck", "LHip", "RHip")


@dataclasses.dataclass(frozen=True)
class Case:
    """OpenSim's answer and what goes into ours."""

    scaled: sj.Model
    static: MarkerTrajectory
    setup: ScaleSetup
    fixed: frozenset[str]
    reference: opensim_scale.ReferenceScale


@pytest.fixture(scope="module")
def demo(pose2sim_04: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The demo with its MarkerPlacer on, and all but three markers free to move."""
    folder = pose2sim_04 / scale_setups.FOLDER_04
    work = tmp_path_factory.mktemp("demo")
    setup = scale_setups.edited(
        folder / scale_setups.SETUP, work / "in.xml", scale_setups.placing
    )
    text = (folder / scale_setups.MODEL).read_bytes()
    parts = text.split(b'<Marker name="')
    parts[1:] = [
        part
        if part.split(b'"')[0].decode() in STAY
        else part.replace(b"<fixed>true", b"<fixed>false")
        for part in parts[1:]
    ]
    osim = work / "free.osim"
    osim.write_bytes(b'<Marker name="'.join(parts))
    with pytest.warns(UserWarning, match="25 data rows were read"):
        static = sj.read_trc(folder / "Standing_for_Scaling.trc")
    reference = opensim_scale.run_scale_tool(setup, osim, static, work)
    read = read_scale_setup(setup)
    scaled = scale.scale_by_setup(sj.load_model(osim), static, read).model
    return Case(scaled, static, read, read_fixed_markers(osim), reference)


def test_placed_as_opensim_places_in_its_pose(demo: Case):
    assert demo.fixed == set(STAY)
    result = marker_placement.place_markers(
        demo.scaled,
        demo.static,
        demo.setup.placer,
        demo.fixed,
        pose=demo.reference.static_pose,
    )
    assert demo.reference.placed is not None
    placed = sj.load_model(demo.reference.placed)
    assert placed.marker_names == result.model.marker_names
    np.testing.assert_allclose(
        result.model.marker_offset, placed.marker_offset, rtol=0, atol=ATOL
    )
    assert set(result.kept) == set(STAY)
    assert set(result.moved) == set(placed.marker_names) - set(STAY)
    moved = np.isin(placed.marker_names, result.moved)
    before = np.asarray(demo.scaled.marker_offset)
    np.testing.assert_array_equal(result.model.marker_offset[~moved], before[~moved])
    assert np.linalg.norm(result.model.marker_offset - before, axis=1)[moved].min() > 0
    # What OpenSim's own log says of the static pose.
    assert result.rms_m == pytest.approx(0.025612009144926392, abs=1e-9)


def test_marker_missing_at_times_goes_to_the_mean_of_the_others(demo: Case):
    names = demo.static.names
    valid = np.array(demo.static.valid)
    valid[3:9, names.index("LKnee")] = False
    valid[:, names.index("RKnee")] = False
    gaps = dataclasses.replace(demo.static, valid=valid)
    result = marker_placement.place_markers(
        demo.scaled, gaps, demo.setup.placer, pose=demo.scaled.default_q
    )
    assert result.kept == ("RKnee",)
    placed = np.asarray(sj.marker_positions(result.model, demo.scaled.default_q))
    points = np.asarray(demo.static.points)
    for name in ("LKnee", "LAnkle"):
        seen = points[valid[:, names.index(name)], names.index(name)]
        np.testing.assert_allclose(
            placed[demo.scaled.marker_names.index(name)], seen.mean(axis=0), atol=ATOL
        )


def test_movement_in_the_trial_warns(demo: Case):
    placer = dataclasses.replace(demo.setup.placer, max_marker_movement_m=0.05)
    points = np.asarray(demo.static.points)
    movement = np.ptp(points, axis=0).max(axis=1)
    far = [n for n, m in zip(demo.static.names, movement, strict=True) if m > 0.05]
    assert far
    assert len(far) < len(movement)
    with pytest.warns(UserWarning, match="by more than 0.05 m") as caught:
        marker_placement.average_frames(demo.static, placer)
    said = str(caught[0].message)
    assert [name for name in demo.static.names if f" {name} " in said] == far


def beyond(case: Case) -> MarkerPlacer:
    return dataclasses.replace(case.setup.placer, time_range_s=(8.0, 9.0))


def never(case: Case) -> MarkerPlacer:
    return dataclasses.replace(case.setup.placer, time_range_s=(-1.0, -1.0))


@pytest.mark.parametrize("make", [beyond, never])
def test_time_range_beside_the_trial_is_refused(
    make: Callable[[Case], MarkerPlacer], demo: Case
):
    with pytest.raises(ValueError, match="must meet the trial"):
        marker_placement.average_frames(demo.static, make(demo))


def test_pose_of_another_length_is_refused(demo: Case):
    with pytest.raises(ValueError, match=r"shape \(3,\), and the model needs \(62,\)"):
        marker_placement.place_markers(
            demo.scaled, demo.static, demo.setup.placer, pose=np.zeros(3)
        )


PLACER = """<OpenSimDocument Version="40000"><ScaleTool name="t"><mass>1</mass>
<GenericModelMaker/><ModelScaler><apply>true</apply></ModelScaler><MarkerPlacer>
<IKTaskSet><objects>{tasks}</objects></IKTaskSet><time_range>0 0.1</time_range>
</MarkerPlacer></ScaleTool></OpenSimDocument>"""
TASK = '<IKMarkerTask name="{}"><weight>{}</weight></IKMarkerTask>'


def test_own_fit_is_no_worse_than_opensims(tmp_path: Path):
    """A small model whose markers also hang from turned offset frames."""
    osim = tmp_path / "random.osim"
    random_models.write_random_model(3, osim)
    model = sj.load_model(osim)
    rng = np.random.default_rng(0)
    q = model.expand(
        model.free_of(model.default_q + rng.uniform(-0.2, 0.2, len(model.default_q)))
    )
    truth = np.asarray(sj.marker_positions(model, q))
    noise = rng.normal(0.0, 0.01, truth.shape)
    points = np.repeat((truth + noise)[None], 3, axis=0)
    points += rng.normal(0.0, 1e-3, points.shape)
    static = MarkerTrajectory(
        points, np.ones(points.shape[:2], bool), model.marker_names, 20.0
    )
    weights = {name: 1.0 + i % 3 for i, name in enumerate(model.marker_names)}
    tasks = "".join(TASK.format(name, weight) for name, weight in weights.items())
    setup = tmp_path / "in.xml"
    setup.write_text(PLACER.format(tasks=tasks))
    reference = opensim_scale.run_scale_tool(setup, osim, static, tmp_path)
    placer = read_scale_setup(setup).placer
    # OpenSim's own: its scaling by 1 stretches slanted translations, and its files
    # round their axes.
    model = sj.load_model(reference.scaled)
    result = marker_placement.place_markers(model, static, placer)
    assert reference.static_pose is not None
    assert reference.placed is not None
    ours, theirs = (
        opensim_objective.objective(
            ReferenceModel(reference.scaled),
            pose[None],
            result.static,
            IkTasks(weights),
        )[0]
        for pose in (result.q, reference.static_pose)
    )
    assert ours <= theirs * (1 + 1e-6)
    np.testing.assert_allclose(
        sj.marker_positions(result.model, result.q), points.mean(axis=0), atol=ATOL
    )
    given = marker_placement.place_markers(
        model,
        static,
        placer,
        read_fixed_markers(osim),
        pose=reference.static_pose,
    )
    theirs_placed = sj.load_model(reference.placed)
    np.testing.assert_allclose(
        given.model.marker_offset, theirs_placed.marker_offset, rtol=0, atol=ATOL
    )
