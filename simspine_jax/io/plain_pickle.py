"""Pickles of plain data only: NumPy arrays in Python's own containers.

A pickle may name any function to be called while it is read. Here only the makers of
NumPy arrays, numbers and types can be named; anything else is refused before it runs.
"""

import io
import pickle
from typing import Any

# Two homes each: NumPy 2 moved what older files name.
_CORES = ("numpy._core", "numpy.core")
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"{core}.multiarray", "_reconstruct") for core in _CORES),
    *((f"{core}.multiarray", "scalar") for core in _CORES),
    *((f"{core}.numeric", "_frombuffer") for core in _CORES),
    ("_codecs", "encode"),  # how Python 2's bytes and old protocols are stored
    ("collections", "OrderedDict"),
    *(
        (module, name)
        for module in ("builtins", "__builtin__")  # its name in Python 2
        for name in ("set", "frozenset", "complex", "bytearray", "bytes")
    ),
}


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, source: object) -> None:
        # Old files have bytes of Python 2 for text and for arrays' contents.
        super().__init__(file, encoding="latin1")
        self._source = source

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise ValueError(
                f"{self._source}: the pickle names {module_name}.{global_name}, which "
                "could run code; only NumPy arrays, numbers, text, lists, tuples, sets "
                "and dicts are read"
            )
        return super().find_class(module_name, global_name)


def load(file: Any, source: object) -> Any:
    """Reads one pickle of plain data.

    Args:
        file: Open where the pickle begins.
        source: The file's name, for messages.

    Raises:
        ValueError: The pickle names anything else than plain data, or is damaged.
    """
    try:
        return _PlainUnpickler(file, source).load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError) as error:
        raise ValueError(f"{source}: the pickle is damaged ({error})") from None


def loads(data: bytes, source: object) -> Any:
    """Reads a pickle of plain data from bytes, as `load` does from a file."""
    return load(io.BytesIO(data), source)
