"""``python -m control_plane.demo``: see `control_plane.examples.demo`.

That takes seconds to load, so it is loaded where Ctrl-C ends it without a traceback.
"""

import contextlib
import runpy
import sys

INTERRUPTED = 130
"""The exit status, as shells have it: 128 and the number of the signal."""


def main() -> None:
    """Run the demo; exit like a shell does if Ctrl-C comes while it loads."""
    with contextlib.suppress(KeyboardInterrupt):
        runpy.run_module("control_plane.examples.demo", run_name="__main__")
    sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
