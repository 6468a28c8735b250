// One model's answer to one item: the answer, its scores, the texts with their words marked, and what is said of them.

import { spell } from "./catalog.js";
import { certificateOf, correctionsOf } from "./certificate.js";
import { element } from "./dom.js";
import { notesOn } from "./notes.js";
import { bar } from "./plots.js";
import { isSigned, marker, readable, textsOf, writeScore } from "./words.js";

const TABLE_WORDS = 20;
const UNKNOWN_SHARE = 0.5;

/** The answer in `body`, which is the server's, as an article. */
export function answerOf(item, body, card, wording) {
  const result = body.results[0];
  const views = viewsOf(result);
  const heading = views.length > 1 ? [] : headlinesOf(result).map((line) => element("h3", {}, line));
  const parts = views.map((view) => partOf(item, view, views.length > 1, wording));
  const problems = (body.errors ?? []).map((one) => element("p", { class: "note" }, one.detail));
  const main = element(
    "div",
    {},
    element("p", { class: "model" }, `${body.model.name} (${body.model.method}, ${body.model.precision})`),
    heading,
    scoresOf(result, card),
    parts,
    problems,
    correctionsOf(item, result.corrections ?? []),
    certificateOf(result.certificate),
    readingOf(result, body),
  );
  return element("article", { class: "answer" }, main, notesOn(views, wording));
}

/** The answer in a few words, to be compared with another's; numbers are left out. */
export function outcomeOf(result) {
  if (result.entities) return result.entities.map((one) => `${one.label} ${one.start}-${one.end}`).join(", ");
  if (result.labels) return [...result.labels].sort().join(", ") || "no labels";
  return result.label ?? (result.answer !== undefined ? String(result.answer) : null);
}

function headlinesOf(result) {
  if (result.entities) return result.entities.length ? result.entities.map(headlineOf) : ["No entities"];
  if (result.labels) return result.labels.length ? result.labels.map((_, place) => labelAt(result, place)) : ["No labels"];
  if (result.answer === null) return [`No answer ${result.score.toFixed(3)}`];
  const name = result.label ?? result.answer;
  if (name !== undefined) return [`${name} ${result.score.toFixed(3)}`];
  return [`${result.score.toFixed(2)}`];
}

function headlineOf(entity) {
  return `${entity.text}: ${entity.label} ${entity.score.toFixed(3)}`;
}

/** A label that the text has, with its score; these come first among all scores. */
function labelAt(result, place) {
  return `${result.labels[place]} ${result.scores[place].score.toFixed(3)}`;
}

/** The parts of an answer that are explained, each with the places where the model found it. */
function viewsOf(result) {
  const found = (one) => ({ field: "text", start: one.start, end: one.end });
  if (result.labels && result.explanation?.length > 0) return viewsOfLabels(result);
  if (Array.isArray(result.explanation) && result.explanation.length > 0) {
    return result.explanation.map((explanation, place) => {
      const entity = result.entities[place];
      const explainsOther = explanation.target !== entity.label;
      return { headline: headlineOf(entity), explanation, explainsOther, places: [found(entity)] };
    });
  }
  const explanation = Array.isArray(result.explanation) ? null : result.explanation;
  const span = Number.isInteger(result.start) ? [{ field: "context", start: result.start, end: result.end }] : [];
  const given = result.label ?? result.answer;
  const explainsOther = explanation !== null && typeof given === "string" && explanation.target !== given;
  return [{ headline: null, explanation, explainsOther, places: result.entities?.map(found) ?? span }];
}

/** A view for each label that the text has, or one for a label that was asked for instead. */
function viewsOfLabels(result) {
  const areGiven = result.explanation.every((one, place) => one.target === result.labels[place]);
  return result.explanation.map((explanation, place) => ({
    headline: areGiven ? labelAt(result, place) : null,
    explanation,
    explainsOther: !result.labels.includes(explanation.target),
    places: [],
  }));
}

function scoresOf(result, card) {
  if (result.normalized !== undefined) {
    const [low, high] = card.score_range ?? [0, 1];
    const scale = element("li", {}, `${low} to ${high}`, bar(result.normalized), element("b", {}, result.score.toFixed(2)));
    return element("ul", { class: "scores" }, scale);
  }
  if (!result.scores?.length) return null;
  const rows = result.scores.map((one) =>
    element("li", {}, element("span", { lang: "" }, one.label), bar(one.score), element("b", {}, one.score.toFixed(3))),
  );
  return element("ul", { class: "scores" }, rows);
}

function partOf(item, view, isOneOfMany, wording) {
  const heading = isOneOfMany ? element("h3", {}, view.headline) : null;
  const readout = element("p", { class: "readout", "aria-live": "polite" }, "Point at a word to see its score.");
  const beside = view.explanation ? [readout, restOf(view.explanation), tableOf(view.explanation)] : [];
  return element("section", { class: "part" }, heading, aimOf(item, view), figuresOf(item, view, readout, wording), beside);
}

/** The answer that the words are scored for where it is another than the one given. */
function aimOf(item, { explanation, explainsOther }) {
  if (!explainsOther) return null;
  // A choice is read by itself, so that all its scores depend on it.
  if (!isSigned(explanation) && !textsOf(item).some(([, text]) => text === explanation.target)) {
    const same = `The scores of ${explanation.method} do not depend on the label; they are the same for every answer.`;
    return element("p", { class: "note" }, same);
  }
  return element("p", {}, "Words scored for: ", element("strong", { lang: "" }, explanation.target));
}

/** The texts, the first beside the others; a list of texts is a list. */
function figuresOf(item, view, readout, wording) {
  const marked = marker(view, wording);
  const fields = Object.keys(item);
  const columns = fields.map((name) => {
    const texts = textsOf({ [name]: item[name] }).map(([field, text]) => [field, text, marked(field, text)]);
    const caption = fields.length > 1 ? element("figcaption", {}, spell(name)) : null;
    // The texts' language is not known, and they may be written from right to left.
    const about = { class: "text", lang: "", dir: "auto" };
    const paragraphs = texts.map(([, , pieces]) => element("p", about, pieces));
    for (const paragraph of paragraphs) readable(paragraph, readout);
    if (!Array.isArray(item[name])) return element("figure", {}, caption, paragraphs);
    return element("figure", {}, caption, element("ol", { start: 0 }, paragraphs.map((one) => element("li", {}, one))));
  });
  const [first, ...others] = columns;
  return element("div", { class: "texts" }, element("div", {}, first), others.length ? element("div", {}, others) : null);
}

function restOf(explanation) {
  if (!isSigned(explanation)) return null;
  const limit = explanation.method === "occlusion" ? ", which has no meaning of its own" : "";
  const rest = writeScore(explanation.rest, true);
  return element("p", { class: "rest" }, `Rest: ${rest} logits that no ${explanation.unit} accounts for${limit}.`);
}

function tableOf(explanation) {
  const top = [...explanation.items].sort((one, other) => Math.abs(other.score) - Math.abs(one.score)).slice(0, TABLE_WORDS);
  const hasFields = new Set(explanation.items.map((word) => word.field)).size > 1;
  const rows = top.map((word) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", lang: "" }, word.text),
      hasFields ? element("td", {}, spell(word.field.replace("/", " "))) : null,
      element("td", {}, writeScore(word.score, isSigned(explanation))),
    ),
  );
  const unit = explanation.unit;
  const listed = top.length === explanation.items.length ? `all ${unit}s` : `the ${top.length} ${unit}s that count most`;
  return element("details", {}, element("summary", {}, `Scores of ${listed}`), element("table", {}, element("tbody", {}, rows)));
}

function readingOf(result, body) {
  const windows = result.windows > 1 ? ` in ${result.windows} windows` : "";
  const line = `${result.tokens} tokens${windows}, ${body.timing_ms.total.toFixed(1)} ms`;
  const share = `${Math.round(100 * result.unknown_share)} % of the tokens are unknown to the model`;
  const isStrange = result.unknown_share >= UNKNOWN_SHARE;
  return [
    isStrange ? element("p", { class: "note" }, `The model can hardly read this: ${share}.`) : null,
    element("p", { class: "rest" }, isStrange ? line : `${line}, ${share}`),
  ];
}
