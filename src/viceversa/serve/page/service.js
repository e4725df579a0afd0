// Requests to the service: the only module of the page that knows HTTP.

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

export async function listModels() {
  const content = await (await request("models")).json();
  return Array.isArray(content) ? content : content.models;
}

export async function translate(name, image, signal) {
  const options = { method: "POST", body: image, signal };
  options.headers = { "Content-Type": "image/png", Accept: "image/png" };
  const answer = await request(`models/${encodeURIComponent(name)}/translate`, options);
  return answer.blob();
}
