// The chooser: a form, the rows of the nearest regime, the map. All text goes through Common.esc or textContent.
(() => {
  const {esc, tell} = Common, at = (id) => document.getElementById(id), regimes = MAP.regimes;
  const values = (key) => [...new Set(regimes.map((g) => g[key] ?? ""))];
  const usual = {demos: 100, samples: 1000, wrong: "", have: "labels", source: "", base: values("base")[0],
    "demo-price": 3, "judge-price": 0.2};
  const judge = (have) => (values("source").includes(Choose.judge(have)) ? Choose.judge(have) : "own");
  const valid = {demos: Choose.whole, samples: Choose.whole, "demo-price": Choose.paid, "judge-price": Choose.paid};
  const numbers = (key) => values(key).filter((n) => n > 0).sort((a, b) => a - b);
  const about = {...MAP, margin: +(100 * MAP.margin).toFixed(1)};
  let ask = {...usual}, wait;

  // ---- the form ---------------------------------------------------------------------------------------------
  for (const key of ["demos", "samples"]) {
    for (const n of numbers(key)) {
      const b = document.createElement("button");
      Object.assign(b, {type: "button", textContent: Choose.count(n), value: n, onclick: () => change({[key]: n})});
      at(`${key}-presets`).append(b);
    }
  }
  for (const e of document.querySelectorAll("[data-map]")) e.textContent = about[e.dataset.map];
  for (const key of ["source", "base"])
    for (const v of values(key)) at(key).append(new Option(Choose.kind(v), v));
  at("chooser").addEventListener("click", ({target}) => { if (target.matches("[data-copy]")) copy(target); });
  at("ask").onsubmit = (e) => e.preventDefault();
  at("ask").oninput = (e) => {
    const {id, name, value} = e.target;
    if (e.target.type !== "number") return change({[id || name]: value});
    const bad = Object.keys(valid).filter((key) => !at(key).disabled && !valid[key](at(key).value));
    for (const key in valid) at(key).setAttribute("aria-invalid", bad.includes(key));
    if (!bad.length) return change({[id]: Number(value)}, e.target);
    const what = bad[0].endsWith("price") ? "price above 0 and up" : "whole number from 1";
    rest(() => { at("h-wrong-number").textContent = `Type a ${what} to 1,000,000,000.`; });
  };
  const rest = (what) => { clearTimeout(wait); wait = setTimeout(what, 400); };             // once the typing rests

  function change(changes, typed = null) {
    const usualJudge = ask.source === judge(ask.have);
    ask = {...ask, ...changes};
    if (changes.have && usualJudge) ask.source = judge(ask.have);
    Common.write(Object.fromEntries(Object.keys(usual).map((key) => [key, ask[key]])));
    show(typed);
    rest(() => tell([...at("answer").querySelectorAll("p")].filter((p) => !p.hidden).map((p) => p.textContent).join(" ")));
  }

  function fields(typed) {
    for (const key in valid) {
      if (at(key) !== typed) at(key).value = ask[key];
      at(key).setAttribute("aria-invalid", "false");
    }
    for (const key of ["demos", "samples"])
      for (const b of at(`${key}-presets`).children) b.setAttribute("aria-pressed", Number(b.value) === ask[key]);
    for (const key of ["wrong", "source", "base"]) at(key).value = ask[key];
    document.querySelector(`#have [value=${ask.have}]`).checked = true;
    const none = ask.have === "nothing";
    at("samples").disabled = none;
    for (const b of at("samples-presets").children) b.disabled = none;
    at("h-wrong-number").textContent = "";
  }

  // ---- the answer -------------------------------------------------------------------------------------------
  function show(typed = null) {
    fields(typed);
    const g = Choose.estimate(regimes, ask, MAP.margin), rows = Choose.rows(g, ask.have);
    const mine = Choose.mine(rows, ask.have);
    const pay = Choose.price(MAP.exchange, regimes, ask, MAP.margin), lead = Choose.lead(rows, ask);
    at("price").textContent = pay.head;
    at("why").textContent = pay.why;
    at("trial").hidden = !pay.open;
    at("answer").prepend(at(pay.first ? "next" : "now"));
    const advice = Choose.advice(rows, ask.have);
    at("advice").textContent = lead ? lead + advice[0].toLowerCase() + advice.slice(1) : advice;
    at("expect").textContent = Choose.expect(rows, ask.have);
    at("basis").textContent = Choose.basis(g, ask, MAP.seeds);
    at("cleaning").hidden = !ask.wrong;
    at("mine").innerHTML = shell(mine);
    at("files").innerHTML = Choose.named(mine).map(([name, is]) => `<dt><code>${esc(name)}</code></dt><dd>${esc(is)}.</dd>`).join("");
    const ends = rows.flatMap((r) => [r.gain[0] - (r.gain[1] || 0), r.gain[0] + (r.gain[1] || 0)]);
    const low = Math.max(-0.3, Math.min(-0.02, ...ends)), high = Math.max(0.02, ...ends);
    const body = at("choices").tBodies[0];
    at("choices-caption").textContent = `Best first: ${rows.length} ${rows.length === 1 ? "row" : "rows"}${
      rows.length > 1 ? `. Bars: ${Choose.signed(low)} to ${Choose.signed(high)} points` : ""}`;
    const opened = new Set([...body.querySelectorAll("details[open]")].map((d) => d.dataset.name));
    body.innerHTML = rows.map((r) => line(r, low, high)).join("");
    for (const d of body.querySelectorAll("details")) d.open = opened.has(d.dataset.name);
    map(g);
  }

  // A difference and its interval on a scale with 0; what lies farther than the scale is an arrow at its end.
  function interval(mean, half, low, high) {
    const at = (x) => (4 + 92 * (Math.min(Math.max(x, low), high) - low) / (high - low)).toFixed(1), h = half || 0;
    const arrow = mean < low ? "M9,1L0,7L9,13Z" : mean > high ? "M91,1L100,7L91,13Z" : "";
    return `<svg class="range" viewBox="0 0 100 14" aria-hidden="true"><path class="zero" d="M${at(0)},0V14"/>
      <path class="band" d="M${at(mean - h)},7H${at(mean + h)}"/>${arrow ? `<path class="dot" d="${arrow}"/>`
      : `<circle class="dot" cx="${at(mean)}" cy="7" r="3.5"/>`}</svg>`;
  }

  // A line may only be broken at a space.
  const shell = (lines) => lines.map((line) => line.split(" ").map((x) => `<span>${esc(x)}</span>`).join(" ")).join("\n");
  const cell = (title, html, kind = "") => `<td role="cell" data-title="${title}" class="${kind}">${html}</td>`;
  function line(r, low, high) {
    const c = r.cost, name = esc(r.name), sft = r.verdict === "baseline", n = Number(c.at_inference);
    const drawn = c.samples ? `${Choose.count(c.samples)} answers drawn; ` : "";
    const words = [Choose.full[r.name], r.needs === "nothing" ? "demonstrations only" : `uses ${r.needs}`,
      r.failed && `${r.failed} of ${MAP.seeds} seeds diverged`].filter(Boolean).join("; ");
    const sign = {bad: "▼", good: "▲", plain: "•"};
    const changes = r.changes && Choose.changes(r).map((x) => `<span class="${x.kind}">${sign[x.kind]} ${esc(x.text)} <small>${
      esc(x.word)}</small></span>`).join(" ");
    const last = r.commands.length - 1;                                     // one that fails stops the rest
    const lines = shell(r.commands.map((i, n) => MAP.lines[i] + (n < last ? " &&" : "")));
    return `<tr role="row" data-name="${name}">${cell("rank", Choose.ties(r))}
      <th scope="row" role="rowheader">${name} <small>${esc(words)}</small></th>`
      + cell("score", `${(100 * r.endpoint[0]).toFixed(1)} <small>± ${(100 * r.endpoint[1]).toFixed(1)}</small>`, "n")
      + cell("minus SFT", `${sft ? "" : Choose.gain(r.gain)} <small>${
        esc(Choose.word(r.verdict, MAP.margin))}</small>`, "gain")
      + `<td role="cell" class="picture">${sft ? "" : interval(r.gain[0], r.gain[1], low, high)}</td>`
      + cell("computing", `${Choose.times(c.relative)} SFT <small>${drawn}${c.flops
        ? `${Number(c.flops).toPrecision(2).replace("e+", "e")} FLOPs` : ""}${n > 1 ? `; ${n} answers at every use` : ""}</small>`)
      + cell("what else changes", changes || `<small>${r.changes ? "nothing clear" : "not interpolated"}</small>`)
      + `</tr><tr role="row" class="run"><td role="cell" colspan="7"><details data-name="${name}">
      <summary>Our run of ${name}, in NanoWorld</summary>
      <div class="code"><pre tabindex="0" aria-label="commands of our run of ${name}">${lines}</pre><button type="button"
      data-copy aria-label="copy the commands of our run of ${name}">copy</button></div></details></td></tr>`;
  }

  async function copy(b) {
    const pre = b.parentElement.querySelector("pre");
    let done = "copied";
    try {
      await navigator.clipboard.writeText(pre.textContent);
    } catch {                                               // no clipboard: the text is marked, the reader copies it
      getSelection().selectAllChildren(pre);
      done = "marked: press Ctrl+C (Mac: Cmd+C)";
    }
    b.textContent = done; tell(done);
    setTimeout(() => { b.textContent = "copy"; }, 4000);
  }

  // ---- the map: demonstrations down, answers across, in the situation of the form ---------------------------
  function map(now) {
    const have = ask.have === "nothing" ? "reward" : ask.have;
    const there = regimes.filter((g) => Choose.alike(g, now));
    const sizes = (key) => [...new Set(there.map((g) => g[key]))].sort((a, b) => a - b), columns = sizes("samples");
    const one = (demos, samples) => {
      const g = there.find((r) => r.demos === demos && r.samples === samples);
      if (!g) return "<td><small>not measured</small></td>";
      const top = Choose.top(Choose.rows(g, have)), best = Choose.cheapest(top), tied = top.length - 1;
      const sft = best.verdict === "baseline", points = sft ? "±0" : Choose.signed(best.gain[0]);
      const label = `${best.name}${tied ? " =" : ""} ${points}: ${
        Choose.size(demos, samples, Choose.what[have], g.noise > 0)}${tied ? `, tied with ${tied} more` : ""}`;
      return `<td><button type="button" data-demos="${Number(demos)}" data-samples="${Number(samples)}"
        aria-pressed="${demos === ask.demos && samples === ask.samples}"
        class="${now.corners.some((c) => c.g === g) ? "around" : ""}" aria-label="${esc(label)}"><b>${esc(best.name)}</b>${tied ? " =" : ""}
        <small>${points}</small></button></td>`;
    };
    document.querySelector("#grid-hint span").textContent = have === ask.have ? ""
      : 'You chose "nothing more"; the map shows what a reward would add. ';
    const head = (n) => `<th scope="col">${n ? `${Choose.count(n)} answers` : "no answers"}</th>`;
    const row = (d) => `<tr><th scope="row">${Choose.count(d)}</th>${columns.map((s) => one(d, s)).join("")}</tr>`;
    Common.show(at("grid"), `<caption>Best row with ${Choose.what[have]}; points over SFT of the same demonstrations
      </caption><thead><tr><th scope="col">demon&shy;strations</th>${columns.map(head).join("")}</tr></thead>
      <tbody>${sizes("demos").map(row).join("")}</tbody>`);
  }
  at("grid").onclick = ({target}) => {
    const {demos, samples} = target.closest("button")?.dataset ?? {}, {have} = ask;
    const answers = {samples: Number(samples), have: have === "nothing" ? "reward" : have};
    if (demos) change({demos: Number(demos), ...(answers.samples ? answers : {have: "nothing"})});
  };

  // ---- from the address, now and when a link changes it ------------------------------------------------------
  function open() {
    const state = Common.read();
    ask = {...usual};
    for (const key in valid) if (valid[key](state[key])) ask[key] = Number(state[key]);
    if (Object.hasOwn(Choose.uses, state.have ?? "")) ask.have = state.have;
    if (state.wrong) ask.wrong = "1";
    ask.source = judge(ask.have);
    for (const key of ["source", "base"]) if (values(key).includes(state[key])) ask[key] = state[key];
    show();
  }
  Common.theme(at("theme"));
  addEventListener("hashchange", open);
  open();
})();
