// What can be asked here: tasks with their sample items, from the OpenAPI document, and the models that answer them.

import { ask } from "./api.js";

/** The tasks that have a model, each with `endpoint`, `models` (cards, the default first) and `samples`. */
export async function readCatalog() {
  const [api, { models }] = await Promise.all([ask("openapi.json"), ask("v1/models")]);
  return Object.entries(api.paths)
    .map(([path, { post }]) => readTask(path, post, models))
    .filter((task) => task !== null && task.models.length > 0);
}

/** The samples that models of a card's task read. */
export function samplesFor(task, card) {
  return task.samples.filter((sample) => sample.task === card.task);
}

/** The names of the fields that a card's task reads, in their order, and whether each is a list of texts. */
export function fieldsFor(task, card) {
  const fields = new Map();
  for (const { item } of samplesFor(task, card)) {
    for (const [name, value] of Object.entries(item)) fields.set(name, Array.isArray(value));
  }
  return fields;
}

/** A field, a task or a metric as people write it; short ones are initials. */
export function spell(name) {
  if (name.length <= 3) return name.toUpperCase();
  const words = name.replaceAll("_", " ").replaceAll("-", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function readTask(path, post, models) {
  const examples = Object.values(post?.requestBody?.content["application/json"].examples ?? {}).filter((one) => one["x-task"]);
  if (examples.length === 0) return null;
  const samples = examples.map((one) => ({ shows: one.summary, item: one.value.inputs[0], task: one["x-task"] }));
  const names = new Set(samples.map((sample) => sample.task));
  return { endpoint: path.replace("/v1/", ""), samples, models: models.filter((card) => names.has(card.task)) };
}
