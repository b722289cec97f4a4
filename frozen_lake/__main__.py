"""Frozen Lake: what SFT, IFT, DPO and ORPO do where every quantity is exact.

    python -m frozen_lake                   # a figure, a page and two tables in half a minute
    python -m frozen_lake --map my.txt      # your lake: rows of S, F (ice), H (hole), G

The figure and the first table: how likely do SFT, IFT and a placebo of the same size estimate a
best move to be, and how likely is it on the policy's own rollouts? The page shows what IFT reads,
a bit of its own prediction, and asks for your bet.
The second table compares methods on the paper's small network. There is a best path over the lake
and a worse one: SFT and IFT imitate the first, DPO and ORPO prefer it to the second
(arXiv:2405.11870v3, section 5.3). The paper does not give map, width, learning rate and seeds.
"""
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nanouft.pictures.colours import write_page
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.plumbing.ranges import Range
from nanouft.run.flags import parse


@dataclass
class LakeFlags:
    map: str = "twoway5"            # the lake: twoway5, default4, default8 or a text file
    seeds: Annotated[int, Range(2)] = 20  # networks, for the table's intervals
    out: str = "out/frozen_lake"    # folder of the page and the figure


def main(argv: list[str] | None = None) -> int:
    cfg = parse(LakeFlags, argv, "python -m frozen_lake", __doc__)
    # Here, so that --help does not wait for torch.
    import torch

    from frozen_lake.figure import draw_figure
    from frozen_lake.lake import make_lake
    from frozen_lake.record import WEB, page_data
    from frozen_lake.results_table import print_estimates, print_table
    from frozen_lake.train import task_of
    torch.set_num_threads(1)                        # tensors are small: a second would only wait
    lake, out = make_lake(cfg.map), Path(cfg.out)
    data = page_data(lake)
    say(f"figure: {draw_figure(lake, out)}")
    say(f"page: {write_page(WEB, data, out)}")
    print_estimates(data)
    print_table(task_of(lake), cfg.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
