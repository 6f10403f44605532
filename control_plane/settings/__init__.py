"""The configuration: what can be set, where it is read, and what can't be right."""

from control_plane.settings.settings import (
    ALL_ROLES,
    API_PORT,
    CLASSIFIER_PORT,
    GRPC_PORT,
    BadSetting,
    Role,
    Settings,
    TokenNeeded,
    check_exposure,
)

__all__ = [
    "ALL_ROLES",
    "API_PORT",
    "CLASSIFIER_PORT",
    "GRPC_PORT",
    "BadSetting",
    "Role",
    "Settings",
    "TokenNeeded",
    "check_exposure",
]
