// How things look and what a screen reader reads: the lake, its arrows and ways, buttons, sliders, tables.
//
// One grammar of signs on every screen: + and blue is likelier, − and orange is less likely; ✓ and ✗ say whether a
// move is right in its cell, without a colour. The best way is a line, the worse way dots. A method has its shape.
const middle = (s) => [(s % map.cols) * 100 + 50, Math.floor(s / map.cols) * 100 + 50];
const put = (s, inside, more = "") => `<g transform="translate(${middle(s)})" ${more}>${inside}</g>`;
const place = (s) => `row ${Math.floor(s / map.cols) + 1}, column ${(s % map.cols) + 1}`;
const MARKS = {
  S: '<text class="letter" x="-31" y="-30">S</text>', F: "",
  G: '<path class="goal" d="M-22 37V-35H-15L28 -17L-15 1V37Z"/>',
  H: '<path d="M-26 -8q13 -10 26 0t26 0M-18 14q9 -8 18 0t18 0"/>',
};
const SHAPE = {
  sft: '<circle r="10.5"/>', ift: '<path d="M0 -12L12 9H-12Z"/>',
  dpo: '<rect x="-9.5" y="-9.5" width="19" height="19"/>', orpo: '<path d="M0 -13L13 0L0 13L-13 0Z"/>',
};
const badge = (name) => `<svg class="badge ${name}" viewBox="-14 -14 28 28" aria-hidden="true">${SHAPE[name]}</svg>`;
const method = (name) => `<span class="nowrap ${name}">${badge(name)} <b>${upper(name)}</b></span>`;

// ---- on the lake -------------------------------------------------------------------------------------------------
function arrow(a, cls = "", size = 1, sign = "") {
  const [dy, dx] = Lake.MOVES[a], turn = [180, 90, 0, 270][a];
  return `<g class="${cls}">
    <path class="arrow" transform="rotate(${turn}) scale(${size})" d="M-31 -14H0V-30L36 0L0 30V14H-31Z"/>
    ${sign && `<text class="sign" x="${3 * dx}" y="${3 * dy}" font-size="${42 * size}">${sign}</text>`}</g>`;
}
function line(walked, cls) {
  // the best way a little up and left, the worse down and right
  const shift = { best: -10, worse: 10 }[cls];
  const points = [...walked.s, walked.end].map((s) => middle(s).map((x) => x + shift));
  return `<polyline class="trail ${cls}" points="${points.join(" ")}"/>`;
}
const worse = () => pair(loserKinds[0]).loser;
const both = () => line(gold, "best") + line(worse(), "worse");
const own = (arrows) => (s) => (map.live.includes(s) ? arrow(arrows[s], "own", 0.5) : "");

const goes = (walked, name, s) =>                            // in words: where a way leads from this cell
  walked.s.map((at, i) => (at === s ? `${name} goes ${NAMES[walked.a[i]]}` : "")).filter(Boolean);
const alongWays = (s) => [...goes(gold, "best way", s), ...goes(worse(), "worse way", s)];
// Functions of a cell: cls its classes, inside what stands on it, tell its words for a screen reader. under and over:
// drawn below and above that. A lake is a picture with one sentence.
const none = () => "";
function lake({ label, under = "", over = "", cls = none, inside = none, tell = none }) {
  const told = (s) => [tell(s)].flat().filter(Boolean).join(", ");
  const cell = (s) => put(s, `<rect x="-46" y="-46" width="92" height="92" rx="17"/>${MARKS[map.kind[s]]}`,
    `class="cell ${map.kind[s] === "H" ? "hole" : ""} ${cls(s)}"`);
  const content = map.cells.map((s) => inside(s) && put(s, inside(s), 'class="who"')).join("");
  const all = map.cells.filter(told).map((s) => `${place(s)}: ${told(s)}`).join("; ");
  return `<svg class="lake" viewBox="0 0 ${map.cols * 100} ${map.rows * 100}" role="img" aria-label="${label}. ${all}"
    style="--wide:${map.cols / map.rows};--lam:${DATA.hp.lam}"><g aria-hidden="true">${map.cells.map(cell).join("")}${
    under}${content}${over}</g></svg>`;
}

// ---- the panel beside it -----------------------------------------------------------------------------------------
const legend = '<span class="nowrap"><span class="legend" aria-hidden="true"></span> best way</span> &nbsp; '
  + '<span class="nowrap"><span class="legend worse" aria-hidden="true"></span> worse way</span>';
const signs = '<span class="up nowrap">+ likelier</span> &nbsp; <span class="down nowrap">− less likely</span>';
const say = (text, cls = "say") => `<p class="${cls}">${text}</p>`;
const live = (text, cls = "say") => say(text, `${cls} live`);           // read out whenever it changes
const takeaway = (text) => `<p class="take"><b>To take away:</b> ${text}</p>`;
const HERE = { ift: "ift&r.variant=released" };             // the form of this page
const wordsFor = (name) => (document.querySelector('.chapters [href*="playground"]')
  ? `<a href="../playground/index.html#r=${HERE[name] || name}">The same with words: ${upper(name)} in chapter 1.</a>` : "");
const button = (act, text, more = "") =>
  `<button type="button" data-act="${act}" data-key="${act}" ${more}>${text}</button>`;
const primary = (act, text) => button(act, text, 'class="primary" id="primary"');            // also on the space bar
const choice = (act, text, on) => button(act, text, `aria-pressed="${on}"`);
const scene = (picture, ...panel) => `<div class="scene"><div class="left">${picture}</div>
  <div class="panel">${panel.join("")}</div></div>`;
const slider = (name, label, most, value, text) => `<div class="dial"><label for="${name}">${label}</label>
  <input id="${name}" type="range" min="0" max="${most}" value="${value}" data-key="${name}"
  aria-valuetext="${text}"></div>`;
// heads: texts of the first row; rows: lists of cells, the first of each names the row
function table(caption, heads, rows, shown = false) {
  const top = heads.map((text, i) => `<th scope="col" ${i ? 'class="n"' : ""}>${text}</th>`).join("");
  const body = rows.map(([name, ...cells]) => `<tr><th scope="row">${name}</th>${cells.map((text) =>
    `<td class="n">${text}</td>`).join("")}</tr>`).join("");
  return `<table><caption class="${shown ? "small" : "unseen"}">${caption}</caption>
    <thead><tr>${top}</tr></thead><tbody>${body}</tbody></table>`;
}
