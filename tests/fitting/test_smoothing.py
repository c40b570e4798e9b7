"""Joint fits along time against the truth, dense algebra and each other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from simspine_jax.body.kinematics import marker_positions
from simspine_jax.body.model import Model
from simspine_jax.datasets import synthetic_motion
from simspine_jax.fitting import ik, ik_frames, ik_prepare, smooth_pieces, smoothing
from simspine_jax.fitting.ik import IkOptions, fit_ik, fit_ik_stream
from simspine_jax.fitting.ik_prepare import Plan
from simspine_jax.fitting.ik_search_options import SearchOptions
from simspine_jax.fitting.smoothing import Smoothness
from simspine_jax.io.load import load_model
from simspine_jax.types import MarkerTrajectory, Motion
from tests.random_models import write_random_model

SPINE = 4  # seed: a chain with couplers and limits; its lower half is seen here
FRAMES = 40
RATE_HZ = 50.0
NOISE_M = 0.005
# One window and one size for nearly all that is solved here: one compilation.
SMOOTH = Smoothness(window_frames=64, shared_frames=0)
OPTIONS = IkOptions(
    chunk_frames=64,
    lanes=8,
    search=SearchOptions(anchor_stride=20, body_starts=1, limb_starts=2, limb_rounds=1),
    smooth=SMOOTH,
    noise_m=NOISE_M,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    path = tmp_path_factory.mktemp("models") / "spine.osim"
    whole = load_model(write_random_model(SPINE, path).path)
    lower = tuple(n for n in whole.marker_names if n[:2] in {"p_", "s_", "v1", "v2"})
    return ik_prepare.select_markers(whole, lower)


@pytest.fixture(scope="module")
def plan(model: Model) -> Plan:
    return ik.make_plan(model, model.marker_names, None, IkOptions())


def swung(model: Model, frames: int, rate_hz: float = RATE_HZ, seed: int = 3) -> Motion:
    swing = synthetic_motion.draw_swing(model, seed)
    return synthetic_motion.swing_motion(model, swing, frames, rate_hz)


@pytest.fixture(scope="module")
def motion(model: Model) -> Motion:
    return swung(model, FRAMES)


@pytest.fixture(scope="module")
def trial(model: Model, motion: Motion) -> MarkerTrajectory:
    return synthetic_motion.observe(model, motion, NOISE_M)


@pytest.fixture(scope="module")
def smooth(plan, trial, motion) -> smoothing.Smooth:
    return smoothing.smooth(plan, [trial], [motion.q], SMOOTH, NOISE_M)[0]


class Joint:
    """The joint objective written again, as residuals of all unknowns, in NumPy."""

    def __init__(self, plan: Plan, trial: MarkerTrajectory, options: Smoothness):
        free = np.asarray(plan.model.topology.free, int)
        base = jnp.asarray(plan.model.default_q)[free]
        columns = np.asarray(plan.columns, int)
        markers = lambda x: marker_positions(
            plan.model, plan.model.expand(base.at[columns].set(x))[None]
        )[0].ravel()
        self.markers = jax.jit(jax.vmap(markers))
        self.slopes = jax.jit(jax.vmap(jax.jacfwd(markers)))
        self.seen = np.repeat(trial.valid, 3, axis=1)
        self.points = trial.points.reshape(len(trial.points), -1)
        # Per frame (x_a - 2 x_b + x_c) / dt^2, over S / sqrt(dt): a unit normal.
        dt = 1 / trial.rate_hz
        angle = np.asarray(plan.model.coordinate_is_angle)[plan.unknowns]
        density = np.where(angle, options.angle, options.length)
        order = 2 if options.of == "acceleration" else 1
        self.d = np.diff(np.eye(len(trial.points)), order, axis=0) / dt**order
        self.prior_sd = density / np.sqrt(dt)

    def cost(self, x: np.ndarray) -> float:
        """Negative logarithm of the posterior."""
        miss = (np.asarray(self.markers(x)) - self.points)[self.seen] / NOISE_M
        rough = (self.d @ x) / self.prior_sd
        return 0.5 * (miss**2).sum() + 0.5 * (rough**2).sum()

    def information(self, x: np.ndarray) -> np.ndarray:
        """Gauss-Newton curvature of all unknowns. Shape [T n, T n]."""
        count, n = x.shape
        j = np.asarray(self.slopes(x)) * self.seen[:, :, None] / NOISE_M
        whole = np.zeros((count, n, count, n))
        each = np.arange(count)
        whole[each, :, each] = np.einsum("tki,tkj->tij", j, j)
        prior = np.kron(self.d.T @ self.d, np.diag(self.prior_sd**-2.0))
        return whole.reshape(count * n, -1) + prior


def rms_error(plan: Plan, q: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of each unknown over time."""
    return np.sqrt(((q - truth)[:, plan.unknowns] ** 2).mean(axis=0))


def alone(plan: Plan, trial: MarkerTrajectory, motion: Motion) -> np.ndarray:
    """Every frame fitted alone: the same solver with nothing that ties frames."""
    loose = dataclasses.replace(SMOOTH, angle=1e6, length=1e6)
    return smoothing.smooth(plan, [trial], [motion.q], loose, NOISE_M)[0].q


def test_it_is_nearer_to_the_truth_than_frames_alone(plan, trial, motion, smooth):
    single = alone(plan, trial, motion)
    truth = np.asarray(motion.q)
    before = rms_error(plan, single, truth)
    after = rms_error(plan, smooth.q, truth)
    assert (after < before).all()
    assert np.mean(after / before) < 0.6
    assert smooth.change <= SMOOTH.tolerance
    assert smooth.noise_m == NOISE_M
    model = plan.model
    np.testing.assert_array_equal(smooth.q, model.expand(model.free_of(smooth.q)))


@pytest.mark.parametrize(
    "options", [SMOOTH, dataclasses.replace(SMOOTH, of="velocity", angle=0.5)]
)
def test_the_joint_objective_is_least_at_the_solution(plan, trial, motion, options):
    found = smoothing.smooth(plan, [trial], [motion.q], options, NOISE_M)[0]
    joint = Joint(plan, trial, options)
    x = found.q[:, plan.unknowns]
    inside = np.abs(x - np.asarray(plan.model.upper)[plan.unknowns]) > 1e-9
    inside &= np.abs(x - np.asarray(plan.model.lower)[plan.unknowns]) > 1e-9
    curvature = np.diag(joint.information(x)).reshape(x.shape)
    rng = np.random.default_rng(0)
    lowest = joint.cost(x)
    for t, k in rng.permutation(np.argwhere(inside))[:25]:
        # A thousandth of the unknown's SD given all others.
        step = np.zeros_like(x)
        step[t, k] = 1e-3 / np.sqrt(curvature[t, k])
        up, down = joint.cost(x + step), joint.cost(x - step)
        assert min(up, down) > lowest - 1e-9 * lowest
        slope = (up - down) / (2 * step[t, k])
        # Where the slope would vanish lies within a ten-thousandth of that SD.
        assert abs(slope) / np.sqrt(curvature[t, k]) < 1e-4


def test_the_windows_do_not_change_the_solution(plan, trial, motion, smooth):
    """Of a size that is no power of two, too."""
    narrow = dataclasses.replace(SMOOTH, window_frames=20, shared_frames=4)
    twice = [trial, trial], [motion.q, motion.q]
    for found in smoothing.smooth(plan, *twice, narrow, NOISE_M):
        assert found.change <= SMOOTH.tolerance
        np.testing.assert_allclose(found.q, smooth.q, atol=1e-6)


def test_several_trials_together_equal_each_alone(plan, model, trial, smooth):
    """The second and third are short: one frame cannot be smoothed, nor two."""
    other = swung(model, 15, seed=8)
    second = synthetic_motion.observe(model, other, NOISE_M, seed=1)
    parts = [
        (second, np.asarray(other.q)),
        (trial.cut(slice(0, 1)), smooth.q[:1]),
        (trial.cut(slice(0, 2)), smooth.q[:2]),
        (trial.cut(slice(0, 33)), smooth.q[:33]),
    ]
    trials, poses = zip(*parts, strict=True)
    together = smoothing.smooth(plan, trials, poses, SMOOTH, NOISE_M)
    assert [len(f.q) for f in together] == [15, 1, 2, 33]
    for part, q, found in zip(trials, poses, together, strict=True):
        single = smoothing.smooth(plan, [part], [q], SMOOTH, NOISE_M)[0]
        np.testing.assert_allclose(found.q, single.q, atol=1e-6)


def test_the_strength_does_not_depend_on_the_rate(plan, model):
    """Twice the frames at the same noise act as one frame with noise over root two.

    So the same motion at 100 Hz with noise larger by root two must come out the same.
    What remains is how finely the integral over time is summed, which goes with the
    fourth power of the frame time over the time constant of the filter.
    """
    slow, fast = swung(model, 30, 50.0), swung(model, 59, 100.0)
    np.testing.assert_allclose(np.asarray(fast.q)[::2], slow.q, atol=1e-12)
    # No noise is drawn: what is compared is how much smoothing flattens the motion.
    options = dataclasses.replace(SMOOTH, angle=0.3, length=0.1)
    found = [
        smoothing.smooth(
            plan,
            [synthetic_motion.observe(model, motion)],
            [np.asarray(motion.q)],
            options,
            noise_m,
        )[0].q
        for motion, noise_m in ((slow, NOISE_M), (fast, np.sqrt(2) * NOISE_M))
    ]
    middle = slice(8, 22)
    truth = np.asarray(slow.q)[middle][:, plan.unknowns]
    flattened = found[0][middle][:, plan.unknowns] - truth
    again = found[1][::2][middle][:, plan.unknowns] - truth
    assert np.abs(flattened).max() > 0.01  # it is a strong filter
    assert np.abs(again - flattened).max() < 0.05 * np.abs(flattened).max()


def test_a_gap_without_markers_is_filled_in_smoothly(plan, trial, motion):
    gap = slice(15, 23)
    valid = np.array(trial.valid)
    valid[gap] = False
    points = np.where(valid[..., None], trial.points, np.nan)
    broken = dataclasses.replace(trial, points=points, valid=valid)
    start = np.array(motion.q)
    start[gap] = start[14]
    found = smoothing.smooth(plan, [broken], [start], SMOOTH, NOISE_M)[0]
    truth = np.asarray(motion.q)
    # Within the gap nothing but the prior acts: third differences of a cubic spline
    # are constant, so that fourth ones vanish.
    fourth = np.diff(found.q[gap][:, plan.unknowns], 4, axis=0)
    inside = np.abs(np.diff(found.q[gap][:, plan.unknowns], 2, axis=0)).max()
    assert np.abs(fourth).max() < 1e-6 * inside + 1e-9
    wrong = np.abs(found.q - truth)[gap][:, plan.unknowns]
    held = np.abs(start - truth)[gap][:, plan.unknowns]
    assert wrong.max() < 0.5 * held.max()


def test_limits_are_kept(plan, model, trial, motion):
    """The motion is pushed against a limit; the rest answers."""
    upper = np.array(plan.model.upper)
    c = int(np.flatnonzero(np.isfinite(upper))[0])
    upper[c] = np.median(np.asarray(motion.q)[:, c])
    tight = lambda m: dataclasses.replace(m, upper=jnp.asarray(upper))
    held = dataclasses.replace(
        plan, model=tight(plan.model), solver_model=tight(plan.solver_model)
    )
    start = np.minimum(np.asarray(motion.q), upper)
    start = np.asarray(model.expand(model.free_of(start)))
    found = smoothing.smooth(held, [trial], [start], SMOOTH, NOISE_M)[0]
    assert found.change <= SMOOTH.tolerance
    assert found.q[:, c].max() == upper[c]
    assert 5 < (found.q[:, c] == upper[c]).sum() < FRAMES - 5


def test_the_noise_is_estimated_where_it_is_not_given(plan, trial, motion):
    single = alone(plan, trial, motion)
    data = ik_prepare.observations(plan, trial)
    estimate = ik_frames.estimated_noise(plan, single, data)
    assert estimate == pytest.approx(NOISE_M, rel=0.1)
    found = smoothing.smooth(plan, [trial], [single], SMOOTH)[0]
    assert found.noise_m == estimate
    given = smoothing.smooth(plan, [trial], [single], SMOOTH, estimate)[0]
    np.testing.assert_array_equal(found.q, given.q)


@pytest.mark.parametrize("frames", [1, 2, 6])
def test_the_covariance_is_the_dense_inverse(plan, trial, motion, frames):
    few = trial.cut(slice(frames))
    valid = np.array(few.valid)
    if frames == 6:
        valid[2] = False  # filled in by the prior, and known by it
    few = dataclasses.replace(few, valid=valid)
    start = np.asarray(motion.q)[:frames]
    fitted = smoothing.smooth(plan, [few], [start], SMOOTH, NOISE_M)[0]
    found = smoothing.covariance(plan, [few], [fitted.q], SMOOTH, NOISE_M)[0]
    x = fitted.q[:, plan.unknowns]
    n = x.shape[1]
    whole = np.linalg.inv(Joint(plan, few, SMOOTH).information(x))
    blocks = whole.reshape(frames, n, frames, n)
    expected = np.einsum("titj->tij", blocks)
    own = np.sqrt(np.einsum("tii->ti", expected))
    size = own[:, :, None] * own[:, None]
    np.testing.assert_allclose(found.x_covariance / size, expected / size, atol=1e-7)
    assert np.isfinite(found.coordinate_sd[:, plan.unknowns]).all()
    assert found.covariance.shape == (frames, *2 * (plan.model.default_q.shape[0],))


def test_more_frames_make_every_frame_surer(plan, trial, smooth):
    together = smoothing.covariance(plan, [trial], [smooth.q], SMOOTH, NOISE_M)[0]
    halves = smoothing.covariance(
        plan,
        [trial.cut(slice(20)), trial.cut(slice(20, None))],
        [smooth.q[:20], smooth.q[20:]],
        SMOOTH,
        NOISE_M,
    )
    parted = np.concatenate([h.coordinate_sd for h in halves])
    assert (together.coordinate_sd <= parted * (1 + 1e-9)).all()
    # Where they were cut, each missed the other; far away that is not felt.
    assert (together.coordinate_sd[19] < 0.95 * parted[19]).any()
    np.testing.assert_allclose(together.coordinate_sd[0], parted[0], rtol=1e-2)
    assert ((together.data_share >= 0) & (together.data_share <= 1 + 1e-12)).all()


# The whole of ``fit_ik``.


def test_pieces_of_a_long_trial_agree_with_one(model, trial, monkeypatch):
    """What a piece does not see lies 12 frames ahead or more.

    The influence of a frame falls by 1 / e over the time constant of the filter, here
    a few frames.
    """
    whole = fit_ik(model, trial, options=OPTIONS)
    monkeypatch.setattr(smooth_pieces, "PIECE_FRAMES", 20)
    monkeypatch.setattr(smooth_pieces, "AHEAD_FRAMES", 12)
    pieces = fit_ik(model, trial, options=OPTIONS)
    assert pieces.q.shape == whole.q.shape
    placed = [np.asarray(marker_positions(model, s.q)) for s in (whole, pieces)]
    assert np.abs(placed[0] - placed[1]).max() < 0.02 * NOISE_M
    # No seam between pieces: it bends there no more than the whole does.
    seam = slice(17, 22)
    bends = [np.abs(np.diff(p, 2, axis=0))[seam].max() for p in placed]
    assert bends[1] < 1.1 * bends[0]
    np.testing.assert_allclose(pieces.marker_rms, whole.marker_rms, atol=0.02 * NOISE_M)


class Collected:
    def __init__(self):
        self.motions = []

    def write(self, motion: Motion) -> None:
        self.motions.append(motion)


def test_a_stream_gives_the_same_as_the_whole(model, trial):
    whole = fit_ik(model, trial, options=OPTIONS)
    writer = Collected()
    frames = fit_ik_stream(model, iter([trial]), writer, options=OPTIONS)
    assert frames == FRAMES
    streamed = np.concatenate([m.q for m in writer.motions])
    np.testing.assert_array_equal(streamed, whole.q)
    # In pieces they differ by what a piece does not see of the next but one.
    writer, covered = Collected(), dataclasses.replace(OPTIONS, covariance=True)
    sizes = []
    parts = [trial.cut(slice(0, 20)), trial.cut(slice(20, None))]
    collect = lambda part: sizes.append(part.covariance.shape[0])
    fit_ik_stream(model, parts, writer, options=covered, progress=collect)
    assert sizes == [20, 20]
    assert [m.start_s for m in writer.motions] == [0.0, 20 / RATE_HZ]
    streamed = np.concatenate([m.q for m in writer.motions])
    placed = [np.asarray(marker_positions(model, q)) for q in (whole.q, streamed)]
    assert np.abs(placed[0] - placed[1]).max() < 0.02 * NOISE_M


def test_the_smooth_fit_ends_as_the_solver_alone_does(
    plan, model, trial, motion, smooth
):
    found = fit_ik(model, trial, options=OPTIONS)
    placed = [np.asarray(marker_positions(model, q)) for q in (found.q, smooth.q)]
    np.testing.assert_allclose(*placed, atol=1e-6)
    distance = np.linalg.norm(placed[0] - trial.points, axis=2)
    np.testing.assert_allclose(found.marker_error, distance, atol=1e-9)
    assert found.covariance is None


def test_fewer_steps_than_needed_is_a_warning(model, trial):
    few = dataclasses.replace(
        OPTIONS, smooth=dataclasses.replace(SMOOTH, max_steps=2, tolerance=1e-14)
    )
    with pytest.warns(UserWarning, match=r"^smoothing stopped after 2 evaluations"):
        fit_ik(model, trial, options=few)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf")])
def test_a_trial_without_a_rate_is_one_sentence(plan, model, trial, motion, rate_hz):
    still = dataclasses.replace(trial, rate_hz=rate_hz)
    match = r"^smoothing needs the frame rate of the trial; rate_hz is"
    with pytest.raises(ValueError, match=match):
        fit_ik(model, still, options=OPTIONS)
    with pytest.raises(ValueError, match=match):
        smoothing.smooth(plan, [still], [motion.q], SMOOTH, NOISE_M)
    with pytest.raises(ValueError, match=match):
        fit_ik_stream(model, [still], Collected(), options=OPTIONS)


def test_bad_input_is_one_sentence(plan, trial, motion):
    q = np.asarray(motion.q)
    with pytest.raises(ValueError, match=r"^trial 1 has 40 frames, but 39 poses$"):
        smoothing.smooth(plan, [trial, trial], [q, q[1:]], SMOOTH, NOISE_M)
    other = dataclasses.replace(trial, rate_hz=100.0)
    with pytest.raises(ValueError, match=r"must have one rate; they have 50, 100 Hz$"):
        smoothing.smooth(plan, [other, trial], [q, q], SMOOTH, NOISE_M)
    with pytest.raises(ValueError, match=r"^smoothness of 'jerk' is not known; choose"):
        Smoothness(of="jerk")
    for name in ("angle", "length", "max_steps", "tolerance"):
        for value in (0, -1, float("nan")):
            with pytest.raises(ValueError, match=rf"^smoothness: {name} must be pos"):
                Smoothness(**{name: value})
