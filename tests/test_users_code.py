"""What a user's own code may do: print, fail and leave."""

from __future__ import annotations

import sys

import pytest

from softcell.errors import InputError
from softcell.own_code import guarded


def test_what_it_prints_goes_to_standard_error(capsys):
    assert guarded(lambda: print("evaluating"), "--evaluate m:f") is None
    assert capsys.readouterr() == ("", "evaluating\n")


@pytest.mark.parametrize("status", [0, 3, None])
def test_leaving_is_an_error(status):
    with pytest.raises(InputError, match=r"^--evaluate m:f called sys\.exit; let it return"):
        guarded(lambda: sys.exit(status), "--evaluate m:f")


def test_an_interruption_is_none():
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded(stop, "--evaluate m:f")
