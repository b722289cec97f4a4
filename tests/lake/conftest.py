"""The page of the lake, made once for its tests."""
from pathlib import Path

import pytest
from studied import lake_content, lake_page


@pytest.fixture(scope="session")
def content(tmp_path_factory) -> dict:
    return lake_content(tmp_path_factory.mktemp("nowhere"))


@pytest.fixture(scope="session")
def file(content, tmp_path_factory) -> Path:
    return lake_page(content, tmp_path_factory.mktemp("page"))
