"""Set-ups of the ScaleTool that differ from a shipped one, for tests of scaling."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

Element = ElementTree.Element

FOLDER_04 = Path("Pose2Sim/Demo/opensim")
SETUP = "Scaling_Setup_Pose2Sim_Body25b.xml"
MODEL = "Model_Pose2Sim_Body25b.osim"


def edited(source: Path, target: Path, edit: Callable[[Element], None]) -> Path:
    """Writes a set-up with its ScaleTool edited; returns where."""
    document = ElementTree.parse(source)
    edit(found(document.getroot(), "ScaleTool"))
    document.write(target)
    return target


def found(element: Element, path: str) -> Element:
    part = element.find(path)
    assert part is not None, path
    return part


def scaler_with(
    order: str | None = None,
    time_range: str | None = None,
    manual: bool = False,
    axes: tuple[str, ...] = (),
) -> Callable[[Element], None]:
    """Returns an edit of the ModelScaler; ``axes`` are given to bodies in turn."""

    def edit(tool: Element) -> None:
        scaler = found(tool, "ModelScaler")
        if order is not None:
            found(scaler, "scaling_order").text = order
        if time_range is not None:
            found(scaler, "time_range").text = time_range
        if manual:
            for i, scale in enumerate(scaler.iterfind("ScaleSet/objects/Scale")):
                found(scale, "apply").text = "true"
                found(scale, "scales").text = f"{0.8 + i / 50} {1.1 + i / 50} {0.9}"
        for i, body in enumerate(scaler.iter("BodyScale") if axes else ()):
            found(body, "axes").text = axes[i % len(axes)]

    return edit


def placing(tool: Element) -> None:
    """Turns the MarkerPlacer on."""
    found(tool, "MarkerPlacer/apply").text = "true"
