"""Cards of lesson 06."""
from functools import lru_cache

from lessons.grade.cards import Blank, Ledger, whose
from lessons.grade.task import Mistake

LIVE = "live weights are taken for constant ones"
PLACES = "a strip that counts places is taken for one that looks at losses"
FLAT = "a method that looks ahead is taken for SFT"
FORMS = {"SFT": ("sft", {}), "IFT, released": ("ift", {"variant": "released"}),
         "IFT, detached": ("ift", {"variant": "detached"}),
         "Eq. 21, mean 1": ("ift", {"variant": "eq21_mean1"})}
BUILD = """\
Build: four losses for which IFT, released, pushes the LAST token by less than -0.5,
and the FIRST one by less than +1. (gamma = 0.95.) Write them as [2.0, 1.0, 1.0, 0.0]."""
SLIPS = {("IFT, released", "IFT, detached"): LIVE, ("IFT, detached", "IFT, released"): LIVE,
         ("Eq. 21, mean 1", "IFT, detached"): PLACES, ("Eq. 21, mean 1", "IFT, released"): PLACES,
         ("IFT, detached", "Eq. 21, mean 1"): PLACES, ("IFT, released", "Eq. 21, mean 1"): PLACES,
         ("IFT, released", "SFT"): FLAT, ("IFT, detached", "SFT"): FLAT,
         ("Eq. 21, mean 1", "SFT"): FLAT,
         ("SFT", "IFT, released"): FLAT, ("SFT", "IFT, detached"): FLAT,
         ("SFT", "Eq. 21, mean 1"): FLAT}


def released_pushes_last_down(losses) -> str:
    """The construction: last below -0.5, first below 1."""
    from lessons.grade import strips
    kinds = {type(x) for x in losses} if type(losses) is list else set()
    if not kinds or not kinds <= {int, float} or len(losses) != 4:
        return "four numbers are needed: [0.0, 0.0, 0.0, 0.0]"
    if any(not 0 <= x < 100 for x in losses) or not sum(losses):
        return "losses are not negative, and not all 0"
    push = strips.demonstration("ift", [float(x) for x in losses], variant="released")
    found = f"these losses are pushed by {strips.words(push)}"
    if push[3] >= -0.5:
        return f"not yet: {found}; the last push is not below -0.5"
    return "" if push[0] < 1 else f"not yet: {found}; the first push is not below +1"


@lru_cache
def found() -> dict[str, list[str]]:
    from lessons.grade import strips
    return {method: [strips.words(strips.demonstration(loss, [2.0, 1.0, 1.0, 0.0], **settings))]
            for method, (loss, settings) in FORMS.items()}


def blanks(name: str) -> list[Blank]:
    build = Blank("losses", BUILD, right=[0.0, 2.0, 0.0, 0.0], test=released_pushes_last_down)
    return [*whose(found(), SLIPS, name, "06c"), build]


TASKS = [Ledger(
    "06c", level=2, minutes=15, core=True, heading="Two tokens on paper", blanks=blanks,
    text="""\
Whose strip? An answer of four tokens has the losses 2 1 1 0. Each strip says how hard one method
pushes these tokens: + makes a token likelier. (gamma = 0.95; times 4, so that SFT is +1
everywhere.)""",
    mistakes=(
        Mistake(LIVE, {}, "Can a constant weight push a token down whose loss is 0?",
                "Negative pushes in a strip: gradient flows through the weights."),
        Mistake(PLACES, {}, "Would the strip change if the losses were 0 1 1 2?",
                "Eq. 21 counts places. It does not look at losses."),
        Mistake(FLAT, {}, "Which method gives each token the same?",
                "SFT pushes each token equally. All others here weigh.")),
    hints=("Which strips have a negative number, and which method can make one?",
           'Lesson 06, "Two tokens on paper".',
           "losses 0 0 2 0, released:   +0.77 +0.37 +1.4 -0.49"),
)]
