import numpy as np

from simspine_jax.body import segments
from simspine_jax.datasets import anthropometry
from simspine_jax.fitting import calibration_prior
from tests.fitting import calibration_subjects


def test_the_stated_prior_is_that_of_the_survey():
    people = calibration_subjects.survey()
    alike = anthropometry._like_the_generic_model(people)
    rows = []
    for name in segments.SEGMENTS:
        length = anthropometry._length(people, name)
        rows.append(np.log(length / length[alike].mean()))
    logs = np.array(rows).T
    male = people.male
    weight = np.where(male, 0.5 / male.sum(), 0.5 / (~male).sum())
    mean = weight @ logs
    away = logs - mean
    covariance = (away * weight[:, None]).T @ away
    stated_mean, stated = calibration_prior.survey_prior()
    np.testing.assert_allclose(stated_mean, mean, atol=6e-4)
    sd, stated_sd = np.sqrt(np.diag(covariance)), np.sqrt(np.diag(stated))
    np.testing.assert_allclose(stated_sd, sd, atol=6e-4)
    np.testing.assert_allclose(
        stated / np.outer(stated_sd, stated_sd),
        covariance / np.outer(sd, sd),
        atol=6e-3,
    )
    assert np.linalg.eigvalsh(stated).min() > 1e-4


def test_sides_differ_by_the_symmetry_sd_and_only_they():
    names = ("trunk", "thigh_r", "thigh_l")
    mean, covariance = calibration_prior.segment_prior(names, 0.01)
    assert mean[1] == mean[2]
    across = np.array([0.0, 1.0, -1.0])
    np.testing.assert_allclose(across @ covariance @ across, 0.01**2)
    _, more = calibration_prior.segment_prior(names, 0.01, shape_sd=0.02, size_sd=0.1)
    np.testing.assert_allclose(across @ more @ across, 0.01**2)
    np.testing.assert_allclose(more[0, 1] - covariance[0, 1], 0.1**2)
    np.testing.assert_allclose(more[0, 0] - covariance[0, 0], 0.1**2 + 0.02**2)
