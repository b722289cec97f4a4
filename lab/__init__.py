"""The laboratory: many runs, compared and judged. Nothing outside imports it; deleted, all the rest
still works.
It is a project of its own in the checkout: README.md beside this file says how to install it.

    python -m lab.page              the chooser: a page that is made from the map
    python -m lab.claims            the papers' claims as fixed contrasts over seeds and bases
    python -m lab.lake_study        claim C5 on random Frozen Lakes
    python -m lab.thinking          claim C8: where does thinking spread?
    python -m lab.papers            the papers' figures in miniature: docs/papers.md
    python -m lab.residual          claim C7: is the temporal residual a better estimate?
    python -m lab.stopping          does IFT as released unlearn stopping? Three places
    python -m lab.map               which method when: demonstrations, judged answers, a reward
    python -m lab.again             did a change of code move a number?
    python -m lab.cost              gradient tokens and FLOPs of a run, counted
    python -m lab.vocabulary        the shipped tokenizer, trained once more on the world's text
    python -m lab.bench             speed, as ratios; --gpu measures a GPU
"""
