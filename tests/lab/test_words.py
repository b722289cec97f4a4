"""What a difference is called, and how numbers and tables are written."""
import math

from lab.words import difference_word, format_gain, format_interval, markdown_table


def test_a_difference_in_a_word():
    some = ((0.05, 0.02), (-0.05, 0.02), (0.005, 0.01), (0.01, 0.02), (0.0, math.inf))
    assert [difference_word(m, h, 0.02) for m, h in some] == ["better", "worse", "equal", "undecided", "undecided"]


def test_numbers_and_tables_as_the_pages_have_them():
    assert format_interval(0.799, 0.023) == "79.9 ± 2.3" and format_gain(0.012, 0.02) == "+1.2 ± 2.0"
    assert format_interval(0.5, math.inf) == "50.0", "one seed has no interval"
    assert markdown_table(["row", ""], [["SFT", 3], ["DPO", ""]]) == ["| row | |", "|---|---|", "| SFT | 3 |",
                                                                      "| DPO | |"]
