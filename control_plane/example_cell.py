"""``python -m control_plane.example_cell``: see `control_plane.examples.cell`."""

from control_plane.examples.cell import main

if __name__ == "__main__":
    main()
