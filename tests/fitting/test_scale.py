"""Scaling by a set-up, against OpenSim's ScaleTool on the same files."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.cameras import world_axes
from simspine_jax.fitting import people, scale
from simspine_jax.io.openpose import read_openpose
from simspine_jax.io.scale_setup import (
    BodyScale,
    ManualScale,
    Measurement,
    ModelScaler,
    read_scale_setup,
)
from simspine_jax.reference import opensim_scale
from simspine_jax.skeletons import body_25b
from simspine_jax.types import MarkerTrajectory
from tests import captures, poses, scale_setups

ATOL_FACTOR = 1e-12  # the bar is 1e-6
ATOL = 1e-9  # m
STATIC = "S00_P00_SingleParticipant/S00_P00_T00_StaticTrial/pose"


@pytest.fixture(scope="module")
def folder(pose2sim_04: Path) -> Path:
    return pose2sim_04 / scale_setups.FOLDER_04


@pytest.fixture(scope="module")
def model(folder: Path) -> sj.Model:
    return sj.load_model(folder / scale_setups.MODEL)


@pytest.fixture(scope="module")
def standing(folder: Path) -> MarkerTrajectory:
    with pytest.warns(UserWarning, match="25 data rows were read"):
        return sj.read_trc(folder / "Standing_for_Scaling.trc")


def compare(scaled: scale.ScaleResult, reference: opensim_scale.ReferenceScale) -> None:
    """Factors, offsets and forward kinematics of the two scaled models."""
    assert set(scaled.factors) == set(reference.factors)
    for body, factors in reference.factors.items():
        np.testing.assert_allclose(
            scaled.factors[body], factors, rtol=0, atol=ATOL_FACTOR, err_msg=body
        )
    theirs = sj.load_model(reference.scaled)
    ours = scaled.model
    assert ours.topology == theirs.topology
    for name in ("marker_offset", "parent_translation", "child_translation"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=0, atol=ATOL, err_msg=name
        )
    q = poses.random_poses(theirs, 3)
    a, b = sj.forward_kinematics(ours, q), sj.forward_kinematics(theirs, q)
    np.testing.assert_allclose(a.position, b.position, rtol=0, atol=ATOL)
    np.testing.assert_allclose(a.rotation, b.rotation, rtol=0, atol=ATOL)


VARIANTS = {
    "as shipped": scale_setups.scaler_with(),
    "measurements": scale_setups.scaler_with("measurements", manual=True),
    "manual": scale_setups.scaler_with("manualScale", manual=True),
    "manual last": scale_setups.scaler_with(manual=True),
    "manual first": scale_setups.scaler_with("manualScale measurements", manual=True),
    "no order": scale_setups.scaler_with("", manual=True),
    "within": scale_setups.scaler_with(time_range="0.1 0.2"),
    "between frames": scale_setups.scaler_with(time_range="0.11 0.19"),
    "one instant": scale_setups.scaler_with(time_range="0.108 0.108"),
    "beyond": scale_setups.scaler_with(time_range="-3 77"),
    "per axis": scale_setups.scaler_with(axes=("X", "Y Z", "z", "")),
    "per axis, manual first": scale_setups.scaler_with(
        "manualScale measurements", manual=True, axes=("Y", "X Z")
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_factor_and_offset_is_opensims(
    variant: str,
    folder: Path,
    model: sj.Model,
    standing: MarkerTrajectory,
    tmp_path: Path,
):
    setup = scale_setups.edited(
        folder / scale_setups.SETUP, tmp_path / "in.xml", VARIANTS[variant]
    )
    reference = opensim_scale.run_scale_tool(
        setup,
        folder / scale_setups.MODEL,
        folder / "Standing_for_Scaling.trc",
        tmp_path,
    )
    compare(scale.scale_by_setup(model, standing, read_scale_setup(setup)), reference)


def test_demo_as_shipped_uses_its_25_frames(
    folder: Path, model: sj.Model, standing: MarkerTrajectory
):
    setup = read_scale_setup(folder / scale_setups.SETUP)
    result = scale.scale_by_setup(model, standing, setup)
    assert result.n_frames == 25
    assert result.measured is not None
    assert not result.measured.skipped
    # What OpenSim's own log says.
    ratios = {"torso": 0.9374133550541357, "pelvis": 0.9766477867031994}
    for name, ratio in ratios.items():
        assert result.measured.ratios[name] == pytest.approx(ratio, rel=1e-12)
    np.testing.assert_allclose(result.factors["lumbar3"], ratios["torso"])


def test_our_static_trial_and_the_newer_set_up(pose2sim_08: Path, tmp_path: Path):
    session = pose2sim_08 / captures.SESSION
    rig = sj.read_calibration(session / "S00_Calibration/Calib.qca.txt")
    seen = people.main_person(
        rig,
        read_openpose(
            session / STATIC, rig.names, keypoint_names=body_25b.NAMES, rate_hz=60.0
        ),
    )
    static = world_axes.to_trajectory(
        sj.triangulate(rig, seen), seen.keypoint_names, seen.rate_hz
    )
    path = tmp_path / "ours.trc"
    sj.write_trc(path, static)
    setups = pose2sim_08 / "Pose2Sim/OpenSim_Setup"
    setup = setups / scale_setups.SETUP
    reference = opensim_scale.run_scale_tool(
        setup, setups / scale_setups.MODEL, path, tmp_path
    )
    model = sj.load_model(setups / scale_setups.MODEL)
    result = scale.scale_by_setup(model, static, read_scale_setup(setup))
    assert result.n_frames == 12
    assert result.measured is not None
    assert not result.measured.skipped
    compare(result, reference)


def test_a_marker_missing_in_one_frame_drops_the_measurement(
    folder: Path, model: sj.Model, standing: MarkerTrajectory, tmp_path: Path
):
    valid = np.array(standing.valid)
    valid[7, standing.names.index("LKnee")] = False
    gap = dataclasses.replace(standing, valid=valid)
    setup = folder / scale_setups.SETUP
    reference = opensim_scale.run_scale_tool(
        setup, folder / scale_setups.MODEL, gap, tmp_path
    )
    with pytest.warns(UserWarning, match=r"'LKnee' is missing in 1 of 25 frames"):
        result = scale.scale_by_setup(model, gap, read_scale_setup(setup))
    compare(result, reference)
    assert result.measured is not None
    assert set(result.measured.skipped) == {"thigh", "shank"}
    np.testing.assert_array_equal(result.factors["femur_r"], 1.0)


def measurement(*pairs: tuple[str, str], body: str = "pelvis") -> Measurement:
    return Measurement("m", True, pairs, (BodyScale(body, (True, True, True)),))


HIPS, KNEES = ("RHip", "LHip"), ("RKnee", "LKnee")


def scaler(*measurements: Measurement, **changes: object) -> ModelScaler:
    plain = ModelScaler(True, ("measurements", "manualScale"), measurements)
    return dataclasses.replace(plain, time_range_s=(0.1, 0.2), **changes)


def test_ratio_is_the_mean_over_pairs_of_mean_lengths(
    model: sj.Model, standing: MarkerTrajectory
):
    both = scaler(measurement(HIPS, KNEES))
    ratio = scale.scale_by_setup(model, standing, both).factors["pelvis"][0]
    points, names = np.asarray(standing.points)[5:12], standing.names
    placed = np.asarray(sj.marker_positions(model, model.default_q))
    expected = []
    for a, b in (HIPS, KNEES):
        apart = points[:, names.index(b)] - points[:, names.index(a)]
        on_model = placed[model.marker_names.index(b)]
        on_model = on_model - placed[model.marker_names.index(a)]
        lengths = np.sqrt((apart**2).sum(axis=1))
        expected.append(lengths.mean() / np.linalg.norm(on_model))
    assert ratio == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((0.1, 0.2), (5, 12)),  # frames are at (i + 1) / 60 s
        ((0.101, 0.199), (5, 12)),
        ((0.1 + 1e-9, 0.2 - 1e-9), (5, 12)),
        ((0.1 - 1e-9, 0.2 + 1e-9), (5, 12)),
        ((0.0999, 0.2001), (4, 13)),
        ((0.11, 0.11), (5, 7)),
    ],
)
def test_frames_enclose_the_time_range(
    times: tuple[float, float], expected: tuple[int, int], standing: MarkerTrajectory
):
    found = scale.frames_between(standing, times)
    assert (found.start, found.stop) == expected


@pytest.mark.parametrize(("times", "frame"), [((-1.0, -1.0), 0), ((7.0, 8.0), 24)])
def test_range_beside_the_trial_takes_its_nearest_frame(
    times: tuple[float, float], frame: int, standing: MarkerTrajectory
):
    with pytest.warns(UserWarning, match="does not meet the trial"):
        assert scale.frames_between(standing, times) == slice(frame, frame + 1)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (measurement(), "it has no pair of markers"),
        (measurement(HIPS, ("RHip", "no")), "the model has no marker 'no'"),
        (measurement(HIPS, body="tail"), "of body 'tail', which the model does not"),
    ],
)
def test_what_cannot_be_measured_warns_and_scales_nothing(
    given: Measurement, match: str, model: sj.Model, standing: MarkerTrajectory
):
    with pytest.warns(UserWarning, match=match):
        result = scale.scale_by_setup(model, standing, scaler(given))
    np.testing.assert_array_equal(np.stack(list(result.factors.values())), 1.0)
    np.testing.assert_array_equal(result.model.marker_offset, model.marker_offset)


def test_trial_without_a_marker_warns(model: sj.Model, standing: MarkerTrajectory):
    names = tuple("hip" if n == "LHip" else n for n in standing.names)
    renamed = dataclasses.replace(standing, names=names)
    with pytest.warns(UserWarning, match="the trial has no marker 'LHip'"):
        scale.scale_by_setup(model, renamed, scaler(measurement(HIPS)))


def ground(_: MarkerTrajectory) -> ModelScaler:
    return scaler(manual_scales=(ManualScale("ground", (1.0, 1.0, 2.0), True),))


def same_place(_: MarkerTrajectory) -> ModelScaler:
    return scaler(measurement(("RHip", "RHip")))


@pytest.mark.parametrize(
    ("make", "match"),
    [(ground, "only bodies can be scaled"), (same_place, "one place in the model")],
)
def test_refusals(
    make: Callable[[MarkerTrajectory], ModelScaler],
    match: str,
    model: sj.Model,
    standing: MarkerTrajectory,
):
    with pytest.raises(ValueError, match=match):
        scale.scale_by_setup(model, standing, make(standing))


def test_nothing_scales_where_apply_is_false(
    model: sj.Model, standing: MarkerTrajectory
):
    off = scaler(measurement(HIPS), apply=False)
    before = np.array(model.marker_offset)
    result = scale.scale_by_setup(model, standing, off)
    assert result.n_frames == 0
    assert result.measured is None
    np.testing.assert_array_equal(
        result.model.parent_translation, model.parent_translation
    )
    np.testing.assert_array_equal(model.marker_offset, before)
