"""A registry: names without imports, plug-ins that fail are named and left out, once."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from click.testing import CliRunner

from marlrobust import registry as module
from marlrobust.attacks import ATTACKS
from marlrobust.attacks.gradient import PGD
from marlrobust.cli import main
from marlrobust.errors import UserError
from marlrobust.registry import Registry

BASE = "marlrobust.attacks.attack:Attack"


@dataclass(frozen=True, kw_only=True)
class Good(PGD):
    """A plug-in that works."""


class Unrelated:
    """No attack."""


def plugins(monkeypatch: pytest.MonkeyPatch, **values: str) -> Registry[Any]:
    """A registry of pgd alone, with installed plug-ins: name to `module:attribute`."""
    points = [EntryPoint(name.replace("_", "-"), value, "some.group") for name, value in values.items()]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    return Registry("attack", "some.group", {"pgd": "marlrobust.attacks.gradient:PGD"}, base=BASE)


def test_a_plug_in_is_an_entry_like_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    known = plugins(monkeypatch, good=f"{__name__}:Good")
    assert list(known) == ["pgd", "good"]
    assert known["good"] is Good
    assert dict(known.items()) == {"pgd": PGD, "good": Good}


def test_names_are_known_without_importing_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    known = plugins(monkeypatch, heavy="nobody.has.this:Module")
    assert list(known) == ["pgd", "heavy"]
    known.check("heavy")
    with pytest.raises(UserError, match="did you mean 'heavy'"):
        known.check("heavi")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise RuntimeError('no such disk')", "no such disk"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("thing = 5", "is no Attack"),
        ("from tests.test_registry import Unrelated as thing", "is no Attack"),
        ("", "thing"),
    ],
)
def test_a_plug_in_that_fails_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str, words: str
) -> None:
    """It is named once, with its reason, and the others are there."""

    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
            if name != "bad_plugin":
                return None
            from importlib.machinery import ModuleSpec

            return ModuleSpec(name, Finder)  # type: ignore[arg-type]

        @staticmethod
        def create_module(spec: Any) -> types.ModuleType:
            return types.ModuleType("bad_plugin")

        @staticmethod
        def exec_module(made: types.ModuleType) -> None:
            exec(code, made.__dict__)

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    monkeypatch.delitem(sys.modules, "bad_plugin", raising=False)
    known = plugins(monkeypatch, bad="bad_plugin:thing", good=f"{__name__}:Good")
    assert known["pgd"] is PGD
    for _ in range(2):
        assert dict(known.items()) == {"pgd": PGD, "good": Good}
    said = capsys.readouterr().err
    assert said.count("left out") == 1
    assert "'bad'" in said
    assert words in said


def test_a_plug_in_that_takes_a_used_name_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = plugins(monkeypatch, pgd=f"{__name__}:Good")
    assert known["pgd"] is PGD
    assert list(known) == ["pgd"]
    assert list(known) == ["pgd"]
    said = capsys.readouterr().err
    assert said.count("takes the name of another attack") == 1
    with pytest.raises(ValueError, match="there already"):
        known.register("pgd")(Good)


def test_asked_for_by_name_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"attack 'bad' .*does not load.*nobody"):
        plugins(monkeypatch, bad="nobody.has.this:Module")["bad"]


def test_the_command_line_lists_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = EntryPoint("broken", "nobody.has.this:Module", ATTACKS.group)
    monkeypatch.setattr(module, "entry_points", lambda group: [bad] if group == ATTACKS.group else [])
    monkeypatch.setattr(ATTACKS, "_plugins", None)
    result = CliRunner().invoke(main, ["list", "attacks"])
    monkeypatch.setattr(ATTACKS, "_plugins", None)
    assert result.exit_code == 0
    assert "pgd" in result.output
    assert "left out: the installed attack 'broken'" in result.output
