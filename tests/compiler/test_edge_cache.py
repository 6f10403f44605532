"""Settings in front of Lua scripts: what Lua reads is what was written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime, lua_type

from control_plane.compiler.edge_cache import (
    Value,
    compile_empty_421_script,
    compile_misdirected_script,
    compile_script,
    to_lua,
)
from control_plane.compiler.model import TrafficPolicy
from control_plane.names import CLASSIFIER_CLUSTER
from control_plane.routing.admission.headers import UNSEEN_BY_RULES

LUA = LuaRuntime(unpack_returned_tuples=True, encoding=None)
scalars = st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=12)
values: st.SearchStrategy[Value] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def from_lua(value: Any) -> Any:
    if lua_type(value) == "table":
        return {from_lua(key): from_lua(item) for key, item in value.items()}
    return value.decode() if isinstance(value, bytes) else value


def as_table(value: Any) -> Any:
    """Lua's one container counts from 1."""
    if isinstance(value, list):
        return {at: as_table(item) for at, item in enumerate(value, 1)}
    if isinstance(value, dict):
        return {key: as_table(item) for key, item in value.items()}
    return value


@given(values)
@settings(max_examples=300, deadline=None)
def test_lua_reads_the_value_that_was_written(value: Value) -> None:
    assert from_lua(LUA.eval(to_lua(value).encode())) == as_table(value)


def test_nothing_is_nil_and_a_key_without_a_value_is_left_out() -> None:
    assert to_lua(None) == "nil"
    assert to_lua({"a": None, "b": 1}) == '{["b"] = 1}'


@pytest.mark.parametrize(
    ("entries", "keeps", "negative"), [(0, False, 2), (15, True, 2), (50_000, True, 5_000)]
)
def test_the_cache_is_as_large_as_the_policy_says(entries: int, keeps: bool, negative: int) -> None:
    script = compile_script(TrafficPolicy(edge_cache_entries=entries, classifier_timeout_s=0.5))
    for line in (
        f'local CLUSTER = "{CLASSIFIER_CLUSTER}"',
        "local TIMEOUT_MS = 500",
        f"local KEEPS = {to_lua(keeps)}",
        f"local MAX_POSITIVE = {entries}",
        f"local MAX_MINTABLE = {max(2, entries // 2)}",
        f"local MAX_NEGATIVE = {negative}",
    ):
        assert f"{line}\n" in script
    assert all(f'["{name}"] = true' in script for name in UNSEEN_BY_RULES)


def test_all_scripts_are_lua() -> None:
    for script in (
        compile_script(TrafficPolicy()),
        compile_misdirected_script(),
        compile_empty_421_script(),
    ):
        assert LUA.globals()[b"loadstring"](script.encode()) is not None
