// What the scores mean: the legend, how faithful the method was measured to be, and the limits.

import { element } from "./dom.js";
import { isSigned } from "./words.js";

/** Notes on the explanations of an answer; null where nothing is explained. */
export function notesOn(views, wording) {
  const explanation = views.find((view) => view.explanation)?.explanation;
  if (!explanation) return null;
  const name = nameExplained(views);
  const meaning = wording.meanings[explanation.method].replace("{answer}", () => name);
  return element(
    "aside",
    { class: "notes" },
    element(
      "p",
      {},
      "Explained by ",
      element("strong", {}, explanation.method),
      `. The score of a ${explanation.unit} is ${meaning}.`,
    ),
    element("p", {}, legendOf(explanation, name, wording)),
    element("p", {}, faithfulnessOf(explanation.faithfulness)),
    element("p", {}, wording.caveat),
  );
}

/** The words for that which the scores speak for: the answer, or the one explained in its place. */
function nameExplained(views) {
  const explained = views.filter((view) => view.explanation);
  if (!explained.some((view) => view.explainsOther)) return "the answer";
  const targets = new Set(explained.map((view) => view.explanation.target));
  return targets.size === 1 ? [...targets][0] : "the answer that is explained";
}

function legendOf(explanation, name, { steps }) {
  if (!isSigned(explanation)) {
    return [
      element("mark", { class: `share s${steps} g2` }, "This colour"),
      " and the line grow with the score; the scores have no sign, so that they speak neither for nor against the answer, " +
        "and add up to 1.",
    ];
  }
  return [
    element("mark", { class: `for s${steps} g2 end` }, "For ", element("span", { lang: "" }, name)),
    " ",
    element("mark", { class: `against s${steps} g2 end` }, "against it"),
    ": the stronger the colour and the line, the more. Scores are in units of a logit.",
  ];
}

function faithfulnessOf(measured) {
  if (!measured) return "How faithful the method is to this model was not measured.";
  const [deleted, random, kept, other] = [
    measured.comprehensiveness,
    measured.random_comprehensiveness,
    measured.sufficiency,
    measured.random_sufficiency,
  ].map((value) => value.toFixed(3));
  return (
    `Measured on ${measured.rows} texts, taking out the words that the method ranks first lowers the score of the answer ` +
    `by ${deleted} (words at random: ${random}; higher is better), and keeping only these by ${kept} (at random: ${other}; ` +
    "lower is better)."
  );
}
