"""Mutants: the list still fits the code; slow: a test notices each of them."""
import mutants
import pytest


def test_the_list_fits_the_code():
    assert len(mutants.MUTANTS) > 90 and not mutants.unfit(), "\n".join(mutants.unfit())


def test_a_list_that_does_not_fit_is_noticed(monkeypatch):
    where, old, new, test = mutants.MUTANTS[0]
    monkeypatch.setattr(mutants, "MUTANTS", [(where, "import", new, test), (where, old, old, test),
                                             (where, "nowhere", new, test), (where, old, new, test + "_not")])
    assert [line[0] for line in mutants.unfit()] == ["0", "1", "2", "3"]


@pytest.mark.slow
def test_none_survives():
    assert mutants.main([]) == 0
