"""``python -m control_plane.demo``: see `control_plane.examples.demo`.

That takes seconds to load, so it is loaded where Ctrl-C ends it without a traceback.
"""

from control_plane.cli.loading import load


def main() -> None:
    """Load the demo, and run it."""
    load("control_plane.examples.demo").main()


if __name__ == "__main__":
    main()
