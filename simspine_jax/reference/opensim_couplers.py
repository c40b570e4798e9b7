"""Coordinate couplers as OpenSim evaluates them."""

from dataclasses import dataclass

import numpy as np
import opensim


@dataclass(frozen=True)
class Coupler:
    """``dependent = scale * function(independents)``, in rad and m."""

    function: opensim.Function
    scale: float
    independents: tuple[str, ...]
    dependent: str

    def value(self, arguments: np.ndarray) -> float:
        """What the dependent coordinate has to be; ``arguments`` has shape [A]."""
        vector = opensim.Vector.createFromMat(np.asarray(arguments, np.float64))
        return self.scale * self.function.calcValue(vector)


def enforced(model: opensim.Model) -> tuple[Coupler, ...]:
    """The model's couplers that are enforced, in the file's order."""
    constraints = model.getConstraintSet()
    found = []
    for constraint in (constraints.get(i) for i in range(constraints.getSize())):
        coupler = opensim.CoordinateCouplerConstraint.safeDownCast(constraint)
        if coupler is None or not coupler.get_isEnforced():
            continue
        names = coupler.getIndependentCoordinateNames()
        found.append(
            Coupler(
                coupler.getFunction(),
                float(coupler.getPropertyByName("scale_factor").toString()),
                tuple(names.get(i) for i in range(names.getSize())),
                coupler.getDependentCoordinateName(),
            )
        )
    return tuple(found)
