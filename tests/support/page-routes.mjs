// Owns which pages there are: read from the table of routes, which is the one place that has them all.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./installation.mjs";

const LINE = /^ {4}(Get|Post) +"([^"]+)" +(?:User\(\w+\)|Browser),/gm;

/** The routes of pages and forms: `{ method, path }`. */
export const PAGE_ROUTES = [...readFileSync(join(ROOT, "src/http/routes.rs"), "utf8").matchAll(LINE)].map(([, method, path]) => ({ method: method.toUpperCase(), path }));

/** Whether an address is one of a route's. */
export const isOfRoute = (address, { path }) => new RegExp(`^${path.replace(/\{\w+\}/g, "[^/]+")}$`).test(address);
