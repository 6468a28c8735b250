// What else an answer says of the text: the words that were read otherwise, and whether any edit of one word changes it.

import { spell } from "./catalog.js";
import { element } from "./dom.js";

/** Whether the answer holds under every edit of the family; null where that was not asked for. */
export function certificateOf(certificate) {
  if (!certificate) return null;
  return element("section", { class: "part" }, element("h3", {}, headline(certificate)), element("p", {}, said(certificate)));
}

/** The pieces that were corrected before they were read; null where there are none. */
export function correctionsOf(item, corrections) {
  if (corrections.length === 0) return null;
  const rows = corrections.map((one) => {
    const [field, place] = one.field.split("/");
    const text = place === undefined ? item[field] : item[field][Number(place)];
    const to = one.to === "" ? "nothing" : element("ins", {}, one.to);
    return element("li", {}, element("del", {}, text.slice(one.start, one.end)), " was read as ", to);
  });
  return element("section", { class: "part" }, element("h3", {}, "Corrected"), element("ul", {}, rows));
}

function headline({ edits, holds, family }) {
  if (edits === 0) return `Certificate: nothing to try (${family})`;
  return `Certificate: ${holds ? "holds" : "does not hold"} (${family})`;
}

function said({ edits, tried, holds, family, counterexample }) {
  if (edits === 0) return `The text has no word that ${family} change.`;
  if (holds) return `All ${edits} edits of one word were tried; none changes the answer.`;
  if (!counterexample) return `${edits - tried} of ${edits} edits make a text that the model cannot read; the others change nothing.`;
  return [
    `Of ${edits} edits of one word, ${tried} were tried. The first that changes the answer, in ${spell(counterexample.field.replace("/", " "))}: `,
    element("del", {}, counterexample.text),
    " → ",
    element("ins", {}, counterexample.replacement),
    ` gives ${counterexample.answer}.`,
  ];
}
