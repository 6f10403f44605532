"""What `pyproject.toml` can't say: which files of the repository a wheel holds, and where.

A wheel that had `envoy/`, `rulesets/` and `addons/` at its top would take module names that
belong to others. So they become folders of `control_plane/_shipped/`, where
`control_plane/shipped.py` finds them.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

SHIPPED = ("addons", "envoy", "rulesets")
"""Folders of the repository, all of whose files are shipped."""


def shipped_folders() -> dict[str, str]:
    """Return the packages that the folders become, and their folders."""
    folders = [
        path
        for name in SHIPPED
        for path in (Path(name), *sorted(Path(name).rglob("*")))
        if path.is_dir() and path.name != "__pycache__"
    ]
    return {".".join(("control_plane", "_shipped", *path.parts)): str(path) for path in folders}


DATA = ("py.typed", "*.pyi", "*.mako", "*.css", "*.html", "*.js", "*.txt", "LICENSE", "NOTICE")
"""What packages of ours read beside modules, or must be handed on with what they hold."""
package_dir = shipped_folders()
setup(
    packages=[*find_namespace_packages(include=["control_plane*"]), *package_dir],
    package_dir=package_dir,
    package_data={"": list(DATA)} | {name: ["*.*"] for name in package_dir},
)
