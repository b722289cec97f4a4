"""PreTTY (arXiv:2404.16766): no training at all, only the first tokens of each answer are forced.

    priors = forced_starts("1", "out/sft", tok, rows)        # one token, the one with which out/sft begins
    answers = answer_rows(model, tok, rows, priors=priors)
"""
from nanouft import world
from nanouft.data.rows import Row
from nanouft.data.tokenizer import Tokenizer
from nanouft.models.generate import answer_rows
from nanouft.models.load import start_model
from nanouft.shell.errors import UserError


def forced_starts(prior: str, source: str, tok: Tokenizer, rows: list[Row],
                  device: str = "cpu") -> list[list[int]] | None:
    """The tokens that each answer must begin with; None: nothing is forced.
    `prior` is a text, the same for all; or a number N: the first N tokens of what the model `source` answers, or, with
    no source, of the reference answer: that is an upper bound and no method, since the right beginning is given away.
    """
    if not prior.isdecimal():
        if source:
            raise UserError(f"--prior-from {source}: goes with a number of tokens, not with --prior {prior!r}")
        return [tok.encode(" " + prior)] * len(rows) if prior else None
    n = int(prior)
    if not n:
        return None
    if not source:
        try:
            return [tok.encode(" " + world.reference(r.prompt[-1].text))[:n] for r in rows]
        except ValueError:
            raise UserError(f"--prior {n}: only NanoWorld prompts have a reference answer to take tokens from; "
                                   "name a model with --prior-from, or give a text") from None
    teacher, its_tok = start_model(source)
    if its_tok.name != tok.name:
        raise UserError(f"--prior-from {source}: has tokenizer {its_tok.name}, the model has {tok.name}")
    answers = answer_rows(teacher.to(device).eval(), tok, rows, max_new=n)
    return [[i for i in a.ids if i not in (tok.user, tok.assistant)] for a in answers]
