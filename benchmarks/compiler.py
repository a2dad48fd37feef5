"""Compiles the programs of `native/` on first use, so that Python is not what limits a benchmark.

Without a C compiler the benchmarks run as well, with slower counterparts in Python; each says so.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
BUILT = Path(__file__).parents[1] / ".bench" / "native"


@functools.cache
def find_program(name: str) -> Path | None:
    """Return a compiled program of `native/`; None without a compiler.

    Raises:
        subprocess.CalledProcessError: it does not compile.
    """
    source, built = SOURCES / f"{name}.c", BUILT / name
    if built.is_file() and built.stat().st_mtime > source.stat().st_mtime:
        return built
    compiler = shutil.which("cc")
    if compiler is None:
        print(f"There is no C compiler here: {name} is Python and limits rates.", file=sys.stderr)
        return None
    BUILT.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", f"{built}.new", str(source)], check=True)
    Path(f"{built}.new").replace(built)  # a run beside this one sees all of it or nothing
    return built
