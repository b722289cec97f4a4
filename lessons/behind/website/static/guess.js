"use strict";
// A guess stays in the browser, and stands on the fold that has the answer.
function kept(name, guess) {
  try {                             // a browser may forbid it: then the page forgets the guess
    if (guess !== undefined) localStorage.setItem(name, guess);
    return localStorage.getItem(name) || "";
  } catch {
    return guess || "";
  }
}

function answersTo(form) {
  const next = form.nextElementSibling;
  if (next && next.tagName === "DETAILS") return [next];
  const folds = [...document.querySelectorAll("details")];
  return folds.filter((fold) => /What happened|Result: /.test(fold.textContent));
}

function notesOn(folds) {
  return folds.map((fold) => {
    const note = document.createElement("span");
    note.className = "yours";
    fold.querySelector("summary").append(note);
    return note;
  });
}

for (const form of document.querySelectorAll("form.guess")) {
  const name = `nanouft guess ${form.dataset.name}`;
  const inputs = [...form.querySelectorAll("input")];
  const notes = notesOn(answersTo(form));

  function show(guess) {
    for (const note of notes) note.textContent = guess ? `Your guess: ${guess}` : "No guess yet";
  }
  for (const input of inputs) {
    if (input.type === "radio") input.checked = input.value === kept(name);
    else input.value = kept(name);
  }
  show(kept(name));
  form.addEventListener("input", (event) => {
    if (event.target.checkValidity()) show(kept(name, event.target.value));
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}

// furo gives its two landmarks no names.
document.querySelector(".sidebar-drawer").ariaLabel = "All pages";
document.querySelector(".toc-drawer").ariaLabel = "On this page";
