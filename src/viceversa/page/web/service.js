// Requests to the server: the only module of the page that uses HTTP. In a page without a server, session.js, a module
// with the same functions, replaces it.
import { valuesOf } from "./models.js";
import { encodePng } from "./png.js";

let token = "";

export class ServiceError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export function setToken(text) { token = text; }

async function request(path, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  let answer;
  try {
    answer = await fetch(new URL(`../v1/${path}`, import.meta.url), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("unreachable", "The service does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw new ServiceError(error?.code ?? "unknown", error?.message ?? `The service answered ${answer.status}.`);
}

// Return the descriptions of the models.
export async function listModels() {
  const content = await (await request("models")).json();
  return Array.isArray(content) ? content : content.models;
}

function fileOf(model, image) {
  return encodePng(valuesOf(model, image), image.width, image.height, model.source.channels);
}

function send(kind, model, body, accept, signal) {
  const headers = { "Content-Type": "image/png", Accept: accept };
  return request(`models/${encodeURIComponent(model.name)}/${kind}`, { method: "POST", body, signal, headers });
}

// Return an example input of a model, by its name, as an image file.
export async function loadExample(model, name) {
  const path = `models/${encodeURIComponent(model.name)}/examples/${encodeURIComponent(name)}`;
  return (await request(path)).blob();
}

// Translate an ImageData; return the translation as an image file.
export async function translate(model, image, signal) {
  return (await send("translate", model, await fileOf(model, image), "image/png", signal)).blob();
}

// Return the patch scores of the translation of an ImageData: see the OpenAPI description.
export async function patchMap(model, image, signal) {
  return (await send("patch_map", model, await fileOf(model, image), "application/json", signal)).json();
}
