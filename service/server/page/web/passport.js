// What a model's package says of itself: how good it is, what it withstands, and how faithful its explanations are.

import { spell } from "./catalog.js";
import { element } from "./dom.js";
import { bars, interval } from "./plots.js";

/** The passport of a model's card. */
export function passportOf(card) {
  return element(
    "article",
    { class: "answer passport" },
    element("h3", {}, card.name),
    element("p", { class: "rest" }, `${card.method}, ${card.precision}, from ${card.base}. Digest ${card.digest.slice(0, 12)}.`),
    qualityOf(card),
    faithfulnessOf(card.faithfulness),
    gapOf(card.passport?.name_gap),
    licencesOf(card),
  );
}

/** Figures from 0 to 1, each beside that of the first twin: another training on the same data. */
function qualityOf(card) {
  const twin = card.twins[0] ?? null;
  const own = figuresOf(card, card.quality.metric);
  const others = twin ? figuresOf(twin, card.quality.metric) : new Map();
  const rows = [...own].map(([name, figure]) => rowOf(name, figure, others.get(name), twin));
  const unmeasured = card.passport ? null : element("p", { class: "note" }, "What it withstands was not measured.");
  const beside = twin ? `; the second bar is its twin, trained as ${twin.method}` : "";
  return [
    element("h4", {}, `How well it does${beside}`),
    element("ul", { class: "scores plot" }, rows),
    unmeasured,
  ];
}

function figuresOf(stated, metric) {
  const figures = new Map();
  for (const [name, metrics] of Object.entries(stated.metrics)) figures.set(`${name}, ${metric}`, { value: metrics[metric] });
  for (const one of stated.passport?.attacks ?? []) {
    const words = one.words === "1" ? "1 word" : `${one.words} words`;
    figures.set(`right under attack: ${one.attack}, ${words}`, { value: one.under_attack, error: one.standard_error });
  }
  for (const [name, metrics] of Object.entries(stated.passport?.metrics ?? {})) {
    const [value, told] = metric in metrics ? [metrics[metric], metric] : [metrics.failure_rate, "share that fails"];
    figures.set(`${name}, ${told}`, { value });
  }
  return new Map([...figures].filter(([, { value }]) => value !== undefined));
}

function rowOf(name, figure, other, twin) {
  const beside = other ? ` (${twin.method} ${other.value.toFixed(3)})` : "";
  return element(
    "li",
    {},
    element("span", {}, name.replaceAll("_", " ")),
    bars(other ? [figure, other] : [figure]),
    element("b", {}, `${figure.value.toFixed(3)}${beside}`),
  );
}

function faithfulnessOf(measured) {
  const methods = Object.entries(measured);
  if (methods.length === 0) return element("p", { class: "note" }, "How faithful its explanations are was not measured.");
  const kinds = [
    ["comprehensiveness", "drop of the score without the words ranked first; higher is better"],
    ["sufficiency", "drop with these words alone; lower is better"],
  ];
  return kinds.map(([kind, meaning]) => {
    const points = methods.map(([name, one]) => {
      const [from, to] = one[`${kind}_interval`];
      return { name, value: one[kind], from, to, chance: one[`random_${kind}`] };
    });
    const ends = points.flatMap(({ from, to, chance }) => [from, to, chance]);
    const scale = [Math.min(0, ...ends), Math.max(0, ...ends)];
    return [
      element("h4", {}, `Faithfulness: ${kind}`),
      element("p", { class: "rest" }, `${spell(meaning)}. The bar is a 95 % interval, the thin line words at random.`),
      element("ul", { class: "scores plot" }, points.map((point) => pointOf(point, scale))),
    ];
  });
}

function pointOf(point, scale) {
  const value = `${point.value.toFixed(3)} (at random ${point.chance.toFixed(3)})`;
  return element("li", {}, element("span", {}, point.name), interval(point, scale), element("b", {}, value));
}

function gapOf(gap) {
  if (!gap) return null;
  const groups = `${gap.highest} and ${gap.lowest}`;
  const line = `Name gap: sentences that differ in ${gap.kind} alone differ by up to ${gap.gap.toFixed(3)} in their mean score (${groups}).`;
  return element("p", {}, line);
}

function licencesOf(card) {
  const data = card.data.map((file) => `${file.name}, ${file.rows} records`).join("; ");
  return data ? element("p", { class: "rest" }, `Trained and measured on: ${data}.`) : null;
}
