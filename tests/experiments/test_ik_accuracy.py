"""The accuracy experiment's settings and bad input; the run itself is CI's."""

import pytest

from configs import ik_accuracy as configuration
from experiments import _ik_trials


def test_variants():
    full, tiny = configuration.get_config(), configuration.get_config("tiny")
    assert full.poses >= 200
    assert len(full.models) == 3
    assert set(tiny.keys()) == set(full.keys())
    with pytest.raises(ValueError, match="no variant 'small'"):
        configuration.get_config("small")


def test_an_unknown_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no model 'spine'"):
        _ik_trials.true_motion("spine", tmp_path, 10, 0)


def test_the_published_motion_is_cut_to_the_frames_asked_for(tmp_path):
    model, motion, files = _ik_trials.true_motion("lstm", tmp_path, 10, 0)
    assert motion.q.shape == (10, len(model.coordinate_names))
    assert all(path.is_file() for path in files)
