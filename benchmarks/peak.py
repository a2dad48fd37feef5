"""Tells the peak memory of a process; run alone, that of Python itself."""

from pathlib import Path


def read_peak_mb() -> float:
    """Return this process's peak resident memory in MB.

    The kernel's `ru_maxrss` would count what the parent held when it started this process.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status names no VmHWM.")


if __name__ == "__main__":
    print(read_peak_mb())
