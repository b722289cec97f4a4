"""Mutants: the list still fits the code; slow: a test notices each of them."""
import mutants
import pytest


def test_the_list_fits_the_code():
    assert not mutants.unfit(), "\n".join(mutants.unfit())


@pytest.mark.slow
def test_none_survives():
    assert mutants.main([]) == 0
