"""A rigid move of a simulated spine onto the anchors that were observed.

The line between the lowest and the highest anchor of a frame fixes all of a rotation
but the twist about itself. The twist is the one that brings other points, the guides,
nearest in the least-squares sense; without them there is none, so that the rotation
is the smallest one that turns the line. Both lines then have the same middle: what
they differ in length is split evenly between their ends.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

SHORT_M = 1e-3  # a line or lever below this has no direction


@dataclass(frozen=True)
class Alignment:
    """A similarity for each of T frames; a rigid move where the scale is one.

    Attributes:
        rotation: Proper, about the origin. Shape [T, 3, 3].
        scale: Factor of lengths. Shape [T].
        begin: Point of the simulated spine, m. Shape [T, 3].
        end: Where it goes, m. Shape [T, 3].
        anchors: Anchors that were seen in both. Shape [T].
    """

    rotation: np.ndarray
    scale: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    anchors: np.ndarray

    def points(self, points: Float[np.ndarray, "t k 3"]) -> Float[np.ndarray, "t k 3"]:
        """Moves points, m."""
        turned = (points - self.begin[:, None]) @ np.swapaxes(self.rotation, 1, 2)
        return self.end[:, None] + self.scale[:, None, None] * turned

    def covariances(
        self, covariance: Float[np.ndarray, "t k 3 3"]
    ) -> Float[np.ndarray, "t k 3 3"]:
        """Turns covariances of points, m^2; the move itself counts as exact."""
        turn = (self.scale[:, None, None] * self.rotation)[:, None]
        return turn @ covariance @ np.swapaxes(turn, -1, -2)


def align(
    observed: Float[np.ndarray, "t k 3"],
    simulated: Float[np.ndarray, "t k 3"],
    seen: Bool[np.ndarray, "t k"],
    anchors: Int[np.ndarray, " a"],
    guides: Int[np.ndarray, " g"],
    scaled: bool = False,
) -> Alignment:
    """Returns the moves that bring simulated anchors to observed ones.

    With one anchor seen in a frame the move is a shift on to it; with none there is
    no move.

    Args:
        observed: Points, m, finite.
        simulated: The same points elsewhere, m, finite.
        seen: Whether a point is known in both.
        anchors: Indices of points along the spine, from below; may be empty.
        guides: Indices of points that tell the twist; may be empty.
        scaled: Whether the line between the anchors also gets the observed length.

    Source: least squares over rotations about a fixed axis (Horn, Closed-form
    solution of absolute orientation using unit quaternions, 1987, in the plane).
    """
    frames = np.arange(len(observed))
    if not len(anchors):
        anchors, seen = np.zeros(1, int), np.zeros_like(seen)
    known = seen[:, anchors]
    some = known.sum(axis=1) > 0
    low = anchors[known.argmax(axis=1)]
    high = anchors[len(anchors) - 1 - known[:, ::-1].argmax(axis=1)]
    ends = lambda points: (points[frames, low], points[frames, high])
    middle = lambda points: np.where(some[:, None], sum(ends(points)) / 2, 0.0)
    (a, b), (c, d) = ends(simulated), ends(observed)
    line, length = _unit(b - a)
    aim, aimed = _unit(d - c)
    has_line = some & (length > SHORT_M) & (aimed > SHORT_M)
    begin, end = middle(simulated), middle(observed)
    rotation = _smallest(line, aim)

    others = np.concatenate([anchors, guides])
    lever = simulated[:, others] - begin[:, None]
    lever = lever @ np.swapaxes(rotation, 1, 2)
    goal = observed[:, others] - end[:, None]
    across = np.cross(lever, goal) @ aim[..., None]
    along = (lever @ aim[..., None]) * (goal @ aim[..., None])
    within = (lever * goal).sum(axis=2, keepdims=True) - along
    told = seen[:, others, None]
    sine = np.where(told, across, 0.0).sum(axis=(1, 2))
    cosine = np.where(told, within, 0.0).sum(axis=(1, 2))
    firm = np.hypot(sine, cosine) > SHORT_M**2
    twist = np.where(firm, np.arctan2(sine, cosine), 0.0)
    rotation = _about(aim, twist) @ rotation

    ratio = aimed / np.where(has_line, length, 1.0)
    return Alignment(
        np.where(has_line[:, None, None], rotation, np.eye(3)),
        np.where(has_line & scaled, ratio, 1.0),
        begin,
        end,
        known.sum(axis=1),
    )


def _smallest(line: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """Returns the smallest rotations [T, 3, 3] that turn unit vectors into others.

    Of opposite vectors all half turns are as small; one of them is returned.
    """
    normal = np.cross(line, aim)
    # Of vectors (almost) on one line, some direction across it.
    across = np.cross(aim, np.eye(3)[np.abs(aim).argmin(axis=1)])
    near = (normal**2).sum(axis=1, keepdims=True) < 1e-24
    normal, _ = _unit(np.where(near, across, normal))
    normal, _ = _unit(normal - (normal * aim).sum(axis=1, keepdims=True) * aim)
    axes = lambda first: np.stack([first, normal, np.cross(first, normal)], axis=2)
    return axes(aim) @ np.swapaxes(axes(line), 1, 2)


def _about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns rotations [T, 3, 3] about unit vectors by angles, rad."""
    crossed = np.swapaxes(np.cross(axis[:, None], np.eye(3)), 1, 2)
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sine * crossed + (1 - cosine) * (crossed @ crossed)


def _unit(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns directions [T, 3], zero where there is none, and lengths [T]."""
    length = np.linalg.norm(vectors, axis=1)
    return vectors / np.where(length > 0, length, 1.0)[:, None], length
