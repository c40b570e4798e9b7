"""Set-ups of the ScaleTool, against how OpenSim reads them."""

from pathlib import Path

import numpy as np
import opensim  # noqa: TID251
import pytest

from simspine_jax.io.fixed_markers import read_fixed_markers
from simspine_jax.io.scale_setup import (
    BodyScale,
    ManualScale,
    MarkerPlacer,
    Measurement,
    ModelScaler,
    ScaleSetup,
    read_scale_setup,
)
from simspine_jax.reference import opensim_load
from tests import scale_setups

SETUPS_08 = "Pose2Sim/OpenSim_Setup"


@pytest.fixture(autouse=True, scope="module")
def _quiet_opensim() -> None:
    opensim_load.quiet()


def read(folder: Path, inside: str, version: int = 40000) -> ScaleSetup:
    path = folder / "s.xml"
    path.write_text(
        f'<OpenSimDocument Version="{version}"><ScaleTool name="t">{inside}'
        "</ScaleTool></OpenSimDocument>"
    )
    return read_scale_setup(path)


def scaler(inside: str) -> str:
    return f"<ModelScaler>{inside}</ModelScaler>"


def measurement(pair: str = "A B", axes: str = "X Y Z", name: str = "m") -> str:
    return (
        f'<Measurement name="{name}"><MarkerPairSet><objects><MarkerPair>'
        f"<markers>{pair}</markers></MarkerPair></objects></MarkerPairSet>"
        "<BodyScaleSet><objects>"
        f'<BodyScale name="b"><axes>{axes}</axes></BodyScale></objects></BodyScaleSet>'
        "</Measurement>"
    )


def measurements(*each: str) -> str:
    inside = "".join(each)
    return scaler(f"<MeasurementSet><objects>{inside}</objects></MeasurementSet>")


def scales(inside: str) -> str:
    return scaler(f"<ScaleSet><objects><Scale>{inside}</Scale></objects></ScaleSet>")


def items(some_set):
    return [some_set.get(i) for i in range(some_set.getSize())]


def words(array) -> list[str]:
    return [array.get(i) for i in range(array.getSize())]


def read_by_opensim(path: Path) -> opensim.ScaleTool:
    with opensim_load.silent_stdout():
        return opensim.ScaleTool(str(path))


def compare(path: Path) -> None:
    setup = read_scale_setup(path)
    tool = read_by_opensim(path)
    assert setup.name == tool.getName()
    assert setup.mass_kg == tool.getSubjectMass()
    assert setup.height_m is None
    assert tool.getSubjectHeight() < 0
    theirs, ours = tool.getModelScaler(), setup.scaler
    assert ours.apply == theirs.getApply()
    assert list(ours.scaling_order) == words(theirs.getScalingOrder())
    assert list(ours.time_range_s) == words(theirs.getTimeRange())
    assert ours.preserve_mass_distribution == theirs.getPreserveMassDist()
    for a, b in zip(ours.measurements, items(theirs.getMeasurementSet()), strict=True):
        assert (a.name, a.apply) == (b.getName(), b.getApply())
        assert len(a.pairs) == b.getNumMarkerPairs()
        for i, pair in enumerate(a.pairs):
            assert list(pair) == [b.getMarkerPair(i).getMarkerName(k) for k in (0, 1)]
        for scale, their in zip(a.bodies, items(b.getBodyScaleSet()), strict=True):
            assert scale.body == their.getName()
            axes = words(their.getAxisNames())
            assert scale.axes == tuple(axis in axes for axis in "XYZ")
    for a, b in zip(ours.manual_scales, items(theirs.getScaleSet()), strict=True):
        factors = opensim.Vec3()
        b.getScaleFactors(factors)
        assert a.body == b.getSegmentName()
        assert a.apply == b.getApply()
        np.testing.assert_array_equal(a.factors, factors.to_numpy())
    placer = tool.getMarkerPlacer()
    assert setup.placer.apply == placer.getApply()
    assert list(setup.placer.time_range_s) == words(placer.getTimeRange())
    tasks = [task for task in items(placer.getIKTaskSet()) if task.getApply()]
    coordinates = {task.name for task in setup.placer.tasks.coordinate_tasks}
    assert set(setup.placer.tasks.marker_weights) | coordinates == {
        task.getName() for task in tasks if task.getWeight() > 0
    }


def test_every_shipped_set_up_is_as_opensim_reads_it(
    pose2sim_04: Path, pose2sim_08: Path
):
    paths = sorted((pose2sim_08 / SETUPS_08).glob("Scaling_Setup_*.xml"))
    assert len(paths) == 9
    for path in [pose2sim_04 / scale_setups.FOLDER_04 / scale_setups.SETUP, *paths]:
        compare(path)


def test_files_are_absolute(pose2sim_04: Path, pose2sim_08: Path):
    folder = (pose2sim_04 / scale_setups.FOLDER_04).resolve()
    setup = read_scale_setup(folder / scale_setups.SETUP)
    assert setup.model_file == folder / scale_setups.MODEL
    assert setup.marker_set_file is None
    assert setup.scaler.marker_file == folder / "Standing_for_Scaling.trc"
    assert setup.scaler.output_scale_file is None
    name = "Model_Pose2Sim_Body25b_scaled.osim"
    assert setup.placer.output_model_file == folder / name
    assert setup.placer.coordinate_file is None
    assert setup.placer.max_marker_movement_m is None
    newer = read_scale_setup(pose2sim_08 / SETUPS_08 / scale_setups.SETUP)
    assert newer.placer.marker_file is not None
    assert newer.placer.marker_file.name == "S00_P00_T00_StaticTrial_0-12.trc"
    assert ".." not in newer.placer.marker_file.parts


def test_absent_is_opensims_default(tmp_path: Path):
    setup = read(tmp_path, "<ModelScaler/><MarkerPlacer/>")
    assert setup.scaler == ModelScaler(apply=True)
    assert setup.placer.apply
    assert not setup.placer.tasks.marker_weights
    bare = opensim.ModelScaler()
    assert words(bare.getScalingOrder()) == list(setup.scaler.scaling_order)
    assert words(bare.getTimeRange()) == list(setup.scaler.time_range_s)
    assert words(opensim.MarkerPlacer().getTimeRange()) == [-1.0, -1.0]
    off = read(tmp_path, "<height>1800</height>")
    assert (off.scaler, off.placer) == (ModelScaler(), MarkerPlacer())
    assert not off.scaler.apply
    assert not off.placer.apply
    assert off.height_m == pytest.approx(1.8)


def test_what_is_given_is_read(tmp_path: Path):
    setup = read(tmp_path, measurements(measurement("p q", "x Z")))
    scale = BodyScale("b", (True, False, True))
    assert setup.scaler.measurements == (
        Measurement("m", True, (("p", "q"),), (scale,)),
    )
    text = "<segment>b</segment><scales>1 2 3</scales><apply>false</apply>"
    manual = read(tmp_path, scales(text)).scaler.manual_scales
    assert manual == (ManualScale("b", (1.0, 2.0, 3.0), False),)
    placer = read(
        tmp_path,
        "<MarkerPlacer><max_marker_movement>0.01</max_marker_movement><marker_file>"
        "a\\b.trc</marker_file></MarkerPlacer>",
    ).placer
    assert placer.max_marker_movement_m == 0.01
    assert placer.marker_file == tmp_path.resolve() / "a" / "b.trc"


@pytest.mark.parametrize(
    ("inside", "match"),
    [
        (scaler("<scaling_order>size</scaling_order>"), r"'size', where measurements"),
        (scaler("<apply>maybe</apply>"), r"<apply> .* 'maybe', where true or false"),
        (scaler("<time_range>1</time_range>"), "2 numbers are needed"),
        (scaler("<time_range>2 1</time_range>"), "a first and a last time"),
        (scaler("<time_range>-inf inf</time_range>"), "2 numbers are needed"),
        (measurements(measurement("A")), r"'A', where the names of two markers"),
        (measurements(measurement("A B C")), "the names of two markers"),
        (measurements(measurement(axes="XY")), "'XY', where X, Y and Z are allowed"),
        (measurements(measurement(), measurement()), "two measurements"),
        (scales("<scales>1 1</scales>"), "3 numbers are needed"),
        (scales("<scales>1 1 0</scales><segment>b</segment>"), "positive numbers"),
        (scales("<scales>1 1 1</scales>"), "the name of a body"),
        (scaler('<ScaleSet file="x.xml"/>'), "kept in another file, 'x.xml'"),
        ("<mass>heavy</mass>", "<mass> .* 'heavy', where 1 number is needed"),
    ],
)
def test_refusals_name_file_and_element(inside: str, match: str, tmp_path: Path):
    with pytest.raises(ValueError, match=match) as caught:
        read(tmp_path, inside)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "s.xml"))
    assert "\n" not in message


def test_other_documents_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="is older than 40000"):
        read(tmp_path, "", version=30000)
    (tmp_path / "m.osim").write_text(
        '<OpenSimDocument Version="40000"><Model/></OpenSimDocument>'
    )
    with pytest.raises(ValueError, match="holds <Model>, where a <ScaleTool>"):
        read_scale_setup(tmp_path / "m.osim")
    with pytest.raises(FileNotFoundError, match=r"no\.xml"):
        read_scale_setup(tmp_path / "no.xml")


def test_fixed_markers(tmp_path: Path, pose2sim_04: Path):
    demo = pose2sim_04 / scale_setups.FOLDER_04 / scale_setups.MODEL
    assert len(read_fixed_markers(demo)) == 21
    markers = tmp_path / "markers.xml"
    markers.write_text(
        '<OpenSimDocument Version="40000"><MarkerSet><objects><Marker name="a"><fixed>'
        'true</fixed></Marker><Marker name="b"><fixed>false</fixed></Marker><Marker '
        'name="c"/></objects></MarkerSet></OpenSimDocument>'
    )
    assert read_fixed_markers(demo, markers) == {"a"}
    assert not opensim.Marker().get_fixed()
