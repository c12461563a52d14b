// Owns what the OAuth server stores: tokens, grants and sessions in memory and, with a file, on disk, so that
// connections of yesterday can still be refreshed today. Neither fast nor safe: for development and tests only.

import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** The `adapter` interface of oidc-provider. All models share one store. Clients are kept outside it. */
export function adapterOver(store, clients) {
  return class {
    constructor(model) {
      this.model = model;
    }
    async find(id) {
      return this.model === "Client" ? clients.get(id) : store.get(this.key(id));
    }
    async findByUid(uid) {
      return store.find(({ payload }) => payload.kind === "Session" && payload.uid === uid);
    }
    async upsert(id, payload, expiresIn) {
      store.set(this.key(id), payload, expiresIn);
    }
    async consume(id) {
      store.change(this.key(id), (payload) => (payload.consumed = now()));
    }
    async destroy(id) {
      store.remove((key) => key === this.key(id));
    }
    async revokeByGrantId(grantId) {
      store.remove((key, { payload }) => key.startsWith(`${this.model}:`) && payload.grantId === grantId);
    }
    key(id) {
      return `${this.model}:${id}`;
    }
  };
}

/** A map whose entries expire, stored in `file` if there is one. */
export class Store {
  constructor(file) {
    this.file = file;
    this.entries = new Map(file && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : []);
  }
  get(key) {
    const entry = this.entries.get(key);
    return entry && entry.ends > now() ? entry.payload : undefined;
  }
  find(matches) {
    return [...this.entries.values()].find((entry) => entry.ends > now() && matches(entry))?.payload;
  }
  set(key, payload, expiresIn = 86_400 * 365) {
    this.entries.set(key, { payload, ends: now() + expiresIn });
    this.save();
  }
  change(key, edit) {
    const payload = this.get(key);
    if (payload) edit(payload);
    this.save();
  }
  remove(matches) {
    for (const [key, entry] of this.entries) if (matches(key, entry)) this.entries.delete(key);
    this.save();
  }
  save() {
    if (!this.file) return;
    for (const [key, entry] of this.entries) if (entry.ends <= now()) this.entries.delete(key);
    writeFileSync(this.file, JSON.stringify([...this.entries]), { mode: 0o600 });
  }
}

const now = () => Math.floor(Date.now() / 1000);
