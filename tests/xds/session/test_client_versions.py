"""What clients share must not show: `ClientVersions` is a dict, whatever it is stored over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.xds.session.client_versions import ClientVersions

names = st.sampled_from("abcd")


versions = st.sampled_from(["1", "2", ""])


mappings = st.dictionaries(names, versions)


steps = st.one_of(
    st.tuples(st.just("set"), names, versions),
    st.tuples(st.just("pop"), names, versions),
    st.tuples(st.just("rebase"), names, mappings),
)


@given(mappings, mappings, st.lists(steps, max_size=12))
def test_it_is_a_dict(held: dict[str, str], base: dict[str, str], history: list[tuple]) -> None:  # type: ignore[type-arg]
    made = ClientVersions.of(held, base)
    model = dict(held)
    for what, name, given_ in history:
        if what == "set":
            made[name] = model[name] = given_
        elif what == "pop":
            assert made.pop(name, None) == model.pop(name, None)
        else:
            changed = {n for n in {*base, *given_} if base.get(n) != given_.get(n)}
            made.rebase(given_, changed)
            base = given_
        assert dict(made) == model
        assert (len(made), bool(made)) == (len(model), bool(model))
        assert [n for n in "abcd" if n in made] == [n for n in "abcd" if n in model]
        unlike = {n for n in "abcd" if model.get(n) != base.get(n)}
        assert unlike <= made.possibly_unlike(frozenset("abcd"), base)
