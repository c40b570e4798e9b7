"""SIMSPINE as parquet, which ``datasets.load_dataset("parquet", ...)`` loads.

One row is a frame seen by a camera, and one row group a sequence, camera by camera:

    subject, action, camera, split      text
    frame                   from 0
    time_s                  s, from the sequence's first frame
    image                   the name that the image has in the npz files
    keypoints_3d            K x 3, m, camera's frame (R X + t), 0 where missing
    keypoints_3d_world      K x 3, m, world of the cameras, Z up, 0 where missing
    keypoints_2d            K x 2, px
    known                   K, whether the keypoint is not missing
    visible                 K, whether it is in the camera's image
    angles                  A, degrees and m, as a .mot has them
    box                     left, top, right, bottom of all keypoints, px

Lists have fixed lengths. The schema's metadata have, as JSON under ``simspine_jax``,
the names of keypoints and coordinates, which of these are angles, the rate, the units
and the licence. The same input gives the same bytes with the same version of pyarrow.

The data set that SIMSPINE (arXiv 2602.20792) published is parquet, too; its columns are
not documented, so these are our own.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simspine_jax.datasets import extras, label_rows, licences
from simspine_jax.datasets.spine_sequence import SpineSequence, Subject
from simspine_jax.io.atomic import atomic_path
from simspine_jax.skeletons import simspine

_KEY = b"simspine_jax"
_VERSION = 1
_UNITS = {
    **dict.fromkeys(("keypoints_3d", "keypoints_3d_world"), "m"),
    **dict.fromkeys(("keypoints_2d", "box"), "px"),
    "angles": "degrees where rotational, m elsewhere",
    "time_s": "s",
}
_FIELDS = (
    *("names", "coordinate_names", "rotational", "rate_hz", "licence", "units"),
    "version",
)
# Numbers hardly repeat, and would only be looked up.
_REPEATED = ("subject", "action", "camera", "split")


@dataclass(frozen=True)
class SpineParquet:
    """A file opened; its rows are read a sequence at a time.

    Attributes:
        path: The file.
        rows: How many rows it has.
        names: K keypoints.
        coordinate_names: A coordinates.
        rotational: Which of them are in degrees.
        rate_hz: Frames per second.
        licence: What may be done with it.
    """

    path: Path
    rows: int
    names: tuple[str, ...]
    coordinate_names: tuple[str, ...]
    rotational: tuple[bool, ...]
    rate_hz: float
    licence: str

    def tables(self) -> Iterator[dict[str, np.ndarray]]:
        """Yields the columns of one sequence after the other, as NumPy arrays.

        Keypoints are [n, K, 3 or 2], ``known`` and ``visible`` [n, K], ``angles``
        [n, A], ``box`` [n, 4] and all others [n].
        """
        with _opened(self.path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                yield {name: _numpy(table.column(name)) for name in table.column_names}

    def sequences(self) -> Iterator[SpineSequence]:
        """Yields the sequences as they were before the cameras saw them, from 0 s.

        Raises:
            ValueError: A row group is not one sequence, or its cameras differ in
                keypoints or coordinates.
        """
        for rows in self.tables():
            place = f"{rows['subject'][0]}_{rows['action'][0]}"
            cameras = list(dict.fromkeys(rows["camera"]))
            frames = len(rows["frame"]) // len(cameras)
            counts = np.tile(np.arange(frames), len(cameras))
            if (
                len(set(rows["subject"])) + len(set(rows["action"])) != 2
                or not np.array_equal(rows["frame"], counts)
                or list(rows["camera"]) != [c for c in cameras for _ in range(frames)]
            ):
                raise ValueError(
                    f"{self.path}: the row group of {place} must be one sequence, with "
                    "the frames 0, 1, 2... of one camera after the other"
                )
            for name in ("keypoints_3d_world", "known", "angles"):
                views = rows[name].reshape(len(cameras), frames, -1)
                if not (views == views[:1]).all():
                    raise ValueError(
                        f"{self.path}: {name} of {place} differs between the cameras"
                    )
            yield label_rows.unlabelled(
                str(rows["subject"][0]),
                str(rows["action"][0]),
                rows["keypoints_3d_world"][:frames],
                rows["known"][:frames],
                rows["angles"][:frames],
                names=self.names,
                coordinate_names=self.coordinate_names,
                rotational=self.rotational,
                rate_hz=self.rate_hz,
            )


def write_parquet(
    path: str | os.PathLike[str],
    sequences: Iterable[tuple[Subject, SpineSequence]],
    *,
    split: str,
    names: Sequence[str] = simspine.SPINE_NAMES,
    dtype: type[np.floating] = np.float32,
    licence: str = licences.SIMULATED,
) -> int:
    """Writes the file, whole or not at all.

    One sequence is in memory at a time. Weights and start times are not written.

    Args:
        path: Final path; a file already there is replaced.
        sequences: At least one, all with the same coordinates and rate.
        split: Such as "train", for the column.
        names: Keypoints to write, ``simspine.SPINE_NAMES`` or ``simspine.NAMES``.
        dtype: Of all numbers but times.
        licence: One of ``licences.LICENCES``, for the metadata.

    Returns:
        The rows written.

    Raises:
        ValueError: pyarrow is not installed; as `label_rows.labelled`; or there is no
            such licence.
        FileNotFoundError: The folder does not exist.
    """
    pa, pq = _pyarrow()
    text, names, rows = licences.text_of(licence), tuple(names), 0
    writer = None
    with atomic_path(path) as temporary:
        try:
            for one in label_rows.labelled(sequences, names, path):
                views = [_columns(one, i, split) for i in range(len(one.cameras))]
                columns = {n: np.concatenate([v[n] for v in views]) for n in views[0]}
                arrays = {n: _arrow(pa, a, dtype) for n, a in columns.items()}
                table = pa.table(arrays)
                if writer is None:
                    described = _metadata(names, one.sequence, text)
                    schema = table.schema.with_metadata({_KEY: described})
                    writer = pq.ParquetWriter(
                        temporary,
                        schema,
                        compression="zstd",
                        use_dictionary=list(_REPEATED),
                    )
                table = table.replace_schema_metadata(writer.schema.metadata)
                writer.write_table(table, row_group_size=max(1, len(table)))
                rows += len(table)
        finally:
            if writer is not None:
                writer.close()
    return rows


def read_parquet(path: str | os.PathLike[str]) -> SpineParquet:
    """Opens a file of `write_parquet`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: pyarrow is not installed; not parquet; or not such a file.
    """
    path = Path(path)
    with _opened(path) as file:
        stored = (file.schema_arrow.metadata or {}).get(_KEY)
        found = json.loads(stored) if stored else {}
        missing = [name for name in _FIELDS if name not in found]
        if missing:
            raise ValueError(
                f"{path}: the schema's metadata have no {', '.join(missing)}; it is no "
                "file of simspine_jax"
            )
        if found["version"] != _VERSION:
            raise ValueError(
                f"{path}: its version is {found['version']}, and only version "
                f"{_VERSION} can be read"
            )
        return SpineParquet(
            path,
            file.metadata.num_rows,
            tuple(found["names"]),
            tuple(found["coordinate_names"]),
            tuple(found["rotational"]),
            float(found["rate_hz"]),
            found["licence"],
        )


def _pyarrow() -> tuple[Any, Any]:
    purpose = "parquet"
    return extras.load("pyarrow", purpose), extras.load("pyarrow.parquet", purpose)


def _opened(path: Path) -> Any:
    pa, pq = _pyarrow()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a parquet file ({error})") from None


def _columns(
    one: label_rows.LabelledSequence, camera: int, split: str
) -> dict[str, np.ndarray]:
    sequence, view = one.sequence, one.labels.view(camera)
    frames = len(one.angles)
    texts = {
        "subject": np.full(frames, sequence.subject),
        "action": np.full(frames, sequence.action),
        "camera": np.full(frames, one.cameras[camera]),
        "split": np.full(frames, split),
        "image": label_rows.image_names(sequence, one.cameras[camera]),
    }
    return {
        **texts,
        "frame": np.arange(frames, dtype=np.int32),
        "time_s": np.arange(frames) / sequence.motion.rate_hz,
        "keypoints_3d": np.asarray(view.points),
        "keypoints_3d_world": one.world,
        "keypoints_2d": np.asarray(view.pixels),
        "known": one.known,
        "visible": np.asarray(view.visible),
        "angles": one.angles,
        "box": np.asarray(view.box),
    }


def _arrow(pa: Any, values: np.ndarray, dtype: type[np.floating]) -> Any:
    """Returns a column; further axes become lists of fixed lengths."""
    if values.dtype.kind == "f" and values.ndim > 1:
        values = values.astype(dtype)
    array = pa.array(values.reshape(-1))
    for size in values.shape[:0:-1]:
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def _numpy(column: Any) -> np.ndarray:
    """Returns a column with its lists of fixed lengths as axes."""
    array, shape = column.combine_chunks(), [len(column)]
    while hasattr(array.type, "list_size"):
        shape.append(array.type.list_size)
        array = array.flatten()
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(shape)


def _metadata(names: tuple[str, ...], first: SpineSequence, licence: str) -> bytes:
    found = {
        "names": names,
        "coordinate_names": first.motion.coordinate_names,
        "rotational": [bool(flag) for flag in first.rotational],
        "rate_hz": float(first.motion.rate_hz),
        "licence": licence,
        "units": _UNITS,
        "version": _VERSION,
    }
    return json.dumps(found, sort_keys=True).encode()
