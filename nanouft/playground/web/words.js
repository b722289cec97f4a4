// Tokens as text, names of models, and what may be said about a result: only what its figures show.
"use strict";
const { esc, signed, tell, show, strip } = Common;
const percent = (p) => `${p < 0.0095 && p > 0 ? "<1" : Math.round(100 * p)}\u00a0%`;
const minus = (x, digits = 1) => x.toFixed(digits).replace("-", "−");
const fromTo = ({ then, now }, digits = 1) => `${minus(then, digits)} → ${minus(now, digits)}`;

// ---- tokens -------------------------------------------------------------------------------------------------
const isMark = (id) => /^<\|.*\|>$/.test(pieces[id]);
const plain = (ids) => ids.map((id) => pieces[id]).join("").trim();
const stops = (ids) => ids.findIndex(isMark) === ids.length - 1 && ids.at(-1) === config.end;
const END = `<span class="mark end">${esc(pieces[config.end])}</span>`;
function word(id, own = false) {                            // own: written after it should have stopped
  if (!isMark(id)) return esc(pieces[id].trim() || "␣");
  return id === config.end && !own ? END : `<span class="mark">${esc(pieces[id])}</span>`;
}
function spoken(ids, before = ids) {                        // what differs from `before` is marked
  let own = false;
  return ids.map((id, i) => {
    own ||= isMark(id) && id !== config.end;
    const gap = isMark(id) || pieces[id].startsWith(" ") ? " " : "";
    const looks = `${own ? "own" : ""} ${before.length && before[i] !== id ? "new" : ""}`;
    return `${gap}<span class="${looks}">${word(id, own)}</span>`;
  }).join("");
}

// ---- names --------------------------------------------------------------------------------------------------
const IFT = { released: "IFT as released", detached: "IFT, detached weights" };
function called({ objective, dials }) {                     // "IFT as released", "DPO, beta 0.5"
  const at = { ...usual(objective), ...dials }, other = { ...dials };
  let name = objective.toUpperCase().replace("_", "-");
  if (objective === "ift") {
    const form = at.variant === "released" && at.detach ? "detached" : at.variant;
    name = IFT[form] || `IFT, ${form}`;
    delete other.variant, delete other.detach;
  }
  return [name, ...Object.entries(other).map(([key, value]) => `${key} ${value}`)].join(", ");
}
const ROLES = { answer: "Answer", chosen: "Chosen answer", rejected: "Rejected answer", gold: "Chosen answer, once more",
  "good answer": "Answer marked good", "bad answer": "Answer marked bad", sure: "Answer", unsure: "Its neighbour",
  mix_sure: "States mixed: the answer's share", mix_unsure: "States mixed: the neighbour's share" };
function roleName(one, r, sampled) {
  const score = one.reward ?? one.score, ended = one.tokens.at(-1) === config.end ? "" : ", not ended";
  if (one.role.startsWith("mix") || one.role === "unsure") return ROLES[one.role];
  return `${sampled ? `Its own answer ${r + 1}` : ROLES[one.role]}: score ${score.toFixed(2)}${ended}`;
}

// ---- why: one or two sentences about a column that has learnt -------------------------------------------------
// then, now: the chance to stop; pushes: those of the last token; right, wrong: log p of both answers.
const moved = ({ then, now }) => `${now > then ? "rose" : "fell"} from ${percent(then)} to ${percent(now)}`;
const change = ({ then, now }) => now - then;
const WHY = {
  same: ({ chance }) => `Every token is pushed alike, ${END} too. Its chance after a right answer ${moved(chance)}.`,
  weighed({ chance, last }) {
    const seen = `The chance of ${END} after a right answer ${moved(chance)}.`;
    if (!last.direct || chance.now > chance.then) return seen;
    const through = last.push - last.direct;
    return last.direct > 0 && through < 0 ? `${seen} At the start its own loss pushed it up (${signed(last.direct)}), but the
      part through the weights pushed it down (${signed(through)}): a harder end takes weight away from the hard first
      words, and this loss gets smaller.` : seen;
  },
  constant: ({ chance }) => `The weights are computed in the same way, but no gradient goes through them. The chance of ${END}
    after a right answer ${moved(chance)}.`,
  pair({ right, wrong }) {
    const lead = change(right) - change(wrong);
    return `The lead of the chosen answer ${lead > 0 ? "grew" : "shrank"} by ${minus(Math.abs(lead))}. log p of the chosen
      answer: ${fromTo(right)}; of the rejected one: ${fromTo(wrong)}. ${lead > 0 && change(right) < 0
  ? "The loss asks for a lead, and for nothing else." : ""}`;
  },
  graded: ({ right, wrong }) => `Each answer came alone, with one judgement. log p of the good answer: ${fromTo(right)};
    of the bad one: ${fromTo(wrong)}.`,
  sampled: ({ chance }) => `It saw no right answer. It wrote four answers to each question and learnt from their scores.
    The chance of ${END} after a right answer ${moved(chance)}.`,
  taught: ({ chance, teacher }) => `It saw no right answer. It wrote four answers to each question, and at each token it
    moved towards its teacher (${esc(teacher)}). The chance of ${END} after a right answer ${moved(chance)}.`,
  other: ({ chance }) => `The chance of ${END} after a right answer ${moved(chance)}.`,
};
function kindOf(side) {
  const { name, needs } = named(side.objective), { variant, detach } = dialsOf(side);
  if (name === "sft") return "same";
  if (name === "ift") return variant === "detached" || detach ? "constant" : "weighed";
  if (name === "distill") return "taught";
  return WHY[needs] ? needs : "other";
}
