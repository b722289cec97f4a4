"""C5: where do the methods read, and where do they end? Two questions on many frozen lakes.

The IFT paper explains its result on Frozen Lake (arXiv:2405.11870v3, section 5.3) by the cells
that a method explores: those of DPO fit the preference of the policy best, then those of IFT, then
those of SFT. An exploratory run on the lakes of seeds 0 to 99 found this order. So the question is
asked again, on lakes that nobody has looked at.

Question (written down before any figure of it was made)
    The share of what a method reads that lies where the policy itself goes is smallest for SFT,
    larger for IFT, largest for DPO.

Lakes       random_lake(seed), seeds 100 to 199: 5 x 5 cells, with a best path and a detour.
Policies    four cases: {from scratch, with a habit of the detour} x {a table, the paper's network};
            four policies a lake, each before its first update.
Where the policy goes
            the share of each cell in its own visits, exact, with discount .99.
What a method reads, as shares of cells, counting cells from which the goal can be reached:
    SFT     the cells of the best path
    IFT     the same with weight 1 - lam, and with weight lam the cell where the policy's own move,
            one step earlier, would have led; lam = .2; the first cell is not mixed
    DPO     the cells of the best path, and those of the detour
The share that lies where the policy goes is  sum over cells of min(read, visited).

Rule        A lake's number is the mean over its four policies. Two differences are judged in each
            case, paired by lake: IFT - SFT and DPO - IFT, with Student's 95 % interval over lakes.
            The order holds in a case if both intervals lie above 0; it does not hold if one of them
            lies below 0; otherwise it is undecided. Beside the verdict stands the share of lakes
            that show the order. Each case has a verdict of its own, and none is left out.

Part of the answer is given by construction: IFT's own guess is the cell that the policy would
enter next, and the path that DPO rejects is the one a policy with the habit walks. The question
is therefore how far the methods differ, and whether a policy from scratch shows the order as well.
"""
SEEDS = range(100, 200)         # lakes
POLICIES = 4                    # on each lake
LAM = 0.2                       # IFT: share of the own guess
CASES = {"from scratch, table": ("table", "fresh"), "from scratch, network": ("net", "fresh"),
         "detour habit, table": ("table", "presub"), "detour habit, network": ("net", "presub")}


def verdict(differences: list[tuple[float, float]]) -> str:
    """Of the (mean, half width) of IFT - SFT and of DPO - IFT."""
    if all(mean - half > 0 for mean, half in differences):
        return "holds"
    return "does not hold" if any(mean + half < 0 for mean, half in differences) else "undecided"
