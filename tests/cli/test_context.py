"""What the options of all commands mean: how a command writes, and when it asks."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from control_plane.cli.client import Exit, Failure
from control_plane.cli.context import Context
from control_plane.cli.output import Format


class Recorder:
    """Stands where the client is, and records what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def document(self, method: str, path: str, **asked: Any) -> dict[str, Any]:
        params = {name: value for name, value in asked["params"].items() if value is not None}
        self.calls.append({"method": method, "path": path, **asked, "params": params})
        return {"revision": 1}


def context(**options: Any) -> Context:
    defaults: dict[str, Any] = {
        "server": "http://127.0.0.1:1",
        "token": None,
        "output": Format.TABLE,
        "yes": False,
        "no_input": False,
        "dry_run": False,
        "wait": False,
        "timeout": "5s",
    }
    return Context(**defaults | options)


@pytest.mark.parametrize(
    ("options", "arguments", "params"),
    [
        ({}, {}, {}),
        ({}, {"force": True}, {"force": True}),
        ({"wait": True, "timeout": "9s"}, {}, {"wait": "fleet", "timeout": "9s"}),
        ({"wait": True}, {"intermediate": True}, {}),
        ({"wait": True, "dry_run": True}, {}, {"dry_run": True}),
        ({"wait": True}, {"preview": True}, {"dry_run": True}),
    ],
)
def test_a_write_asks_for_what_the_options_say(
    options: dict[str, Any], arguments: dict[str, Any], params: dict[str, Any]
) -> None:
    of_command, recorder = context(**options), Recorder()
    of_command.__dict__["client"] = recorder
    assert of_command.write("POST", "/v1/x", {"a": 1}, **arguments) == {"revision": 1}
    (call,) = recorder.calls
    assert (call["params"], call["headers"]) == (params, {})


def test_a_write_may_be_bound_to_an_etag() -> None:
    of_command, recorder = context(), Recorder()
    of_command.__dict__["client"] = recorder
    of_command.write("DELETE", "/v1/x", if_match='"7"')
    assert recorder.calls[0]["headers"] == {"if-match": '"7"'}


@pytest.mark.parametrize("options", [{"yes": True}, {"dry_run": True}])
def test_nothing_is_asked_where_the_answer_is_clear(options: dict[str, Any]) -> None:
    context(**options, no_input=True).confirm("delete it?")


def test_where_nobody_can_be_asked_the_command_says_what_to_give() -> None:
    with pytest.raises(Failure, match=r"delete it\? needs --yes") as raised:
        context(no_input=True).confirm("delete it?")
    assert raised.value.status is Exit.USAGE


@pytest.mark.parametrize("answer", [True, False])
def test_only_a_yes_goes_on(answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: answer)
    if answer:
        context().confirm("delete it?")
        return
    with pytest.raises(Failure, match="nothing was changed") as raised:
        context().confirm("delete it?")
    assert raised.value.status is Exit.REFUSED


def test_what_a_message_has_told_is_data_for_programs_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    context(output=Format.TABLE).show_data({"a": 1})
    assert capsys.readouterr().out == ""
    context(output=Format.YAML).show_data({"a": 1})
    assert capsys.readouterr().out == "a: 1\n"
