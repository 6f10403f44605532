"""Writes of rulesets."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from control_plane.topology.values.errors import NotFound, StaleVersion
from tests.topology.machine.writes import Error, WritingMachine, flags, versions

documents = st.sampled_from(["{}", '{"rules": []}'])
ruleset_names = st.sampled_from(["r", "s"])


class RulesetRules(WritingMachine):
    """Rulesets get new versions, and one of them is written the active one."""

    @rule(name=ruleset_names, document=documents, version=versions, dry_run=flags)
    def put_ruleset(self, name: str, document: str, version: str, dry_run: bool) -> None:
        stored = self.model.rulesets.get(name, [])
        expected = self.expected(version, len(stored))
        stale = expected not in {None, len(stored)}
        same = bool(stored) and stored[-1] == document
        written = self.write(
            lambda: self.topology.rulesets.put(
                name, document, actor="m", expected_version=expected, dry_run=dry_run
            ),
            {StaleVersion} if stale else set(),
            dry_run=dry_run,
            changes=int(not same),
        )
        if written is not None and not same:
            self.model.rulesets[name] = [*stored, document]

    @rule(name=ruleset_names, version=st.integers(0, 3), believed=versions, dry_run=flags)
    def activate_ruleset(self, name: str, version: int, believed: str, dry_run: bool) -> None:
        current = self.model.active or ("", 0)
        expected = {"none": None, "current": current, "stale": ("no such", 1)}[believed]
        refused: set[Error] = set()
        if not 1 <= version <= len(self.model.rulesets.get(name, [])):
            refused = {NotFound}
        elif expected not in {None, current}:
            refused = {StaleVersion}
        changed = (name, version) != self.model.active
        written = self.write(
            lambda: self.topology.rulesets.activate(
                name, version, actor="m", expected_active=expected, dry_run=dry_run
            ),
            refused,
            dry_run=dry_run,
            changes=int(changed),
            edge=changed,
        )
        if written is not None:
            self.model.active = (name, version)
