// Owns the counts of `npm run bench`: stands before the built Worker and counts what it asks of its bindings and of apps.
// `/bench/counts` returns the counts since the last time, those before the answer apart from all, and the queries. Never
// measures time.

import Worker, { Refresher as BuiltRefresher } from "./index.js";

const fresh = () => ({ d1: 0, statements: 0, rowsRead: 0, rowsWritten: 0, kvReads: 0, kvWrites: 0, objects: 0, apps: 0, limits: 0 });
let counts = fresh();
let queries = [];
let atAnswer = fresh();

/** As in forgetting.js, for requests that ask for it. */
const now = Date.now;
let calls = 0;
Date.now = () => now() - calls * 1000;

const outbound = globalThis.fetch;
globalThis.fetch = (...request) => {
  counts.apps += 1;
  return outbound(...request);
};

/** The same object, with some of its methods replaced. The Worker checks the names of the classes of its bindings. */
const replacing = (target, methods) =>
  new Proxy(target, {
    get(_, name) {
      const value = Object.hasOwn(methods, name) ? methods[name] : Reflect.get(target, name);
      return typeof value === "function" && name !== "constructor" ? value.bind(target) : value;
    },
  });

/** Counts calls of some methods of a binding. */
const countingCalls = (binding, count, names) =>
  binding &&
  replacing(
    binding,
    Object.fromEntries(
      names.map((name) => [
        name,
        (...values) => {
          counts[count] += 1;
          return binding[name](...values);
        },
      ]),
    ),
  );

const countingDatabase = (db) =>
  replacing(db, {
    async batch(statements) {
      counts.d1 += 1;
      counts.statements += statements.length;
      queries.push(statements.map(({ statement, params }) => ({ sql: statement, values: params })));
      const results = await db.batch(statements);
      for (const { meta } of results) {
        counts.rowsRead += meta.rows_read ?? 0;
        counts.rowsWritten += meta.rows_written ?? 0;
      }
      return results;
    },
  });

function countingBindings(env) {
  const limits = Object.entries(env).filter(([name]) => name.endsWith("_LIMIT"));
  return {
    ...env,
    DB: countingDatabase(env.DB),
    CACHE: countingCalls(countingCalls(env.CACHE, "kvReads", ["get", "getWithMetadata", "list"]), "kvWrites", ["put", "delete"]),
    REFRESHER: countingCalls(env.REFRESHER, "objects", ["getByName", "get"]),
    ...Object.fromEntries(limits.map(([name, limit]) => [name, countingCalls(limit, "limits", ["limit"])])),
  };
}

export class Refresher extends BuiltRefresher {
  constructor(state, env) {
    super(state, countingBindings(env));
  }
}

export default {
  async fetch(request, env, context) {
    if (new URL(request.url).pathname === "/bench/counts") {
      const answer = Response.json({ before: atAnswer, all: counts, queries });
      counts = fresh();
      queries = [];
      return answer;
    }
    if (request.headers.has("x-bench-forget")) calls += 1;
    const response = await new Worker(context, countingBindings(env)).fetch(request);
    atAnswer = { ...counts };
    return response;
  },
  async scheduled(event, env, context) {
    await new Worker(context, countingBindings(env)).scheduled(event);
    atAnswer = { ...counts };
  },
};
