// Owns how the tests of the simulated apps call them: with the app's real address, as a person who is sent there, and
// as a client that redeems the code.

import { sign } from "node:crypto";
import assert from "node:assert/strict";

export const CALLBACK_URL = "https://connections.example/oauth/callback";
export const CLIENT = { id: "client-1", secret: "a-client-secret" };
export const BASIC = [CLIENT.id, CLIENT.secret];

/** `{ request, get, visit }` for the apps at an origin. */
export function createAppClient(origin) {
  /** Sends a request to an app with its real address: `{ status, headers, text, body }`. */
  async function request(where, { method = "POST", form, json, text, basic, bearer, headers } = {}) {
    const sent = { ...headers };
    if (form) sent["content-type"] = "application/x-www-form-urlencoded";
    if (json) sent["content-type"] = "application/json";
    if (basic) sent.authorization = `Basic ${Buffer.from(basic.join(":")).toString("base64")}`;
    if (bearer) sent.authorization = `Bearer ${bearer}`;
    const body = form ? new URLSearchParams(form).toString() : json ? JSON.stringify(json) : text;
    const response = await fetch(`${origin}/${where}`, { method, headers: sent, body, redirect: "manual" });
    const got = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json");
    return { status: response.status, headers: response.headers, text: got, body: isJson ? JSON.parse(got) : undefined };
  }

  const get = (where, more) => request(where, { method: "GET", ...more });

  /** Opens an app's authorize address. Returns the parameters of the redirect back, or the status if there is none. */
  async function visit(where, params) {
    const query = new URLSearchParams({ client_id: CLIENT.id, redirect_uri: CALLBACK_URL, response_type: "code", state: "s t", ...params });
    const { status, headers } = await get(`${where}?${query}`);
    if (status !== 302) return status;
    const back = new URL(headers.get("location"));
    assert.equal(back.origin + back.pathname, CALLBACK_URL);
    assert.equal(back.searchParams.get("state"), "s t");
    return Object.fromEntries(back.searchParams);
  }

  return { request, get, visit };
}

/** The body of a code exchange, and of a refresh. */
export const exchangeBody = (code, more) => ({ grant_type: "authorization_code", code, redirect_uri: CALLBACK_URL, ...more });
export const refreshBody = (refresh_token, more) => ({ grant_type: "refresh_token", refresh_token, ...more });

/** A signed assertion (RS256). */
export function signJwt(header, claims, privateKey) {
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${signed}.${sign("sha256", Buffer.from(signed), privateKey).toString("base64url")}`;
}
export const unixNow = () => Math.floor(Date.now() / 1000);
