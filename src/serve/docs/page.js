"use strict";
// Shows /openapi.json and sends requests to this server. Texts are set as text, never as HTML.
const make = (name, text, ...children) => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};
const resolve = (doc, schema) => (schema && schema.$ref ? doc.components.schemas[schema.$ref.split("/").pop()] : schema) || {};
const typeOf = (doc, schema) => {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const all = schema.oneOf || schema.anyOf;
  if (all) return all.map((one) => typeOf(doc, one)).join(" | ");
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type || "";
  return schema.items ? `${type} of ${typeOf(doc, schema.items)}` : type;
};
const members = (doc, schema) => {
  const table = make("table", "", make("tr", "", make("th", "member"), make("th", "type"), make("th", "meaning")));
  for (const [name, member] of Object.entries(schema.properties || {})) {
    const needed = (schema.required || []).includes(name) ? "" : " (may be left out)";
    table.append(make("tr", "", make("td", "", make("code", name)), make("td", typeOf(doc, member)), make("td", (member.description || "") + needed)));
  }
  return table;
};
const send = async (method, path, headers, body, out) => {
  const key = document.getElementById("key").value.trim();
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  out.textContent = "...";
  try {
    const response = await fetch(path, { method, headers, body });
    let text = await response.text();
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON */ }
    const place = response.headers.get("location");
    out.textContent = `${response.status}${place ? `  Location: ${place}` : ""}\n${text}`;
  } catch (error) {
    out.textContent = String(error);
  }
};
const operation = (doc, path, method, op) => {
  const block = make("details");
  block.append(make("summary", "", make("span", method), make("code", path), make("span", `  ${op.summary || ""}`)));
  block.querySelector("span").className = "method";
  if (op.description) block.append(make("p", op.description));
  const content = op.requestBody && op.requestBody.content["application/json"];
  const schema = content && resolve(doc, content.schema);
  if (schema) block.append(members(doc, schema));
  const answers = make("table", "", make("tr", "", make("th", "status"), make("th", "answer")));
  for (const [status, answer] of Object.entries(op.responses).sort()) answers.append(make("tr", "", make("td", status), make("td", answer.description)));
  block.append(make("h3", "Answers"), answers);
  const fields = (op.parameters || []).map((parameter) => {
    const input = make("input");
    input.name = parameter.name;
    input.dataset.place = parameter.in;
    block.append(make("label", `${parameter.name} `, input));
    return input;
  });
  const text = schema ? make("textarea") : undefined;
  if (text) {
    text.rows = 6;
    text.value = JSON.stringify(content.example || schema.example || {}, null, 2);
    block.append(text);
  }
  const button = make("button", "Send");
  const out = make("pre");
  button.addEventListener("click", () => {
    let place = path;
    const headers = {};
    const query = new URLSearchParams();
    for (const input of fields) {
      if (input.dataset.place === "path") place = place.replace(`{${input.name}}`, encodeURIComponent(input.value));
      else if (input.value && input.dataset.place === "query") query.set(input.name, input.value);
      else if (input.value) headers[input.name] = input.value;
    }
    send(method.toUpperCase(), query.size ? `${place}?${query}` : place, headers, text && text.value, out);
  });
  block.append(button, out);
  return block;
};
(async () => {
  const about = document.getElementById("about");
  try {
    const doc = await (await fetch("/openapi.json")).json();
    about.textContent = doc.info.description;
    const list = document.getElementById("operations");
    for (const [path, item] of Object.entries(doc.paths)) for (const method of ["get", "post", "delete"]) if (item[method]) list.append(operation(doc, path, method, item[method]));
  } catch (error) {
    about.textContent = `The description cannot be loaded: ${error}`;
  }
})();
