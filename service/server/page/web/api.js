// Asks the server that the page came from. A key is kept in memory alone: it is gone when the page is.

let key = "";

/** An answer that says what is wrong, or that there is none. */
export class Problem extends Error {
  constructor({ title, detail, code, errors }) {
    super(detail);
    this.title = title;
    this.code = code;
    this.errors = errors ?? [];
  }
}

/** Send this key with every request from now on. */
export function useKey(given) {
  key = given;
}

export function hasKey() {
  return key !== "";
}

/** The whole address of a path of this server, which may lie below a path of a proxy. */
export function addressOf(path) {
  return new URL(path, document.baseURI).href;
}

/** The JSON that answers a GET, or a POST where there is a body; throws Problem. */
export async function ask(path, body, signal) {
  const headers = { ...(key && { Authorization: `Bearer ${key}` }), ...(body && { "Content-Type": "application/json" }) };
  const how = body ? { method: "POST", body: JSON.stringify(body) } : {};
  let response;
  try {
    response = await fetch(addressOf(path), { ...how, headers, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "No answer", detail: "The server cannot be reached. Is it running?", code: "unreachable" });
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok || answer === null) {
    const detail = `The answer has the status ${response.status} and is no JSON. Does a proxy stand in between?`;
    throw new Problem(answer ?? { title: "No answer", detail, code: "not_json" });
  }
  return answer;
}
