"""``python -m control_plane.cli``, and the command ``cellway`` of an installation."""

from control_plane.cli.loading import load


def main() -> None:
    """Load the command, and run it."""
    load("control_plane.cli.main").main()


if __name__ == "__main__":
    main()
