// Asks for a key where the server has keys.

import { hasKey, useKey } from "./api.js";
import { byId } from "./dom.js";

/** Call `load` again with each key that is given. */
export function listenForKey(load) {
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey(byId("key").value.trim());
    void load();
  });
}

/** Ask for a key if that is what is wrong; returns whether this is all there is to say. */
export function asksForKey(problem) {
  if (problem.code !== "unauthorized") return false;
  byId("key-form").hidden = false;
  byId("key").focus();
  // Nobody has sent a key yet: asking for one is no error.
  return !hasKey();
}

/** Ask no more. */
export function keyIsRight() {
  byId("key-form").hidden = true;
}
