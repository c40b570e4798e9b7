"""What an experiment says when it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from experiments import _app


def sentence(
    main: Callable[[ConfigDict, Path], object], config: ConfigDict, workdir: Path
) -> str:
    """Runs an experiment that must refuse; returns the one sentence it prints."""
    with pytest.raises((ValueError, OSError)) as caught:
        main(config, workdir)
    # What ``_app.run`` asks before it exits with 2 rather than a traceback.
    assert _app._is_users_mistake(caught.value)
    assert not list(workdir.iterdir())
    said = _app._sentence(caught.value)
    assert "\n" not in said
    return said
