// The lines by which a shell or Python asks what was just asked here. They name no key.

/** A curl command, for a POSIX shell. */
export function curlLine(address, body, withKey) {
  return [
    `curl -s ${quote(address)} \\`,
    `    -H 'Content-Type: application/json' \\`,
    ...(withKey ? [`    -H "Authorization: Bearer $STEADFAST_KEY" \\`] : []),
    `    -d ${quote(JSON.stringify(body))}`,
  ].join("\n");
}

/** A Python program. */
export function pythonLines(address, body, withKey) {
  return [
    ...(withKey ? ["import os", ""] : []),
    "import httpx",
    "",
    "answer = httpx.post(",
    `    ${JSON.stringify(address)},`,
    `    json=${literal(body)},`,
    ...(withKey ? [`    headers={"Authorization": "Bearer " + os.environ["STEADFAST_KEY"]},`] : []),
    "    timeout=60,",
    ")",
    "print(answer.json())",
  ].join("\n");
}

function quote(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A value as Python writes it; a text of JSON is one of Python too. */
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one)}`).join(", ")}}`;
}
