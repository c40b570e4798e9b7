"""The import arrow of the package: each folder imports only from its left."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "simspine_jax"

# Left to right; folders of one tuple do not import each other.
ARROW = (
    ("core",),
    ("skeletons", "types"),
    ("cameras", "body"),
    ("io",),
    ("fitting",),
    ("datasets",),
    ("metrics",),
    ("nets",),
    ("training",),
    ("evaluation",),
    ("figures", "export"),
)
RANK = {folder: rank for rank, folders in enumerate(ARROW) for folder in folders}
OUTSIDE = {"experiments", "configs", "third_party", "tests"}


def _files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if "cache" not in path.parts)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yields the full names a module imports, wherever in it the statement is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrow_violations(folder: str, tree: ast.AST) -> list[str]:
    """Says what a module of ``simspine_jax/<folder>`` imports but may not."""
    wrong = []
    for name in imports(tree):
        top, *rest = name.split(".")
        if top in OUTSIDE:
            wrong.append(name)
        if top == "opensim" and folder != "reference":
            wrong.append(name)
        if top != PACKAGE:
            continue
        target = rest[0] if rest else ""
        if folder == "reference":
            continue  # It stands beside the arrow and may use all of it.
        if folder == "":
            # The package itself re-exports; only `reference` is not for it.
            if target == "reference":
                wrong.append(name)
        elif target != folder and RANK.get(target, len(ARROW)) >= RANK[folder]:
            wrong.append(name)
    return wrong


def import_time_effects(tree: ast.Module) -> list[str]:
    """Says which statements outside functions configure JAX or start a backend."""
    found = []
    for call in _calls_at_import(tree.body):
        name = ast.unparse(call.func)
        if name.endswith("config.update") or name.startswith(("jnp.", "jax.numpy.")):
            found.append(f"line {call.lineno}: {name}")
    return found


def _calls_at_import(nodes: list[ast.stmt] | list[ast.AST]) -> Iterator[ast.Call]:
    for node in nodes:
        if isinstance(node, ast.Call):
            yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Run at import: the decorators and defaults, not the body.
            inside = [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
            yield from _calls_at_import([part for part in inside if part])
        elif not isinstance(node, ast.Lambda):
            yield from _calls_at_import(list(ast.iter_child_nodes(node)))


def _folder(path: Path) -> str:
    parts = path.relative_to(ROOT / PACKAGE).parts
    if len(parts) > 1:
        return parts[0]
    return "" if parts[0] == "__init__.py" else path.stem


@pytest.mark.parametrize(
    "path", _files(PACKAGE), ids=lambda path: str(path.relative_to(ROOT))
)
def test_module_of_the_library(path: Path):
    folder = _folder(path)
    assert folder in RANK or folder in ("", "reference"), f"{folder} has no place"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert arrow_violations(folder, tree) == []
    assert import_time_effects(tree) == []


@pytest.mark.parametrize(
    "path",
    _files("experiments", "configs", "third_party"),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_only_the_reference_imports_opensim(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [name for name in imports(tree) if name.split(".")[0] == "opensim"] == []
    if path.is_relative_to(ROOT / "third_party"):
        assert [name for name in imports(tree) if name.startswith(PACKAGE)] == []


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("core", "from simspine_jax.body import model"),
        ("core", "import simspine_jax.io.trc"),
        ("cameras", "from simspine_jax.body import model"),
        ("io", "def f():\n    from simspine_jax.fitting import ik"),
        ("io", "from simspine_jax import fit_ik"),
        ("fitting", "import opensim"),
        ("fitting", "from simspine_jax.reference import ik"),
        ("", "from simspine_jax import reference"),
        ("figures", "from third_party import fetch"),
    ],
)
def test_arrow_finds_wrong_imports(folder: str, source: str):
    assert len(arrow_violations(folder, ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("io", "from simspine_jax.io import xml\nfrom simspine_jax.body import spec"),
        ("core", "import jax\nfrom simspine_jax.core import rotations"),
        ("reference", "import opensim\nfrom simspine_jax import fit_ik"),
        ("", "from simspine_jax.fitting.ik import fit_ik"),
    ],
)
def test_arrow_accepts_right_imports(folder: str, source: str):
    assert arrow_violations(folder, ast.parse(source)) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import jax\njax.config.update('jax_enable_x64', True)", 1),
        ("X = jnp.zeros(3)", 1),
        ("def f(x=jnp.ones(2)): ...", 1),
        ("class A:\n    x = jax.numpy.eye(3)", 1),
        ("def f():\n    jax.config.update('a', 1)\n    return jnp.zeros(3)", 0),
        ("f = lambda x: jnp.sin(x)", 0),
    ],
)
def test_import_time_effects_are_found(source: str, count: int):
    assert len(import_time_effects(ast.parse(source))) == count
