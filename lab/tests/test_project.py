"""The laboratory is pinned to the version of nanouft that stands beside it in the checkout."""
import re

from running import ROOT

import nanouft


def test_the_pin_is_the_version_of_the_checkout():
    text = (ROOT / "lab" / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'"nanouft==([^"]+)"', text) == [nanouft.__version__]
    assert re.findall(r'^version = "([^"]+)"', text, re.M) == [nanouft.__version__]
