"""Differentiable spine biomechanics in JAX.

The names below are the public contract; they keep their shapes and units.
"""

from simspine_jax.body.jacobian import marker_jacobian as marker_jacobian
from simspine_jax.body.kinematics import BodyPoses as BodyPoses
from simspine_jax.body.kinematics import forward_kinematics as forward_kinematics
from simspine_jax.body.kinematics import marker_positions as marker_positions
from simspine_jax.body.model import Model as Model
from simspine_jax.body.scaling import scale_model as scale_model
from simspine_jax.body.spine import SpineAngles as SpineAngles
from simspine_jax.body.spine import spine_angles as spine_angles
from simspine_jax.cameras.pinhole import project as project
from simspine_jax.cameras.triangulation import Triangulation as Triangulation
from simspine_jax.cameras.triangulation import (
    TriangulationOptions as TriangulationOptions,
)
from simspine_jax.cameras.triangulation import triangulate as triangulate
from simspine_jax.core.robust import RobustLoss as RobustLoss
from simspine_jax.fitting.ik import IkOptions as IkOptions
from simspine_jax.fitting.ik import fit_ik as fit_ik
from simspine_jax.fitting.ik import fit_ik_stream as fit_ik_stream
from simspine_jax.fitting.ik_layer import IkLayer as IkLayer
from simspine_jax.fitting.ik_solution import IkSolution as IkSolution
from simspine_jax.fitting.implicit_ik import implicit_q as implicit_q
from simspine_jax.fitting.smoothing import Smoothness as Smoothness
from simspine_jax.io.calibration import read_calibration as read_calibration
from simspine_jax.io.ik_setup import read_ik_setup as read_ik_setup
from simspine_jax.io.load import load_model as load_model
from simspine_jax.io.osim_write import write_osim as write_osim
from simspine_jax.io.storage import read_mot as read_mot
from simspine_jax.io.storage import write_mot as write_mot
from simspine_jax.io.trc import read_trc as read_trc
from simspine_jax.io.trc import write_trc as write_trc
from simspine_jax.types import CameraRig as CameraRig
from simspine_jax.types import CoordinateTask as CoordinateTask
from simspine_jax.types import Detections2D as Detections2D
from simspine_jax.types import IkTasks as IkTasks
from simspine_jax.types import MarkerTrajectory as MarkerTrajectory
from simspine_jax.types import Motion as Motion
