import jax
import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.body import spine_markers
from simspine_jax.datasets import observation, simulate
from simspine_jax.io import ansur
from simspine_jax.skeletons import simspine
from third_party import fetch

_FRAMES = 60


@pytest.fixture(scope="module")
def model(pose2sim_08) -> sj.Model:
    path = pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    return sj.load_model(path)


@pytest.fixture(scope="module")
def survey() -> ansur.Measurements:
    root = fetch.fetch("nimblephysics-0.10.52.1")
    files = root.glob("nimblephysics/models/rajagopal_data/ANSUR*.csv")
    return ansur.read_ansur(sorted(files))


@pytest.fixture(scope="module")
def exact(model, survey) -> list[simulate.Simulated]:
    options = simulate.SimulationOptions(
        subjects=("S1", "S9"),
        actions=("Sitting", "Greeting"),
        takes=1,
        frames=_FRAMES,
        noise=observation.EXACT,
    )
    return list(simulate.simulate(model, survey, {}, options))


def test_sequences_are_those_of_the_data_set():
    every = simulate.sequences(simulate.SimulationOptions())
    names = [s.name for s in every]
    assert len(names) == len(set(names)) == 7 * 15 * 2
    assert names[:2] == ["S1_Directions_1", "S1_Directions_2"]
    # SIMSPINE's 2.14 M images are 0.535 M instants of four views.
    assert len(every) * simulate.SimulationOptions().frames == 535_500
    test = {s.subject for s in every if simulate.split_of(s.subject) == "test"}
    assert test == {"S9", "S11"}
    assert {*simulate.TRAIN_SUBJECTS} == {"S1", "S5", "S6", "S7", "S8"}


def test_a_sequence_does_not_depend_on_the_others(model, survey, exact):
    options = simulate.SimulationOptions(
        actions=("Greeting",), frames=_FRAMES, noise=observation.EXACT
    )
    alone = simulate.simulate_sequence(
        model, survey, {}, options, simulate.Sequence("S9", "Greeting", 1)
    )
    np.testing.assert_array_equal(alone.points, exact[3].points)
    np.testing.assert_array_equal(alone.motion.q, exact[3].motion.q)
    np.testing.assert_array_equal(alone.detections.points, exact[3].detections.points)
    other = simulate.simulate_sequence(
        model, survey, {}, options, simulate.Sequence("S9", "Greeting", 2)
    )
    assert other.person == alone.person
    assert not np.allclose(other.points, alone.points, atol=0.01)


def test_points_are_those_of_the_subjects_model(exact):
    for made in exact:
        ground = np.asarray(sj.marker_positions(made.model, made.motion.q))
        x, y, z = np.moveaxis(ground, -1, 0)
        # World Z is up: ground X, Y, Z are world Y, Z, X.
        world = np.stack([z, x, y], axis=-1)
        np.testing.assert_allclose(made.points, world, atol=1e-12)
        assert made.model.marker_names == simspine.NAMES


def test_the_spine_is_where_the_ik_demo_places_it(exact):
    for made in exact:
        spine = spine_markers.spine_marker_positions(made.model, made.motion.q)
        ours = [simspine.NAMES.index(name) for name in simspine.SPINE_NAMES]
        found = sj.marker_positions(made.model, made.motion.q)[:, np.array(ours)]
        np.testing.assert_allclose(found, spine, atol=1e-12)


def test_feet_stand_on_the_floor(exact):
    feet = [i for i, n in enumerate(simspine.NAMES) if n.endswith(("Heel", "Toe"))]
    for made in exact:
        lowest = made.points[:, feet, 2].min(axis=1)
        assert (lowest > 0.01).all()
        assert (lowest < 0.04).all()
        assert np.abs(made.points[..., :2]).max() < 3.0


def test_exact_detections_give_the_points_back(exact):
    for made in exact:
        found = sj.triangulate(made.rig, made.detections)
        seen = (np.asarray(made.detections.confidence) > 0).sum(axis=1) >= 2
        assert seen.mean() > 0.99
        off = np.linalg.norm(np.asarray(found.points) - made.points, axis=2)
        assert off[seen].max() < 1e-6


def test_noise_is_as_asked_and_hidden_points_are_marked(model, survey):
    options = simulate.SimulationOptions(
        subjects=("S5",), actions=("Waiting",), takes=1, frames=_FRAMES
    )
    made = next(simulate.simulate(model, survey, {}, options))
    exact = np.asarray(sj.project(made.rig, made.points))
    seen = np.asarray(made.detections.confidence) > 0
    off = np.linalg.norm(np.asarray(made.detections.points) - exact, axis=-1)
    sigma = np.array([simspine.OKS_SIGMAS[name] for name in simspine.NAMES])
    off *= sigma.mean() / sigma
    clear, hidden = off[seen & ~made.hidden], off[seen & made.hidden]
    # 6 mm of scatter and of drift at 4.4 mm a pixel; Rayleigh's median is 1.18 SD.
    assert 1.6 < np.median(clear) < 2.9
    assert 2.0 < np.median(hidden) / np.median(clear) < 3.0
    assert 0.02 < made.hidden.mean() < 0.4


def test_subjects_differ_and_seeds_do(model, survey):
    people = {
        simulate.subject_model(model, survey, subject, seed)[0].index
        for subject in simulate.SUBJECTS
        for seed in (0, 1)
    }
    assert len(people) == 14


def test_models_of_all_subjects_share_one_compilation(model, survey):
    structures = {
        jax.tree.structure(simulate.subject_model(model, survey, subject, 0)[1])
        for subject in simulate.SUBJECTS
    }
    assert len(structures) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"subjects": ("S12",)}, "no subject 'S12'; there are S1"),
        ({"actions": ("Flying",)}, "no action 'Flying'"),
        ({"frames": 0}, r"frames \(0\)"),
        ({"takes": 0}, r"takes \(0\)"),
        ({"rate_hz": float("nan")}, "must be positive"),
    ],
)
def test_what_cannot_be_simulated_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        simulate.sequences(simulate.SimulationOptions(**changed))
