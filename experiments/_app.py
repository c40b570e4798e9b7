"""What all experiments share: flags, precision, caches, records and errors.

An experiment is a module with a ``main(config, workdir)`` that imports the
library inside itself, so that flags and ``--help`` answer at once, and ends with

    if __name__ == "__main__":
        _app.run(main, "fit_ik")

It is started from any folder as ``python -m experiments.fit_ik``, with
``--config=configs/fit_ik.py:variant``, ``--config.key=value``, ``--workdir=DIR``.
A config field ``float64`` (true where absent) chooses the precision.
"""

import dis
import hashlib
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn, TypeVar

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments._records import write_manifest, write_metrics

__all__ = ["progress", "run", "write_manifest", "write_metrics"]

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parent.parent
_OURS = tuple(
    str(_ROOT / folder) + os.sep
    for folder in ("simspine_jax", "experiments", "configs", "third_party")
)
_USERS_MISTAKE = 2
_INTERRUPTED = 130  # What shells report for Ctrl-C.


def run(main: Callable[[ConfigDict, Path], None], name: str) -> NoReturn:
    """Runs an experiment from its command line and exits.

    Exits with 0, or with 2 and one sentence on stderr when the user's flags or
    files are at fault. Anything else is a bug and keeps its traceback.

    Args:
        main: Called with the locked config and the existing workdir.
        name: Selects the default ``configs/<name>.py`` and workdir ``runs/<name>``.
    """
    config = config_flags.DEFINE_config_file("config", help_string="file[:variant]")
    workdir = flags.DEFINE_string("workdir", f"runs/{name}", "folder for the results")

    def guarded(_: Sequence[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            # JAX reports at INFO level which accelerators it did not find.
            logging.set_verbosity(logging.WARNING)
        try:
            folder = Path(workdir.value)
            folder.mkdir(parents=True, exist_ok=True)
            _set_up_jax(config.value)
            main(config.value, folder)
        except (ValueError, OSError) as error:
            if not _is_users_mistake(error):
                raise
            _fail(_sentence(error))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(_INTERRUPTED)

    def parse(argv: Sequence[str]) -> list[str]:
        wanted = [item for item in argv if item not in ("--help", "-h", "-help")]
        _parse(_with_config(wanted, name))
        if len(wanted) < len(argv):
            print(_help(name, main, config.value))
            sys.exit(0)
        return list(argv[:1])

    app.run(guarded, flags_parser=parse)


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterable[T]:
    """Passes the items on, with a bar and time left once two seconds have gone by.

    Args:
        items: What to work through.
        label: What is being done.
        total: How many, where ``items`` has no length.

    Returns:
        The same items.
    """
    from tqdm import tqdm

    # In a log every update is a line of its own: have few.
    pause = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(items, desc=label, total=total, delay=2.0, mininterval=pause)


def compilation_cache_folder() -> Path | None:
    """Returns where compiled programs are kept between runs; None means nowhere.

    ``SIMSPINE_JAX_CACHE`` names another folder, or is "off". The folder differs
    with the version of jaxlib and the CPU, whose programs may not be exchanged.
    """
    chosen = os.environ.get("SIMSPINE_JAX_CACHE", "")
    if chosen == "off":
        return None
    home = Path.home()
    if chosen:
        base = Path(chosen).expanduser()
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches" / "simspine_jax"
    elif sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
        base = Path(local) / "simspine_jax"
    else:
        base = (
            Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "simspine_jax"
        )
    cpu = hashlib.sha256(_cpu().encode()).hexdigest()[:8]
    return base.absolute() / f"jaxlib-{metadata.version('jaxlib')}-{cpu}"


def _set_up_jax(config: ConfigDict) -> None:
    import jax

    jax.config.update("jax_enable_x64", bool(config.get("float64", True)))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    cache = compilation_cache_folder()
    if cache is None or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return  # The user has said otherwise.
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # A read-only home costs compile time, not the run.
    jax.config.update("jax_compilation_cache_dir", str(cache))


def _cpu() -> str:
    # Two virtual machines with one model name may differ in instruction sets.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    told = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(told)}))


def _with_config(argv: Sequence[str], name: str) -> list[str]:
    """Adds the default; lets ``--config=configs/x.py`` work from any folder."""
    found = list(argv)
    # Not the flag's default, which would be read even where another file is given.
    if not any(item.partition("=")[0].lstrip("-") == "config" for item in argv):
        found.insert(1, f"--config={_ROOT / 'configs' / name}.py")
    for index, argument in enumerate(found):
        flag, equals, value = argument.partition("=")
        if flag not in ("--config", "-config"):
            continue
        place = index if equals else index + 1
        value = value if equals else "".join(found[place : place + 1])
        drive, tail = os.path.splitdrive(value)
        path = drive + tail.partition(":")[0]
        if not Path(path).is_file():
            if not (_ROOT / path).is_file():
                known = sorted((_ROOT / "configs").glob("[a-z]*.py"))
                _fail(
                    f"--config names {path!r}, which is not a file; the project has "
                    f"{', '.join(f'configs/{file.name}' for file in known)}"
                )
            value = str(_ROOT / value)
            found[place] = f"{flag}={value}" if equals else value
    return found


def _parse(argv: Sequence[str]) -> None:
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        # ml_collections puts the traceback of a failed config file into the message.
        text = str(error).strip()
        last = text.splitlines()[-1]
        if "Traceback" in text and not last.startswith("ValueError: "):
            print(text, file=sys.stderr)
            text = last
        elif "Traceback" in text:
            text = last.removeprefix("ValueError: ")
        _fail(" ".join(text.split()))
    except (AttributeError, KeyError) as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if "ml_collections" not in raised_in.parts:
            raise  # A bug in the configuration file.
        # A field that the configuration does not have; the reason is wrapped.
        reason: object = error
        while isinstance(reason, BaseException) and reason.args:
            reason = reason.args[0]
        _fail(f"no such configuration field: {'; '.join(str(reason).splitlines())}")
    except (TypeError, ValueError, OSError) as error:
        _fail(_sentence(error))
    if len(rest) > 1:
        _fail(f"{rest[1]!r} is not a flag; flags begin with --")


def _help(name: str, main: Callable[..., None], config: ConfigDict) -> str:
    return f"""{(sys.modules[main.__module__].__doc__ or name).strip()}

usage: python -m experiments.{name} [--config=configs/{name}.py[:variant]]
           [--config.key=value ...] [--workdir=DIR]

  --workdir=runs/{name}
{chr(10).join(_fields(config))}"""


def _fields(config: ConfigDict, prefix: str = "--config.") -> list[str]:
    lines = []
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            lines += _fields(value, f"{prefix}{key}.")
        else:
            lines.append(f"  {prefix}{key}={value}")
    return lines


def _is_users_mistake(error: BaseException) -> bool:
    """Tells whether a ``raise`` in our own code, with its sentence, is the origin."""
    if isinstance(error, OSError):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    raised = dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
    return raised and os.path.abspath(code.co_filename).startswith(_OURS)


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _fail(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(_USERS_MISTAKE)
