"""The page of the lake, made once for its tests: two networks, a twin that has hardly learnt, a study of three rows."""
from pathlib import Path

import pytest
from studied import HP, STUDY

from frozen_lake import page, twin
from frozen_lake.lake import make_lake


@pytest.fixture(scope="session")
def content(tmp_path_factory) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "SEEDS", 2)
        patch.setattr(twin, "STEPS", 2)
        return page.content(HP, make_lake("twoway5"), STUDY, tmp_path_factory.mktemp("nowhere"))


@pytest.fixture(scope="session")
def file(content, tmp_path_factory) -> Path:
    """The page, in a folder with an awkward name."""
    file = tmp_path_factory.mktemp("Zoë 学 x") / "index.html"
    file.write_text(page.fill(content, file.parent), encoding="utf-8")
    return file
