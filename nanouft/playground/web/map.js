// The map of all losses at the chosen rate. page.js has the state and the words that it uses.
const ARROWS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
const WIDE = 920, LOW = 46, TOP = 83, GRID = [50, 60, 70, 80], ROW = 24;
let order = [];                             // names, as the arrow keys walk them

function places(rate, wide) {               // of marks and names; wide: across stops, upwards score
  const all = ALL.map((name) => ({ name, n: stops(name, rate), score: methods[name].scores[BASE] }))
    .sort((a, b) => b.n - a.n || (b.score?.[0] ?? 0) - (a.score?.[0] ?? 0));
  if (wide < WIDE) {                        // narrow: a row for each, in bands of equal stops
    const along = (score) => 170 + (wide - 180) * (score - LOW) / (TOP - LOW);
    all.forEach((p, k) => {
      p.band = p.n !== all[k - 1]?.n;
      p.y = p.nameY = k ? all[k - 1].y + ROW + (p.band ? 8 : 0) : 40;
      p.nameX = 62;
      p.x = 50;
    });
    return { all, along, tall: all.at(-1).y + ROW };
  }
  const ground = 420, along = (score) => ground - (ground - 24) * (score - LOW) / (TOP - LOW);
  all.forEach((p, k) => {                   // names: below each other; marks: beside each other
    const above = all[k - 1]?.n === p.n ? all[k - 1] : { y: -99, nameY: -99, x: 0 };
    const left = 58 + (wide - 48) / (ASKED + 1) * p.n;
    p.y = p.score ? along(p.score[0]) : ground + 34;
    p.x = p.y - above.y > 11 ? left : left + (above.x - left + 9) % 27;
    p.nameX = left + 38;
    p.nameY = Math.max(p.y, above.nameY + 15);
  });
  all.filter((p) => p.score).reduceRight((room, p) => {       // none below the ground
    p.nameY = Math.min(p.nameY, room[p.n] ?? ground - 8);
    return { ...room, [p.n]: p.nameY - 15 };
  }, {});
  return { all, along, tall: 24 + Math.max(...all.map((p) => p.nameY), ground + 40), ground };
}

function drawMap({ left, right, rate }) {
  const wide = $("map").clientWidth, { all, along, tall, ground } = places(rate, wide);
  order = (ground ? [...all].sort((a, b) => a.n - b.n || a.y - b.y || a.x - b.x) : all)
    .map((p) => p.name);
  const line = (d, faint) => `<path d="${d}" stroke="currentColor" opacity="${faint}"/>`;
  const text = (x, y, words, anchor = "start") =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
  const across = (n) => 58 + (wide - 48) / (ASKED + 1) * n;
  $("map").setAttribute("viewBox", `0 0 ${wide} ${tall + 40}`);
  $("grid").innerHTML = (ground ? [
    ...GRID.map((x) => line(`M48 ${along(x)}H${wide}`, 0.25) + text(40, along(x) + 5, x, "end")),
    ...NUMBERS.slice(0, ASKED + 1).map((_, n) => text(across(n), tall + 14, n, "middle")),
    text(48, 8, "score of 100 after a whole run"),
    text(48, ground + 18,
      "no score from the base; losses on own answers (✚) were compared with nothing"),
    text(wide, tall + 34, `answers of ${ASKED} that stop after ${STEPS} steps`, "end"),
    line(`M48 ${ground}H${wide}M48 ${tall - 4}H${wide}`, 0.5),
    ...all.map((p) => line(`M${p.x + 8} ${p.y}L${p.nameX - 3} ${p.nameY}`, 0.35)),
  ] : [
    text(0, 16, "stop; score"),
    ...GRID.map((x) => line(`M${along(x)} 24V${tall}`, 0.25) + text(along(x), 16, x, "middle")),
    ...all.filter((p) => p.band).map((p) => text(0, p.y + 5, `${p.n} of ${ASKED}`)
      + line(`M0 ${p.y - 16}H${wide}`, 0.25)),
    ...all.filter((p) => !p.score).map((p) => text(along(LOW), p.y + 5,
      methods[p.name].family === "sampled" ? "compared with nothing" : "not scored")),
  ]).join("");
  for (const { name, n, score, x, y, nameX, nameY } of all) {
    const { scores } = methods[name], point = $(`map-${name}`), [low, mean, high] = score
      ? [score[0] - score[1], score[0], score[0] + score[1]].map(along) : [];
    point.setAttribute("aria-label", `${methods[name].called}: ${n} of ${ASKED} stop, ${score
      ? `score ${points(score)}` : scores["after SFT"]
        ? `compared with nothing, ${points(scores["after SFT"])} after SFT` : "not scored"}`);
    point.setAttribute("aria-pressed", name === left || name === right);
    const [range, sign, title] = point.children;
    range.setAttribute("d", !score ? "" : ground ? `M0 ${low - y}V${high - y}`
      : `M${low} 0H${high}`);
    range.style.transform = `translate(${ground ? x : 0}px, ${y}px)`;
    sign.style.transform = `translate(${ground || !score ? x : mean}px, ${y + 5}px)`;
    title.style.transform = `translate(${nameX}px, ${nameY + 5}px)`;
  }
  $("mapTitle").textContent = `All losses, ${rate === "own" ? "each at its own learning rate"
    : `at ${rate}`}`;
  $("lastSide").textContent = last;
  reach({ left, right }[last]);
}

function reach(name) {                      // the one loss of the map that Tab comes to
  for (const each of ALL) $(`map-${each}`).setAttribute("tabindex", each === name ? 0 : -1);
}

function pick(event) {                      // a loss goes to the side that was changed last
  const name = event.target.closest("[data-method]")?.dataset.method, { key } = event;
  if (!name || key && !["Enter", " "].includes(key) && !ARROWS[key]) return;
  event.preventDefault();
  if (!ARROWS[key]) return choose(last, name);
  const next = order.at((order.indexOf(name) + ARROWS[key]) % ALL.length);
  reach(next);
  $(`map-${next}`).focus();
}

function makeMap() {
  $("map").innerHTML = `<g id="grid"></g>${ALL.map((name) => `<g id="map-${escaped(name)}"
    role="button" data-method="${escaped(name)}" ${colour(name)}>
    <path stroke="currentColor" stroke-width="1.5" opacity=".5"/><text text-anchor="middle">${
    methods[name].mark}</text><text>${called(name)}</text></g>`).join("")}`;
  $("map").onclick = $("map").onkeydown = pick;
}
