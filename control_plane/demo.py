"""``python -m control_plane.demo``: see `control_plane.examples.demo`."""

from control_plane.examples.demo import main

if __name__ == "__main__":
    main()
