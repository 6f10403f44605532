"""The pinned packages, and their audit."""
