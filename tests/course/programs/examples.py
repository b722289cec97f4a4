"""The examples of stubs: a sentence of a docstring, the arguments it means, the result."""
import json
import math

import torch

T = torch.tensor
LOGP, MASK = T([[-2.0, 0, 0, 0], [-1.0] * 4]), T([[1.0, 0, 0, 0], [1] * 4])
ROW = ["user", "hi", "assistant", "yo", "end"]
WALK = (T([[.6, 0, .4, 0], [1, 0, 0, 0]]), [(0, 0), (0, 0)], T([[0, 0, 1, 1]] * 2),
        T([[1, 0, 0, 0], [0] * 4]))
EXAMPLES = [            # a sentence of a stub's docstring, the arguments it means, the result
    ("00a", "chosen bee cat end and rejected bee end give 0 1 1",
     (["bee", "cat", "end"], ["bee", "end"]), [0, 1, 1]),
    ("01a", "Let T and n be 1 and h be 4, let q_0 . k_0 be 2 ln 3 and q_0 . k_1 be 0. The scores "
     "are ln 3 and 0, so the weights are 3/4 and 1/4.",
     (T([[[2 * math.log(3), 0, 0, 0]]]), T([[[1.0, 0, 0, 0], [0] * 4]]), T([[[1.0, 0], [0, 1]]])),
     [[[3 / 4, 1 / 4]]]),
    ("02a", f"such as {json.dumps(ROW)}", (ROW,), [0, 0, 1, 1]),
    ("02a", "The targets of the row above are hi, assistant, yo, end, so the mask is [0, 0, 1, 1].",
     (ROW,), [0, 0, 1, 1]),
    ("02b", "If one row has a single token with the loss 2, and another row four tokens with the "
     "loss 1, then \"token\" gives 6 / 5", (LOGP, MASK, "token"), 6 / 5),
    ("02b", "and \"sequence\" gives (2 + 1) / 2.", (LOGP, MASK, "sequence"), (2 + 1) / 2),
    ("03a", "p = (0.5, 0.5) and r = (1, 0) give (0.25, -0.25).", (T([0.5, 0.5]), T([1.0, 0])),
     [0.25, -0.25]),
    ("04a", "The tokens q x y end with the guesses x z end and the mask 1 1 1 give 0 0 1:",
     (["q", "x", "y", "end"], ["x", "z", "end"], [1, 1, 1]), [0, 0, 1]),
    ("05a", "Let there be two cells, 0 and 1. Moves 0 and 1 lead to cell 0, moves 2 and 3 to cell "
     "1. Move 0 is the best one in cell 0, and none is in cell 1. If probs[0] is (.6, 0, .4, 0) "
     "and the path is (0, 0), (0, 0), the result is .36, .6 and (.6 + .36) / 2 = .48.",
     WALK, [.36, .6, .48]),
    ("06a", "losses 2.5 and 0 with gamma 0.95 give 0.9199", (T([2.5, 0]), 0.95), 0.9199),
    ("08a", "share 1/2, beta 2 and gamma 0.5 give 0.25.", (1 / 2, 2, 0.5), 0.25),
    ("09a", "The score 1 gives 1/3", (1,), 1 / 3),
    ("10a", "r = (0, 0), r_bar = (ln 3, -ln 3), wrong = (0, 1) and k = 1 give 1/2, 1/4 and 0.",
     (T([0.0, 0]), T([math.log(3), -math.log(3)]), T([0.0, 1]), 1), [1 / 2, 1 / 4, 0]),
    ("11a", "likes 1 2 3 0 and scores 0 1 0.5 0.2 give 0.425 with n = 1",
     (1, [1, 2, 3, 0], [0, 1, 0.5, 0.2]), 0.425),
    ("11a", "and 0.5833 with n = 2.", (2, [1, 2, 3, 0], [0, 1, 0.5, 0.2]), 0.5833),
    ("12a", "p = 1/2 and share 0.5 give 2;", (1 / 2, 0.5), 2),
    ("12a", "p = 0.1 and share 0.5 give 7.", (0.1, 0.5), 7),
    ("12b", "A token with logp = old = -1, ref = -2, A = 0.5 and beta 0.1 has the push 0.4368.",
     (T([-1.0]), T([-1.0]), T([-2.0]), T([0.5]), 0.2, 0.1), [0.4368]),
    ("13a", "p = 0.5 gives 0.5 and 0.1534.", (0.5,), [0.5, 0.1534]),
    ("14a", "difference 1, sd 0.8 and t = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776} give 5.",
     (1, 0.8, {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776}), 5),
    ("15a", "T 2, gamma 1 and lam 0.5 give c = 1 0.5 and v = -1 0.5", (2, 1, 0.5),
     [[1, 0.5], [-1, 0.5]]),
    ("16a", "s = 0.5, delta = 0.4, 10 and 2 tokens give 0.03.", (0.5, 0.4, 10, 2), 0.03),
    ("17a", "share 0.5 and gamma 1 give 4;", (0.5, 1), 4),
    ("18a", "Scores [0, 0], lengths [4, 2], 5 tokens shown and gate 0 give [0, 0, 0.2].",
     ([0.0, 0.0], [4, 2], 5, 0), [0, 0, 0.2]),
    ("18a", "Scores [1, 0] give [0.0884, -0.1768, 0].",
     ([1.0, 0.0], [4, 2], 5, 0), [0.0884, -0.1768, 0])]
