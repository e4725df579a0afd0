// Requests to the service: the only module of the page that knows HTTP. In a page without a service, another module
// with the same functions takes its place.
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

// Return an example input of a model, by its name, as an image file.
export async function loadExample(model, name) {
  const path = `models/${encodeURIComponent(model.name)}/examples/${encodeURIComponent(name)}`;
  return (await request(path)).blob();
}

// Translate an ImageData; return the translation as an image file.
export async function translate(model, image, signal) {
  const body = await encodePng(valuesOf(model, image), image.width, image.height, model.source.channels);
  const headers = { "Content-Type": "image/png", Accept: "image/png" };
  const path = `models/${encodeURIComponent(model.name)}/translate`;
  const answer = await request(path, { method: "POST", body, signal, headers });
  return answer.blob();
}
