"""Start a program that dies with its parent: `python -I -S launch.py PARENT_PID PROGRAM ARGUMENT...`.

Run by path, before the program, because the kernel's promise (Linux: a signal when the parent's thread ends) must
be asked for by the child itself. The program replaces this process, so its pid stays. Where the kernel has no
such promise, the next `up` finds what was left by the pids it recorded.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ask for the signal, look whether the parent died meanwhile, become the program."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        # SIGKILL: every component survives it by design, and nobody would be left to follow up a SIGTERM.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(f"launch: the supervisor (pid {parent}) ended before its child could start")
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    main()
