"""A table of your own, as rows: recipes in which one ingredient must be replaced.

    python -m lessons.papers.extras.ingredient_substitution out/table   # sft, pairs and new.jsonl
    python -m nanouft.train --objective sft --init out/smollm2 --lora 16 \\
        --data out/table/sft.jsonl --out out/table-sft
    python -m nanouft.train --objective dpo --init out/table-sft --lora 16 --epochs 1 \\
        --data out/table/pairs.jsonl --out out/table-dpo
    python -m nanouft.evaluate out/smollm2 out/table-sft out/table-dpo --max-new 12 \\
        --data out/table/new.jsonl --reward lessons/papers/extras/ingredient_substitution.py:hit

The best substitute depends on the dish: for an egg it is banana in a muffin and tofu in a soup. So
the rejected answer of a pair is what is right for another kind of dish. The dishes of new.jsonl
are in neither of the other files. `hit` scores an answer: is the first substitute that it names
the right one (hit@1)? All rows were made up for this file.

SmolLM2 (one seed, in 4 bits, on a CPU) answered none of the 48 new rows rightly before training, a
share of .23 after SFT (95 % CI .13 to .33) and .23 after DPO (.12 to .35). A guess among the three
substitutes is right in a third: SFT taught the form, and DPO not yet which dish needs what.
"""
import argparse
import json
import random
import sys
from pathlib import Path

from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import quantity, say

KINDS = ("cake", "soup", "salad")
SUBSTITUTES = {                         # {ingredient: the substitute in a cake, a soup, a salad}
    "egg": ("mashed banana", "silken tofu", "chickpeas"),
    "butter": ("coconut oil", "olive oil", "avocado"),
    "milk": ("oat milk", "coconut milk", "yoghurt"),
    "cream": ("cashew butter", "potato puree", "tahini"),
    "cheese": ("almond paste", "miso", "roasted nuts"),
    "sugar": ("date syrup", "carrot juice", "apple juice"),
    "flour": ("ground almonds", "red lentils", "breadcrumbs"),
    "bacon": ("pecans", "smoked paprika", "fried mushrooms"),
}
DISHES = {
    "cake": ("carrot muffins", "lemon cake", "ginger biscuits", "apple tart", "plum loaf",
             "spice buns"),
    "soup": ("leek soup", "pumpkin broth", "bean stew", "tomato bisque", "barley pottage",
             "corn chowder"),
    "salad": ("potato salad", "green salad", "beetroot slaw", "rice salad", "cucumber bowl",
              "cabbage slaw"),
}
NEW_DISHES = 2                          # of each kind, the last ones, are in new.jsonl alone


def recipe(dish: str, replaced: str, rng: random.Random) -> str:
    """The prompt: title, ingredients in any order, and the one to replace."""
    others = rng.sample([x for x in SUBSTITUTES if x != replaced], 2)
    ingredients = rng.sample([replaced, *others], 3)
    return (f"Recipe: {dish}. Ingredients: {', '.join(ingredients)}. "
            f"What can replace the {replaced}?")


def make_rows() -> dict[str, list[dict]]:
    """{file: its rows}; each dish with each ingredient once."""
    rng = random.Random(0)
    files: dict[str, list[dict]] = {"sft.jsonl": [], "pairs.jsonl": [], "new.jsonl": []}
    for place, kind in enumerate(KINDS):
        for number, dish in enumerate(DISHES[kind]):
            for replaced, options in SUBSTITUTES.items():
                prompt, right = recipe(dish, replaced, rng), options[place]
                wrong = rng.choice([x for x in options if x != right])
                pair = {"prompt": prompt, "chosen": right, "rejected": wrong}
                if number >= len(DISHES[kind]) - NEW_DISHES:
                    files["new.jsonl"].append({"prompt": prompt, "substitute": right})
                else:
                    files["sft.jsonl"].append({"prompt": prompt, "response": right})
                    files["pairs.jsonl"].append(pair)
    return files


def hit(completions: list[str], substitute: list[str], **others: list) -> list[float]:
    """1 for an answer whose first line is the right substitute, case and full stop aside."""
    first_lines = [text.strip().partition("\n")[0].rstrip(". ").lower() for text in completions]
    return [float(said == right) for said, right in zip(first_lines, substitute)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.papers.extras.ingredient_substitution",
                                     description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the three files go")
    folder = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in make_rows().items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")
        say(f"{folder / name}: {quantity(len(rows), 'rows')}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
