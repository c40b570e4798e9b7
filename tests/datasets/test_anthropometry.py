import jax
import numpy as np
import pytest

import simspine_jax as sj
from simspine_jax.body import spine_markers
from simspine_jax.datasets import anthropometry
from simspine_jax.io import ansur
from third_party import fetch


@pytest.fixture(scope="module")
def survey() -> ansur.Measurements:
    root = fetch.fetch("nimblephysics-0.10.52.1")
    files = root.glob("nimblephysics/models/rajagopal_data/ANSUR*.csv")
    return ansur.read_ansur(sorted(files))


def _like(survey: ansur.Measurements, rows) -> ansur.Measurements:
    lengths = {name: values[rows] for name, values in survey.length_m.items()}
    return ansur.Measurements(lengths, survey.mass_kg[rows], survey.male[rows])


def test_a_draw_is_a_real_person_and_the_same_for_the_same_seed(survey):
    one, again = (anthropometry.draw_person(survey, (3, 5)) for _ in range(2))
    assert one == again
    assert one.stature_m == survey.length_m["stature"][one.index]
    assert one.mass_kg == survey.mass_kg[one.index]
    others = {anthropometry.draw_person(survey, (3, k)).index for k in range(20)}
    assert len(others) > 15


def test_the_mean_of_the_men_of_its_height_is_the_generic_model(survey):
    near = np.abs(survey.length_m["stature"] - 1.70) <= 0.01
    men = _like(survey, survey.male & near)
    mean = {name: np.array([v.mean()]) for name, v in men.length_m.items()}
    # The mean man stands among the others, so that the draw can only be him.
    alone = ansur.Measurements(mean, np.array([75.0]), np.array([True]))
    person = anthropometry.draw_person(alone, 0)
    np.testing.assert_allclose(list(person.factors.values()), 1.0, atol=1e-12)


def test_models_are_as_tall_as_the_people(survey, pose2sim_08):
    path = pose2sim_08 / "Pose2Sim/OpenSim_Setup/Model_Pose2Sim_Body25b.osim"
    generic = spine_markers.with_keypoints(sj.load_model(path))
    head, heel = (generic.marker_names.index(n) for n in ("Head", "LHeel"))
    tall = jax.jit(lambda model: sj.marker_positions(model, model.default_q)[..., 1])
    people = [anthropometry.draw_person(survey, k) for k in range(40)]
    height = []
    for person in people:
        y = tall(anthropometry.scaled_to(generic, person))
        height.append(float(y[head] - y[heel]))
    off = np.array(height) - [person.stature_m for person in people]
    # Skin under the heel and on the skull is not in the model, posture is its own.
    assert np.abs(off).max() < 0.08
    assert np.corrcoef(height, [p.stature_m for p in people])[0, 1] > 0.95


def test_sides_are_alike_and_every_factor_is_plausible(survey):
    for seed in range(200):
        factors = anthropometry.draw_person(survey, seed).factors
        for body, factor in factors.items():
            if body.endswith("_r"):
                assert factor == factors[f"{body[:-1]}l"]
        assert np.min(list(factors.values())) > 0.6
        assert np.max(list(factors.values())) < 1.5


def test_a_survey_without_men_of_that_height_is_refused(survey):
    women = _like(survey, ~survey.male)
    with pytest.raises(ValueError, match=r"no man of 1\.7 m .* 1986 people"):
        anthropometry.draw_person(women, 0)
