"""Exercises of lesson 00. Replace each `raise`, then: python -m lessons.check 00"""

FRUITS = "cherry date fig grape kiwi lemon lime mango melon peach pear plum".split()


def my_score(answer):
    """00a. The score of an answer to: Name three fruits but not fig, lime or kiwi. End on fox.

    answer  a string of words with one space between them
    return  a number from 0 to 1

    The items are all words of the answer without a final "fox". If the last word is another one,
    all words are items. Each of five checks is worth one fifth:
        1. the last word of the answer is "fox"
        2. all items are in FRUITS
        3. there are exactly three items
        4. no item comes twice
        5. no item is fig, lime or kiwi ("figs" is another word, which is not in FRUITS)

    "plum fig fox" gives 0.6. It ends on fox, both items are fruits and none comes twice, but there
    are only two of them, and fig is forbidden.
    """
    raise NotImplementedError
