// Cuts texts at the words that an explanation scores and at the answer, and marks them as the other pages do.
// The words of a text are one stop of the Tab key; arrow keys go from word to word, and a line below has the number.

import { element } from "./dom.js";

/** Whether scores speak for or against the answer; else they are shares of 1. */
export function isSigned(explanation) {
  return explanation.rest !== null;
}

export function writeScore(score, signed) {
  const written = Math.abs(score).toFixed(3);
  return (score < 0 ? "-" : signed ? "+" : "") + written;
}

/** The texts of an item by the names that explanations call them, such as `choices/0`, in reading order. */
export function textsOf(item) {
  return Object.entries(item).flatMap(([field, value]) =>
    Array.isArray(value) ? value.map((text, place) => [`${field}/${place}`, text]) : [[field, value]],
  );
}

/** A function that makes the marked pieces of a field's text. `view` has `explanation` (or null) and `places`. */
export function marker(view, wording) {
  const units = view.explanation?.items ?? [];
  const strongest = Math.max(0, ...units.map((unit) => Math.abs(unit.score)));
  return (field, text) => {
    const words = units.filter((unit) => unit.field === field);
    const places = view.places.filter((place) => place.field === field);
    return group(cut(text, words, places), (piece) => mark(piece, strongest, view.explanation, wording));
  };
}

/** Let arrow keys, a pointer and a finger choose a word of `text`; its number goes to `readout`. */
export function readable(text, readout) {
  const words = [...text.querySelectorAll("[data-score]")];
  if (words.length === 0) return;
  let at = -1;
  const choose = (place) => {
    words[at]?.classList.remove("at");
    at = Math.max(0, Math.min(words.length - 1, place));
    words[at].classList.add("at");
    readout.className = "readout at-score";
    readout.textContent = `${words[at].dataset.word}: ${words[at].dataset.score}`;
  };
  const steps = { ArrowRight: () => at + 1, ArrowLeft: () => at - 1, Home: () => 0, End: () => words.length - 1 };
  text.tabIndex = 0;
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", "Text with a score for each word; arrow keys go from word to word");
  text.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(steps[event.key]());
  });
  text.addEventListener("focus", () => at < 0 && text.matches(":focus-visible") && choose(0));
  for (const [place, word] of words.entries()) {
    word.addEventListener("pointerenter", () => choose(place));
    word.addEventListener("click", () => choose(place));
  }
}

function cut(text, words, places) {
  const edges = new Set([0, text.length, ...[...words, ...places].flatMap(({ start, end }) => [start, end])]);
  const sorted = [...edges].sort((one, other) => one - other);
  let next = 0;
  return sorted.slice(1).map((end, place) => {
    const start = sorted[place];
    while (next < words.length && words[next].end <= start) next += 1;
    const word = next < words.length && words[next].start <= start ? words[next] : null;
    const isFound = places.some((found) => found.start <= start && end <= found.end);
    return { text: text.slice(start, end), word, ends: word?.end === end, isFound };
  });
}

function group(pieces, markPiece) {
  const shown = [];
  for (const piece of pieces) {
    if (!piece.isFound) shown.push(markPiece(piece));
    else if (shown.at(-1)?.className === "found") shown.at(-1).append(markPiece(piece));
    else shown.push(element("span", { class: "found" }, markPiece(piece)));
  }
  return shown;
}

function mark(piece, strongest, explanation, { steps, weak, strong }) {
  if (piece.word === null) return document.createTextNode(piece.text);
  const signed = isSigned(explanation);
  const score = writeScore(piece.word.score, signed);
  const about = { title: score, "data-score": score, "data-word": piece.word.text };
  const strength = strongest ? Math.abs(piece.word.score) / strongest : 0;
  const step = Math.round(steps * strength);
  if (step === 0) return element("span", about, piece.text);
  const kind = !signed ? "share" : piece.word.score < 0 ? "against" : "for";
  const grade = (strength >= weak) + (strength >= strong);
  const classes = [kind, `s${step}`, `g${grade}`, ...(piece.ends ? ["end"] : [])].join(" ");
  const spoken = grade && piece.ends ? element("span", { class: "spoken" }, ` (${score})`) : null;
  return element("mark", { class: classes, ...about }, piece.text, spoken);
}
