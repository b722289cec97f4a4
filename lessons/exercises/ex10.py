"""The exercise of lesson 10. Replace the `raise`, then: python -m lessons check 10"""


def wrong_shares(r, r_bar, wrong, k):
    """10a. What share of a method's push goes to wrong demonstrations?

    Difficulty: easy

    r       (n,) the mean log-probability of each demonstration by the policy
    r_bar   (n,) the same by the helper
    wrong   (n,) 1 where the demonstration is wrong, else 0
    k       how many demonstrations a filter throws out, fewer than n
    return  three numbers, each the sum of the pushes on wrong demonstrations divided by the sum of
            all pushes: by SFT, which pushes each demonstration by 1; by PoFT, which pushes it by
            its weight tau; and by SFT after a filter has thrown out the k of lowest tau

    r = (0, 0), r_bar = (ln 3, -ln 3), wrong = (0, 1) and k = 1 give 1/2, 1/4 and 0. When you are
    done, put in the mean weights of the lesson, 0.56 for 360 right answers and 0.35 for 240 wrong
    ones. What is left of the 40 %?
    """
    raise NotImplementedError
