"""SFT with 96 steps of only 8 rows; embeddings and the first block stay as they are"""
import torch
import torch.nn.functional as F

from nanouft.data.batches import collate, encode, order

FROZEN, STEPS, ROWS, RATE, WARMUP = 1, 96, 8, 5e-4, 10


def train(model, tok, rows, seed):
    for part in (model.wte, model.wpe, *model.h[:FROZEN]):          # no backward pass through these
        part.requires_grad_(False)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    data, _ = encode(rows[:STEPS * ROWS], tok, model.cfg.n_ctx)
    picked = order([e.length for e in data], ROWS, STEPS, seed)     # rows of a step: little padding
    for step in range(STEPS):
        answer = collate(data, picked[step], tok.pad).seqs["answer"]
        logits = model(answer.inputs, at=answer.positions)          # no head on prompts
        loss = F.cross_entropy(logits, answer.targets.flatten()[answer.positions])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        falling = (STEPS - step) / (STEPS - WARMUP)
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / WARMUP, falling)
        optimizer.step()
