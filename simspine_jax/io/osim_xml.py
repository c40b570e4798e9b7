"""OpenSim XML documents: opening one and reading the values in it.

OpenSim writes an object as an element with its type as the tag, its name as an
attribute and each property as a child. A property that is absent takes the
value of the ``<defaults>`` object of the same type, if the document has one,
and only then the value built into OpenSim.
"""

import math
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from simspine_jax.body.spec import ModelError

Element = ElementTree.Element

OLDEST_VERSION = 40000

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_NOT_NEWLINE = re.compile(r"[^\n]")


class OsimError(ModelError):
    """An OpenSim file that cannot be used; one sentence, beginning with the file."""


@dataclass(frozen=True)
class Document:
    """An open OpenSim document.

    Attributes:
        path: The file.
        version: Its document version, 40000 or later.
        content: The object it holds, such as the Model element.
        defaults: The ``<defaults>`` objects by type.
    """

    path: pathlib.Path
    version: int
    content: Element
    defaults: dict[str, Element]

    def error(self, sentence: str) -> OsimError:
        """Returns (does not raise) an error that begins with the file's path."""
        return OsimError(f"{self.path}: {sentence}")


def open_document(path: str | os.PathLike[str], kind: str) -> Document:
    """Opens an OpenSim document that holds one object of the given type.

    Args:
        path: The file.
        kind: Type of the object it must hold, such as ``"Model"``.

    Returns:
        The document.

    Raises:
        FileNotFoundError: There is no such file.
        OsimError: Not well-formed XML, not an OpenSim document, one older than
            40000, or one that holds something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    root = _parse(path)
    if root.tag != "OpenSimDocument":
        raise OsimError(
            f"{path}: the root element is <{root.tag}>, not <OpenSimDocument>."
        )
    version = root.get("Version", "")
    if not version.strip().isdigit():
        raise OsimError(f"{path}: OpenSimDocument has no whole number as its Version.")
    if int(version) < OLDEST_VERSION:
        raise OsimError(
            f"{path}: OpenSimDocument version {int(version)} is older than "
            f"{OLDEST_VERSION}; opening and saving the file once in OpenSim 4 "
            "brings it up to date."
        )
    content = root.find(kind)
    if content is None:
        found = ", ".join(f"<{child.tag}>" for child in root) or "nothing"
        raise OsimError(
            f"{path}: the OpenSim document holds {found}, where a <{kind}> is needed."
        )
    defaults = {child.tag: child for child in content.findall("defaults/*")}
    return Document(path, int(version), content, defaults)


def _parse(path: pathlib.Path) -> Element:
    """Parses strictly, then as leniently as OpenSim's own parser does."""
    raw = path.read_bytes()
    try:
        return ElementTree.fromstring(raw)
    except (ElementTree.ParseError, ValueError, LookupError):
        # OpenSim's TinyXML takes stray bytes of other encodings and double
        # hyphens in comments. Both are blanked, which keeps every position.
        text = raw.decode("utf-8", errors="replace").replace("\r\n", "\n")
        text = _COMMENT.sub(lambda found: _NOT_NEWLINE.sub(" ", found[0]), text)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        line, column = error.position
        reason = str(error).split(":")[0]
        raise OsimError(
            f"{path}: not well-formed XML at line {line}, column {column + 1} "
            f"({reason})."
        ) from None


def label(element: Element) -> str:
    """Returns an object's type and name for messages: ``PinJoint 'elbow'``."""
    return f"{element.tag} '{element.get('name', '')}'"


def name_of(element: Element) -> str:
    """Returns an object's name; OpenSim calls the unnamed after their type."""
    return element.get("name") or element.tag.lower()


def find(document: Document, element: Element, tag: str) -> Element | None:
    """Finds a property of an object, or of the document's default for its type."""
    found = element.find(tag)
    if found is None and element.tag in document.defaults:
        found = document.defaults[element.tag].find(tag)
    return found


def objects(document: Document, owner: Element, tag: str) -> list[Element]:
    """Lists the objects of a set such as ``BodySet``; none if it is absent.

    Raises:
        OsimError: The set is kept in another file.
    """
    found = owner.find(tag)
    if found is None:
        return []
    if found.get("file"):
        raise document.error(
            f"{tag} is kept in another file, '{found.get('file')}', which is not "
            "supported; saving the model once in OpenSim brings it in."
        )
    return found.findall("objects/*")


def text(document: Document, element: Element, tag: str) -> str:
    """Returns a property's text without the blanks around it; empty if absent."""
    found = find(document, element, tag)
    return "" if found is None else (found.text or "").strip()


def numbers(
    document: Document,
    element: Element,
    tag: str,
    default: Sequence[float],
    *,
    count: int | None = None,
    infinite: bool = False,
) -> tuple[float, ...]:
    """Reads the numbers of a property.

    Args:
        document: The document, for its defaults and for messages.
        element: The object.
        tag: The property.
        default: Values where the property is absent.
        count: How many there must be; None means any number.
        infinite: Infinities are allowed.

    Returns:
        The numbers, in the file's units.

    Raises:
        OsimError: Something that is not a number, or another count of them.
    """
    found = find(document, element, tag)
    if found is None:
        return tuple(default)
    words = (found.text or "").split()
    values = tuple(_number(word) for word in words)
    wanted = "numbers" if count is None else f"{count} number{'s' * (count != 1)}"
    bad = count is not None and len(values) != count
    bad = bad or any(math.isnan(v) or (math.isinf(v) and not infinite) for v in values)
    if bad:
        shown = " ".join(words)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise document.error(
            f"<{tag}> of {label(element)} is '{shown}', where {wanted} "
            f"{'is' if count == 1 else 'are'} needed."
        )
    return values


def number(document: Document, element: Element, tag: str, default: float) -> float:
    """Reads a property of one finite number."""
    return numbers(document, element, tag, (default,), count=1)[0]


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def flag(document: Document, element: Element, tag: str, default: bool) -> bool:
    """Reads a property that is ``true`` or ``false``."""
    word = text(document, element, tag).lower()
    if not word:
        return default
    if word not in _BOOLEANS:
        raise document.error(
            f"<{tag}> of {label(element)} is '{word}', where true or false is needed."
        )
    return _BOOLEANS[word]


def require_unique(document: Document, what: str, names: Iterable[str]) -> None:
    """Raises an ``OsimError`` that names the first name that occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise document.error(f"two {what} have the same name, '{name}'.")
        seen.add(name)
