"""Exercises of lesson 12. Replace each `raise`, then: python -m lessons.check 12"""


def rloo(R):
    """12a. RLOO's advantages: each score minus the mean score of the OTHER answers to its prompt.

    R       (P,K) the scores of K answers to each of P prompts; K is at least 2
    return  (P,K) the advantages

    The scores 1 0 0 0 of one prompt become 1 -0.3333 -0.3333 -0.3333.
    """
    raise NotImplementedError


def grpo(R):
    """12b. GRPO's advantages: the scores of each prompt, centred and divided by their spread.

    R       (P,K) the scores of K answers to each of P prompts; K is at least 2
    return  (P,K) the advantages, without gradient, because R may contain a KL penalty

    The scores of a prompt minus their mean are divided by their standard deviation (whose sum of
    squares is divided by K - 1) plus 0.0001.

    The scores 1 0 0 become 1.1545 -0.5773 -0.5773, and 0.5 0.5 0.5 become 0 0 0.
    """
    raise NotImplementedError


def grpo_step(model, optimizer, prompts, score, K, most, end):
    """12c. One step of GRPO, from prompts to the update.

    model      model(ids) are the logits (B,T,V) of ids (B,T)
    optimizer  holds the weights of the model, and perhaps gradients of an earlier step
    prompts    (P,T) ids of P prompts, all of the same length
    score      score(prompt, answer) is a number; both are lists of ids
    K          answers to each prompt, at least 2
    most       the largest number of tokens in an answer
    end        the id of <|end|>
    return     the mean score of the P * K answers

    1. Sample K answers to each prompt, token by token, from the probabilities of the model as they
       are (temperature 1). An answer ends with `end`, which is a part of it, or after `most`
       tokens.
    2. Ask for the score of each answer once.
    3. Compute the advantages, as in 12b.
    4. The loss of an answer is -advantage times log p of each of its tokens, and the mean over
       these tokens. The loss of the step is the mean over all answers. There is no clip and no KL.
    5. Make one step of the optimizer.
    """
    raise NotImplementedError
