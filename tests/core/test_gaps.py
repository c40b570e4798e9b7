"""Filled gaps against curves they must follow, scipy, and what must not change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import interpolate

from simspine_jax.core import gaps

methods = pytest.mark.parametrize("method", gaps.METHODS)


def curve(degree: int, frames: int = 30, points: int = 2) -> np.ndarray:
    rng = np.random.default_rng(degree)
    powers = np.linspace(-1, 1, frames)[:, None] ** np.arange(degree + 1)
    return np.einsum("td,dkc->tkc", powers, rng.normal(size=(degree + 1, points, 3)))


def test_a_gap_of_a_line_filled_by_hand():
    points = np.zeros((4, 1, 3))
    points[:, 0, 0] = [1.0, 99.0, 99.0, 7.0]
    valid = np.array([[True], [False], [False], [True]])
    found, now, filled = gaps.fill(points, valid, 2, "linear")
    np.testing.assert_allclose(found[:, 0, 0], [1.0, 3.0, 5.0, 7.0])
    np.testing.assert_array_equal(filled, ~valid)
    assert now.all()


@pytest.mark.parametrize(
    ("method", "degree"), [("linear", 1), ("pchip", 1), ("cubic", 1), ("cubic", 3)]
)
def test_polynomials_are_kept(method, degree):
    truth = curve(degree)
    valid = np.ones(truth.shape[:2], bool)
    valid[5:9, 0] = valid[20, 0] = valid[14:17, 1] = False
    seen = np.where(valid[..., None], truth, 0.0)
    found, _, _ = gaps.fill(seen, valid, 4, method)
    np.testing.assert_allclose(found, truth, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "oracle"),
    [("cubic", interpolate.CubicSpline), ("pchip", interpolate.PchipInterpolator)],
)
def test_it_equals_scipy_on_one_stretch(method, oracle):
    points = np.random.default_rng(0).normal(size=(25, 1, 3))
    valid = np.ones((25, 1), bool)
    valid[[4, 5, 11]] = False
    found, _, _ = gaps.fill(points, valid, 2, method)
    seen = np.flatnonzero(valid)
    np.testing.assert_allclose(
        found[:, 0], oracle(seen, points[seen, 0])(np.arange(25)), atol=1e-12
    )


@methods
def test_longer_gaps_and_gaps_at_the_ends_stay(method):
    valid = np.ones((20, 1), bool)
    valid[:2] = valid[5:9] = valid[12:15] = valid[18:] = False
    _, now, filled = gaps.fill(np.zeros((20, 1, 3)), valid, 3, method)
    np.testing.assert_array_equal(np.flatnonzero(filled), [12, 13, 14])
    np.testing.assert_array_equal(now, valid | filled)


@methods
def test_nothing_is_carried_across_a_gap_that_stays(method):
    rng = np.random.default_rng(2)
    points = rng.normal(size=(30, 1, 3))
    valid = np.ones((30, 1), bool)
    valid[4] = valid[10:20] = False
    other = points.copy()
    other[20:] += 5.0
    np.testing.assert_array_equal(
        gaps.fill(points, valid, 3, method)[0][:20],
        gaps.fill(other, valid, 3, method)[0][:20],
    )


@methods
def test_time_reversed_points_are_filled_alike(method):
    points = np.random.default_rng(3).normal(size=(30, 2, 3))
    valid = np.random.default_rng(4).uniform(size=(30, 2)) > 0.3
    found, _, _ = gaps.fill(points, valid, 4, method)
    other, _, _ = gaps.fill(points[::-1], valid[::-1], 4, method)
    np.testing.assert_allclose(other[::-1], found, atol=1e-10)


@settings(deadline=None, max_examples=60)
@given(
    seen=st.lists(st.booleans(), min_size=0, max_size=25),
    longest=st.integers(0, 6),
    method=st.sampled_from(gaps.METHODS),
)
def test_only_what_is_flagged_changes(seen, longest, method):
    valid = np.array(seen, bool).reshape(-1, 1)
    points = np.random.default_rng(5).normal(size=(len(seen), 1, 3))
    kept, was = points.copy(), valid.copy()
    found, now, filled = gaps.fill(points, valid, longest, method)
    np.testing.assert_array_equal(points, kept)
    np.testing.assert_array_equal(valid, was)
    np.testing.assert_array_equal(found[~filled], kept[~filled])
    np.testing.assert_array_equal(now, was | filled)
    assert not (was & filled).any()
    assert np.isfinite(found).all()
    for gap in gaps.runs(~was[:, 0]):
        inside = gap.start > 0 and gap.stop < len(seen)
        short = inside and gap.stop - gap.start <= longest
        assert filled[gap].all() == short == filled[gap].any()


def test_runs_by_hand():
    mask = np.array([True, True, False, True, False, False, True])
    assert gaps.runs(mask) == [slice(0, 2), slice(3, 4), slice(6, 7)]
    assert gaps.runs(np.zeros(3, bool)) == []
    assert gaps.runs(np.zeros(0, bool)) == []


def test_bad_input_is_one_sentence():
    points, valid = np.zeros((5, 1, 3)), np.ones((5, 1), bool)
    with pytest.raises(ValueError, match=r"^gaps cannot be filled by 'spline'; choose"):
        gaps.fill(points, valid, 3, "spline")
    with pytest.raises(ValueError, match=r"^the longest gap to fill must not be neg"):
        gaps.fill(points, valid, -1)
