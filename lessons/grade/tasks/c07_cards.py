"""Cards of lesson 07."""
from lessons.grade.predictions import Predict


def experiment():
    from lessons.grade.experiment import lesson
    plain = lesson("07", until="# %% [markdown]\n# ## The surprise")["seen"]
    held = lesson("07", until="# %% [markdown]\n# ## The surprise", HOLD=1.0)["seen"]
    strict = lesson("07", until="# %% [markdown]\n# ## The surprise", BETA=1.0)["seen"]
    first, last = plain[0]["logp_chosen"].item(), plain[-1]["logp_chosen"].item()
    won = plain[2]["accuracy"].item()                   # every second step is seen
    rejected, chosen = held[-1]["logp_rejected"].item(), strict[-1]["logp_chosen"].item()
    return [(last < first, f"{first:.1f} -> {last:.1f}"), (won == 1, f"{won:.0%}"),
            (rejected < -80, f"{rejected:.0f}"), (chosen > -3, f"{chosen:.1f}")]


TASKS = [Predict(
    "07p", level=2, minutes=15, core=True, heading="Does a push up make it go up?",
    experiment=experiment,
    text="""\
Lesson 07 trains DPO on 300 pairs for 40 steps: chosen is always "I do not know.", rejected is an
invented answer. The learning rate is 1e-4, beta 0.1. Predict before you run the lesson.""",
    statements=(
        "After 40 steps log p(chosen) is lower than at the start.",
        "After 4 steps all pairs are won, also on questions never seen in training.",
        "With the likelihood of chosen added to the loss (HOLD = 1), log p(rejected) still falls "
        "below -80.",
        "With beta = 1 log p(chosen) ends above -3."),
    hints=("Which numbers does the loss see, and which not?",
           'Lesson 07, "Does a push up make it go up?"',
           "chosen -5 -> -10, rejected -5 -> -30: the margin grew by 20 nats."),
)]
