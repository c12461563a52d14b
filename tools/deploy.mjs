// Owns `npm run deploy`: builds, makes the database if there is none, migrates it, and only then puts the new Worker in
// place. Refuses to start while something is missing, and says how to get it. Arguments go on to `wrangler deploy`.

import { readFileSync } from "node:fs";
import { at, capture, ensureNpm, Failure, main, quietWrangler, run, say, wrangler } from "./bootstrap.mjs";
import { build } from "./build.mjs";

const DATABASE = "connections";
const REQUIRED = ["ENCRYPTION_KEYS", "ADMIN_KEY"];
// A deployment talks to Cloudflare, so look-ups stay on; questions cannot be answered from here.
const env = { ...quietWrangler, CLOUDFLARE_CF_FETCH_ENABLED: "true" };

async function deploy(args) {
  await ensureNpm();
  const publicUrl = requirePublicUrl();
  await requireLogin();
  if (!args.includes("--secrets-file")) await requireSecrets();
  await build();
  await ensureDatabase();
  await run(...wrangler("d1", "migrations", "apply", "DB", "--remote"), { env });
  await run(...wrangler("deploy", "--var", `PUBLIC_URL:${publicUrl}`, ...args), { env });
  say(`\nDeployed. Is it well? curl ${publicUrl}/healthz`);
}

/** From the environment, else from wrangler.toml. */
function requirePublicUrl() {
  const written = /^PUBLIC_URL\s*=\s*"([^"]*)"/m.exec(readFileSync(at("wrangler.toml"), "utf8"))?.[1];
  const value = process.env.PUBLIC_URL || written;
  if (!value) throw new Failure('PUBLIC_URL is not set. Write the address that people will use into wrangler.toml: PUBLIC_URL = "https://connections.example.com"');
  if (!/^https:\/\/[^/?#]+$/.test(value)) throw new Failure(`PUBLIC_URL must be https:// and a host, without a path or a slash at the end. It is: ${value}`);
  return value;
}

async function requireLogin() {
  const { code, output } = await capture(...wrangler("whoami"), { env });
  if (code === 0 && !/not authenticated|not logged in/i.test(output)) return;
  throw new Failure(`wrangler is not logged in. Either: npx wrangler login\nor set CLOUDFLARE_API_TOKEN (and CLOUDFLARE_ACCOUNT_ID when you have several accounts).\n${output.trim()}`);
}

async function requireSecrets() {
  const { code, output } = await capture(...wrangler("secret", "list"), { env });
  const missing = REQUIRED.filter((name) => code !== 0 || !output.includes(`"${name}"`));
  if (missing.length === 0) return;
  if (code === 0) throw new Failure(`These secrets are not set: ${missing.join(", ")}. Set each with: npx wrangler secret put NAME (.dev.vars.example says how to make one)`);
  throw new Failure(
    `The secrets of the Worker cannot be listed. If this is the first deployment, make them and give them along:\n
  (umask 077; printf 'ENCRYPTION_KEYS="k1:%s"\\nADMIN_KEY="%s"\\n' "$(openssl rand -base64 32)" "$(openssl rand -base64 36)" > .prod.vars)
  npm run deploy -- --secrets-file .prod.vars\n
Then move .prod.vars to a safe place: without ENCRYPTION_KEYS nothing that is stored can be opened again.
Otherwise, this is what wrangler said:\n${output.trim()}`,
  );
}

/** Made by name before the first migration; `wrangler deploy` then finds it by that name. */
async function ensureDatabase() {
  const { code, output } = await capture(...wrangler("d1", "info", DATABASE, "--json"), { env });
  if (code === 0) return;
  if (!/couldn't find/i.test(output)) throw new Failure(`The database cannot be looked up:\n${output.trim()}`);
  say(`Making the database "${DATABASE}"…`);
  await run(...wrangler("d1", "create", DATABASE), { env });
}

await main(() => deploy(process.argv.slice(2)));
