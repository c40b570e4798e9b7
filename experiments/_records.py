"""What every experiment leaves beside its results: a manifest and its metrics."""

import hashlib
import json
import math
import numbers
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from ml_collections import ConfigDict

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = (
    *("simspine-jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy"),
    *("opencv-python", "opensim", "ml-collections"),
)


def write_manifest(
    workdir: Path,
    config: ConfigDict,
    inputs: Iterable[str | os.PathLike[str]] = (),
    units: Mapping[str, str] | None = None,
    more: Mapping[str, object] | None = None,
) -> None:
    """Writes ``manifest.json``: what made the results beside it.

    Args:
        workdir: Existing folder.
        config: The experiment's configuration.
        inputs: Files that were read; recorded with their SHA-256.
        units: What quantity is in what unit, as ``{"q": "rad, m"}``.
        more: Further fields, such as licences.

    Raises:
        FileNotFoundError: If an input or the workdir does not exist.
    """
    program = f"python -m experiments.{Path(sys.argv[0]).stem}"
    manifest = {
        "command": " ".join([program, *map(shlex.quote, sys.argv[1:])]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        # JSON has no infinity or NaN; here they are words.
        "config": json.loads(config.to_json_best_effort(), parse_constant=str),
        "inputs": {str(path): _sha256(Path(path)) for path in inputs},
        "units": dict(units or {}),
        **(more or {}),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {package: _version(package) for package in _PACKAGES},
    }
    _write_json(workdir / "manifest.json", manifest)


def write_metrics(workdir: Path, metrics: Mapping[str, float]) -> None:
    """Writes ``metrics.json``: flat, finite numbers only.

    Args:
        workdir: Existing folder.
        metrics: Numbers by name; the name says the unit.

    Raises:
        ValueError: If a value is not a finite number.
    """
    plain = {}
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError(
                f"metrics.json: {name!r} is {value!r}; a metric must be a number"
            )
        if not math.isfinite(value):
            raise ValueError(
                f"metrics.json: {name!r} is {value}; a metric must be finite"
            )
        whole = isinstance(value, numbers.Integral)
        plain[name] = int(value) if whole else float(value)
    _write_json(workdir / "metrics.json", plain)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Returns the commit, with "-dirty" where files differ; None outside a clone."""
    if not (_ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"]
    command += ["--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    from simspine_jax.io import atomic

    atomic.write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
