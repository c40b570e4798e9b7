"""OpenSim's own kinematics of a model, as plain NumPy calls.

The oracle that forward kinematics is checked against. Notation: ``q [T, N]`` are
coordinates (rad, m) in ``coordinate_names`` order; positions are metres in
the ground frame; rotation columns are the body's axes in ground. Simbody keeps its
own vector of positions ``y`` in tree order; the map between the two is found once
by moving each coordinate in turn.
"""

from pathlib import Path

import numpy as np
import opensim
from jaxtyping import Float

from simspine_jax.body import spec
from simspine_jax.reference import opensim_couplers, opensim_load
from simspine_jax.types import Array

# Coordinates are told apart in Simbody's vector by these distinct values.
_PROBE_STEP = 1e-3
# Couplers are satisfied to this residual by assembly (rad, m).
_ASSEMBLY_ACCURACY = 1e-11
_AXES = (0, 1, 2)


class ReferenceModel:
    """A model evaluated by OpenSim 4.6, one pose at a time (about 0.5 ms each).

    Coordinates stand in ``model.getCoordinateSet()`` order: joints as in the file's
    JointSet, whatever the shape of the tree; within a joint as in its coordinate list,
    but in a CustomJoint as its six axes first use them. Bodies stand in BodySet
    order without ground, markers in MarkerSet order. Poses are taken as given:
    couplers, locks and clamps do nothing, but in ``assemble``.

    Attributes:
        model: The OpenSim model.
        body_names: B names.
        coordinate_names: N names.
        marker_names: M names.
        locked: Whether a coordinate is locked. Shape [N].
        clamped: Whether a coordinate is clamped. Shape [N].
        ranges: Lower and upper end of each range, rad or m. Shape [N, 2].
        default_q: Default values as the file states them, couplers not applied,
            rad or m. Shape [N].
    """

    def __init__(self, osim_path: str | Path, markers: str | Path | None = None):
        """Loads and initialises; arguments and errors of ``opensim_load.load``."""
        self.model = opensim_load.load(osim_path, markers)
        self.model.set_assembly_accuracy(_ASSEMBLY_ACCURACY)
        try:
            self._state = self.model.initSystem()
        except RuntimeError as error:
            why = opensim_load.one_line(error)
            raise spec.ModelError(f"{osim_path}: OpenSim: {why}") from error
        self._matter = self.model.getMatterSubsystem()
        bodies, joints = self.model.getBodySet(), self.model.getCoordinateSet()
        markers_ = self.model.getMarkerSet()
        self._bodies = [bodies.get(i) for i in range(bodies.getSize())]
        self._coordinates = [joints.get(i) for i in range(joints.getSize())]
        self._markers = [markers_.get(i) for i in range(markers_.getSize())]
        self._stations = [_base_station(marker) for marker in self._markers]
        self.body_names = tuple(body.getName() for body in self._bodies)
        self.coordinate_names = tuple(c.getName() for c in self._coordinates)
        self.marker_names = tuple(marker.getName() for marker in self._markers)
        columns = [
            (c.getDefaultLocked(), c.getDefaultClamped(), c.getDefaultValue())
            for c in self._coordinates
        ]
        self.locked = np.array([column[0] for column in columns], bool)
        self.clamped = np.array([column[1] for column in columns], bool)
        self.default_q = np.array([column[2] for column in columns], np.float64)
        limits = [(c.getRangeMin(), c.getRangeMax()) for c in self._coordinates]
        self.ranges = np.array(limits, np.float64).reshape(-1, 2)
        self._column = self._find_columns()  # [N]: index into y
        self._couplers = opensim_couplers.enforced(self.model)

    def _find_columns(self) -> np.ndarray:
        """Finds the entry of Simbody's position vector that each coordinate is.

        Ball and Free joints have one entry more than coordinates, for a
        quaternion that OpenSim leaves unused.
        """
        state = self._state
        for coordinate in self._coordinates:
            coordinate.setLocked(state, False)
        before = state.getQ().to_numpy()
        for i, coordinate in enumerate(self._coordinates):
            value = coordinate.getValue(state) + _PROBE_STEP * (i + 1)
            coordinate.setValue(state, value, False)
        step = (state.getQ().to_numpy() - before) / _PROBE_STEP
        number = np.round(step).astype(int)  # 1 + coordinate at each entry, or 0
        column = np.flatnonzero(number)[np.argsort(number[number > 0])]
        if not np.array_equal(number[column], 1 + np.arange(len(self._coordinates))):
            raise spec.ModelError(
                f"{self.model.getInputFileName()}: Simbody's {len(before)} positions "
                f"do not hold the model's {len(self._coordinates)} coordinates."
            )
        self._rest = np.where(number > 0, 0.0, before)
        return column

    def _set(self, q: np.ndarray) -> None:
        y = self._rest.copy()
        y[self._column] = q
        self._state.setQ(opensim.Vector.createFromMat(y))
        self.model.realizePosition(self._state)

    def _frames(self, q: Array) -> np.ndarray:
        q = np.asarray(q, np.float64)
        if q.ndim != 2 or q.shape[1] != len(self.coordinate_names):
            raise ValueError(
                f"q has shape {q.shape}; allowed is (frames, "
                f"{len(self.coordinate_names)}), one column a coordinate."
            )
        return q

    def body_poses(
        self, q: Float[Array, "t n"]
    ) -> tuple[Float[np.ndarray, "t b 3 3"], Float[np.ndarray, "t b 3"]]:
        """Places every body.

        Args:
            q: Coordinates [T, N], rad and m, taken as given.

        Returns:
            Rotation [T, B, 3, 3] and position [T, B, 3] (m) of the body frames
            in ground.
        """
        q = self._frames(q)
        rotation = np.empty((len(q), len(self._bodies), 3, 3))
        position = np.empty((len(q), len(self._bodies), 3))
        for t, pose in enumerate(q):
            self._set(pose)
            for b, body in enumerate(self._bodies):
                transform = body.getTransformInGround(self._state)
                matrix = transform.R().asMat33()
                rotation[t, b] = [[matrix.get(i, j) for j in _AXES] for i in _AXES]
                position[t, b] = transform.p().to_numpy()
        return rotation, position

    def marker_positions(self, q: Float[Array, "t n"]) -> Float[np.ndarray, "t m 3"]:
        """Places every marker: [T, M, 3] m in ground for ``q`` [T, N]."""
        q = self._frames(q)
        points = np.empty((len(q), len(self._markers), 3))
        for t, pose in enumerate(q):
            self._set(pose)
            for m, marker in enumerate(self._markers):
                points[t, m] = marker.getLocationInGround(self._state).to_numpy()
        return points

    def marker_jacobian(self, q: Float[Array, "t n"]) -> Float[np.ndarray, "t m 3 n"]:
        """Derivative of marker positions with respect to the coordinates.

        Args:
            q: Coordinates [T, N], rad and m, taken as given.

        Returns:
            d(marker)/d(coordinate), couplers not applied. Shape [T, M, 3, N].

        Source: Simbody ``calcStationJacobian`` is the derivative with respect to
        mobility speeds ``u``; ``multiplyByNInv`` maps the rates of ``y`` to ``u``.
        """
        q = self._frames(q)
        jacobian = np.empty((len(q), len(self._markers), 3, q.shape[1]))
        station = opensim.Matrix()
        for t, pose in enumerate(q):
            self._set(pose)
            speeds = self._speeds_per_rate()  # [U, N]
            for m, (mobilised, offset) in enumerate(self._stations):
                self._matter.calcStationJacobian(
                    self._state, mobilised, offset, station
                )
                jacobian[t, m] = station.to_numpy() @ speeds
        return jacobian

    def _speeds_per_rate(self) -> np.ndarray:
        """N^-1 at the state, its columns in coordinate order. Shape [U, N]."""
        speeds = np.empty((self._state.getNU(), len(self._column)))
        result = opensim.Vector(self._state.getNU(), 0.0)
        for i, entry in enumerate(self._column):
            rate = opensim.Vector(self._state.getNQ(), 0.0)
            rate.set(int(entry), 1.0)
            self._matter.multiplyByNInv(self._state, False, rate, result)
            speeds[:, i] = result.to_numpy()
        return speeds

    def assemble(self, q: Float[Array, "t n"]) -> Float[np.ndarray, "t n"]:
        """Makes poses satisfy the constraints, as OpenSim's assembly does.

        Locked coordinates go to their default values first and clamped ones into
        their range; free coordinates are then kept as they are, as far as the
        constraints allow.

        Args:
            q: Coordinates [T, N], rad and m.

        Returns:
            Assembled coordinates [T, N].

        Raises:
            ModelError: A pose cannot be assembled.

        Source: OpenSim 4.6 ``Model::assemble``.
        """
        q = self._frames(q).copy()
        q[:, self.locked] = self.default_q[self.locked]
        inside = np.clip(q, self.ranges[:, 0], self.ranges[:, 1])
        q = np.where(self.clamped, inside, q)
        assembled = np.empty_like(q)
        for t, pose in enumerate(q):
            self._set(pose)
            try:
                self.model.assemble(self._state)
            except RuntimeError as error:
                why = opensim_load.one_line(error)
                raise spec.ModelError(
                    f"frame {t}: OpenSim cannot assemble it: {why}"
                ) from error
            assembled[t] = self._state.getQ().to_numpy()[self._column]
        return assembled

    def constraint_violation(self, q: Float[Array, "t n"]) -> Float[np.ndarray, " t"]:
        """Largest absolute coupler error of each frame, rad or m. Shape [T]."""
        q = self._frames(q)
        error = np.zeros((len(q), 1 + len(self._couplers)))
        for c, coupler in enumerate(self._couplers, start=1):
            columns = [self.coordinate_names.index(n) for n in coupler.independents]
            dependent = self.coordinate_names.index(coupler.dependent)
            for t, pose in enumerate(q):
                error[t, c] = coupler.value(pose[columns]) - pose[dependent]
        return np.abs(error).max(axis=1)


def _base_station(marker: opensim.Marker) -> tuple[int, opensim.Vec3]:
    """Mobilised body of a marker, and its offset in that body's frame, m."""
    frame = marker.getParentFrame()
    offset = frame.findTransformInBaseFrame().shiftFrameStationToBase(
        marker.get_location()
    )
    return frame.getMobilizedBodyIndex(), offset
