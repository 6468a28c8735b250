// The OpenAPI document to look through: every address with its examples, answers and errors, and every schema.

import { addressOf, ask, hasKey, Problem } from "./api.js";
import { byId, element, show } from "./dom.js";
import { asksForKey, keyIsRight, listenForKey } from "./key.js";
import { curlLine } from "./lines.js";
import { schemaOf, typeOf } from "./schema.js";

async function load() {
  let api;
  try {
    api = await ask("openapi.json");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (!asksForKey(error)) show(byId("problem"), element("h2", {}, error.title), element("p", {}, error.message));
    return;
  }
  keyIsRight();
  show(byId("problem"));
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationOf(method.toUpperCase(), path, operation)),
  );
  show(byId("operations"), operations);
  show(byId("schemas"), Object.entries(api.components.schemas).sort().map(([name, schema]) => schemaOf(name, schema)));
  byId("document").hidden = false;
  openNamed();
}

/** Open what the address names behind `#`, so that a link leads to it. */
function openNamed() {
  const named = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
  if (!named) return;
  named.hidden = false;
  named.open = true;
  named.scrollIntoView();
  named.querySelector("summary")?.focus({ preventScroll: true });
}

/** Show what has all words of the search in its text, whether open or not. */
function search() {
  const words = byId("search").value.toLowerCase().split(/\s+/);
  const found = [...document.querySelectorAll("#document details.card")].filter((card) => {
    const text = card.textContent.toLowerCase();
    card.hidden = !words.every((word) => text.includes(word));
    return !card.hidden;
  });
  byId("found").textContent = `${found.length} found`;
}

function operationOf(method, path, operation) {
  const media = operation.requestBody?.content["application/json"];
  const examples = Object.values(media?.examples ?? {});
  return element(
    "details",
    { class: "card", id: operation.operationId },
    element("summary", {}, element("code", {}, element("strong", {}, method), ` ${path}`)),
    element("p", {}, operation.description),
    parametersOf(operation.parameters ?? []),
    media ? [element("h3", {}, "Body"), element("p", {}, typeOf(media.schema))] : null,
    examples.length ? element("h3", {}, "Examples") : null,
    examples.map((example) => exampleOf(path, example)),
    element("h3", {}, "Answers"),
    answersOf(operation.responses),
  );
}

function parametersOf(parameters) {
  if (parameters.length === 0) return null;
  const entries = parameters.map((one) => [
    element("dt", {}, element("code", {}, one.name), ` (${one.in === "header" ? "header" : "in the address"})`),
    element("dd", {}, one.description ?? typeOf(one.schema)),
  ]);
  return [element("h3", {}, "Parameters"), element("dl", {}, entries)];
}

function exampleOf(path, { summary, value, ...about }) {
  const line = curlLine(addressOf(path.slice(1)), value, hasKey());
  const code = (title, text) =>
    element("pre", { tabindex: "0", role: "group", "aria-label": `${title}: ${summary}` }, element("code", {}, text));
  return element(
    "details",
    { class: "example" },
    element("summary", {}, summary),
    code("Body", JSON.stringify(value, null, 2)),
    code("In a shell", line),
    about["x-task"] ? element("p", {}, element("a", { href: `./#${path.split("/").at(-1)}` }, "Try it on the page")) : null,
  );
}

function answersOf(responses) {
  const entries = Object.entries(responses).map(([status, { description, content }]) => {
    const kinds = Object.values(content ?? {}).flatMap(({ schema }) => [" ", ...typeOf(schema)]);
    return [element("dt", {}, status), element("dd", {}, description, kinds)];
  });
  return element("dl", {}, entries);
}

listenForKey(load);
byId("search").addEventListener("input", search);
window.addEventListener("hashchange", openNamed);
void load();
