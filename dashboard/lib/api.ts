/** The one way to the gateway: paths are those of the contract, errors are told as they came. */

import { askAgain } from "./confirming";
import type { paths } from "./schema";

export const API_PREFIX = process.env.NEXT_PUBLIC_API_URL ?? process.env.NEXT_PUBLIC_API_PREFIX ?? "";

export type Path = keyof paths;
export type Method = "GET" | "POST" | "PUT" | "DELETE" | "PATCH";
export type Query = Record<string, string | number | boolean | null | undefined>;

export interface Call {
  params?: Record<string, string>;
  query?: Query;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** What the gateway refused, in its own words. `status` is 0 when it could not be reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId: string | null = null,
    readonly details: Record<string, unknown> = {},
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

/** A login's token, which proves that a change comes from our own page. A key is kept in memory, if at all. */
const credentials: { csrf: string | null; key: string | null } = { csrf: null, key: null };

export function setCsrf(token: string | null): void {
  credentials.csrf = token;
}

/** For development against another address: lost with the tab. */
export function setKey(key: string | null): void {
  credentials.key = key;
}

export function urlOf(path: Path, { params = {}, query = {} }: Call = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") asked.set(name, String(value));
  }
  const text = asked.toString();
  return `${API_PREFIX}${filled}${text ? `?${text}` : ""}`;
}

/** One call. Where the gateway wants the key of the login again first, it is asked for, and the call made once more. */
export async function send(method: Method, path: Path, call: Call = {}): Promise<Response> {
  try {
    return await sendOnce(method, path, call);
  } catch (error) {
    const asked = error instanceof ApiError && error.code === "confirmation_required";
    if (!asked || !(await askAgain())) throw error;
    return sendOnce(method, path, call);
  }
}

async function sendOnce(method: Method, path: Path, call: Call): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json", ...call.headers };
  if (call.body !== undefined) headers["content-type"] = "application/json";
  if (credentials.key) headers.authorization = `Bearer ${credentials.key}`;
  else if (method !== "GET" && credentials.csrf) headers["x-csrf-token"] = credentials.csrf;
  let answer: Response;
  try {
    answer = await fetch(urlOf(path, call), {
      method,
      headers,
      body: call.body === undefined ? undefined : JSON.stringify(call.body),
      credentials: API_PREFIX.startsWith("http") ? "include" : "same-origin",
      signal: call.signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The gateway cannot be reached.");
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

export async function request<T>(method: Method, path: Path, call: Call = {}): Promise<T> {
  const answer = await send(method, path, call);
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

export function get<T>(path: Path, call: Call = {}): Promise<T> {
  return request<T>("GET", path, call);
}

async function refusal(answer: Response): Promise<ApiError> {
  const id = answer.headers.get("x-asahi-request-id");
  try {
    const told = await answer.json();
    const wait = told.retry_after_seconds ?? Number(answer.headers.get("retry-after")) ?? null;
    return new ApiError(answer.status, told.error, sentence(told.message), told.request_id ?? id, told.details, wait);
  } catch {
    return new ApiError(answer.status, "unreadable", `The gateway answered ${answer.status}.`, id);
  }
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** The same call for a terminal. The key is the reader's to put in. */
export function curl(method: Method, path: Path, call: Call = {}): string {
  const place = urlOf(path, call);
  const address = place.startsWith("http") ? place : `${window.location.origin}${place}`;
  const lines = [`curl ${method === "GET" ? "" : `-X ${method} `}${quoted(address)}`];
  lines.push(`-H "authorization: Bearer $ASAHI_API_KEY"`);
  for (const [name, value] of Object.entries(call.headers ?? {})) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (call.body !== undefined) {
    lines.push("-H 'content-type: application/json'", `-d ${quoted(JSON.stringify(call.body))}`);
  }
  return lines.join(" \\\n  ");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
