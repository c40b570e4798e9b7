"""What scaling leaves to read: factors.csv and scaling.txt."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments._scaling_inputs import Inputs
from experiments._scaling_methods import Scaled

if TYPE_CHECKING:
    from simspine_jax.figures.scaling_report import FactorRow


def factors_csv(bodies: Sequence[str], found: Mapping[str, Scaled]) -> str:
    """Returns a line for each axis of each body, a column for each method."""
    columns = [
        [name, *([f"{name}_sd"] if s.sd is not None else [])]
        for name, s in found.items()
    ]
    lines = [",".join(["body", "axis", *(name for pair in columns for name in pair)])]
    for b, body in enumerate(bodies):
        for a, axis in enumerate("xyz"):
            values = []
            for scaled in found.values():
                values.append(scaled.factors[b, a])
                if scaled.sd is not None:
                    values.append(scaled.sd[b, a])
            lines.append(",".join([body, axis, *(f"{v:.6f}" for v in values)]))
    return "\n".join(lines) + "\n"


def summary(
    inputs: Inputs,
    found: Mapping[str, Scaled],
    rms_mm: Mapping[str, Mapping[str, float]],
    rows: Sequence["FactorRow"],
) -> str:
    """Returns the tables that compare the methods."""
    trial = inputs.trial
    lines = [f"{trial.model_path.name}, judged on {trial.source.name}"]
    if inputs.setup is not None and inputs.setup.mass_kg is not None:
        lines.append(
            f"mass {inputs.setup.mass_kg:g} kg; masses and inertias are not scaled"
        )
    kinds = list(dict.fromkeys(kind for each in rms_mm.values() for kind in each))
    lines += ["", "marker RMS, mm"]
    lines += [f"  ({k + 1}) {kind}" for k, kind in enumerate(kinds)]
    heads = " ".join(f"{f'({k + 1})':>7}" for k in range(len(kinds)))
    lines.append(f"{'':10} {heads}  frames used")
    for name, each in rms_mm.items():
        cells = [f"{each[k]:7.1f}" if k in each else f"{'-':>7}" for k in kinds]
        frames = str(found[name].frames) if name in found else "-"
        lines.append(f"{name:10} {' '.join(cells)}  {frames:>11}")
    width = max([len(row.label) for row in rows] + [0])
    lines += ["", "factors", " " * width + "".join(f" {name:>8}" for name in found)]
    for row in rows:
        cells = "".join(f" {row.factors[name]:8.3f}" for name in found)
        sd = "".join(f" +- {value:.3f}" for value in row.sd.values())
        lines.append(f"{row.label:<{width}}{cells}{sd}")
    return "\n".join(lines)


def details(found: Mapping[str, Scaled]) -> str:
    """Returns what each method says of itself."""
    return "\n\n".join(f"{name}\n{scaled.text}" for name, scaled in found.items())
