"""A build backend that builds nothing, so that no set-up code ever runs.

pip will not hand over a source archive without asking the archive's build
backend for metadata, which runs the archive's own ``setup.py``. `download`
shows pip this module under the name ``setuptools.build_meta`` instead: it
answers from the ``PKG-INFO`` that every source archive carries. Standard
library only; it is copied out of this package before use.
"""

import email.parser
import sys
from pathlib import Path


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: dict | None = None
) -> str:
    """Writes name and version; PEP 517's hook, called in the unpacked archive.

    Args:
        metadata_directory: Where the ``.dist-info`` folder goes.
        config_settings: Not used.

    Returns:
        The name of the ``.dist-info`` folder.
    """
    text = Path("PKG-INFO").read_text(encoding="utf-8")
    info = email.parser.HeaderParser().parsestr(text)
    name, version = info["Name"], info["Version"]
    folder = Path(metadata_directory, f"{name.replace('-', '_')}-{version}.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )
    return folder.name


# The name of the backend of archives without a pyproject.toml.
__legacy__ = sys.modules[__name__]
