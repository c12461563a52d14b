// Owns Telegram's Bot API as core.telegram.org describes it: the token is part of the path, answers have `ok`, and a
// bot has one webhook. BotFather issues tokens (`createBot`) and revokes them (`revoke`); a bot keeps its id. An
// account is `{ id, username, first_name }`. There is no OAuth: `clients` and `person` are not used.

import { App, json, numberOf, page } from "./oauth.mjs";

const yes = (result) => json(200, { ok: true, result });
const no = (error_code, description, more = {}) => json(error_code, { ok: false, error_code, description, ...more });

export class Telegram extends App {
  hosts = ["api.telegram.org"];
  /** Bots by their tokens: `{ account, webhook }`. */
  bots = new Map();

  newAccount = (name) => ({ id: Number(numberOf(name)), username: `${name}_bot`, first_name: name });

  /** A token from BotFather. If the bot has one already, the old token ends. */
  createBot(account = "ada") {
    this.revoke(account);
    const token = this.createSecret("key", `${this.account(account).id}:AA`, 33);
    this.bots.set(token, { account, webhook: "" });
    return token;
  }

  revoke(account) {
    for (const [token, bot] of this.bots) if (bot.account === account) this.bots.delete(token);
  }

  redacted = (where) => where.replace(/\/bot[^/]+/, "/bot{token}");

  serve(request) {
    const [, token, method] = /^api\.telegram\.org\/bot([^/]*)\/(\w+)$/.exec(request.where) ?? [];
    if (token === undefined) return request.path.startsWith("/bot") ? no(404, "Not Found") : page(404, "Telegram: there is no such page");
    const named = decodeURIComponent(token);
    if (named.startsWith("0") || named.length > 80 || !named.includes(":")) return no(401, "Unauthorized: invalid token specified");
    if (!/^\d+:/.test(named)) return no(404, "Not Found");
    const bot = this.bots.get(named);
    if (!bot) return no(401, "Unauthorized");
    return this.methods[method.toLowerCase()]?.(bot, request.form() ?? request.json() ?? request.query) ?? no(404, "Not Found");
  }

  methods = {
    getme: ({ account }) => {
      const { id, username, first_name } = this.account(account);
      return yes({ id, is_bot: true, first_name, username, can_join_groups: true, can_read_all_group_messages: false, supports_inline_queries: false });
    },
    setwebhook: (bot, params) => {
      bot.webhook = params.get("url") ?? "";
      return yes(true);
    },
    deletewebhook: (bot) => {
      bot.webhook = "";
      return yes(true);
    },
    getwebhookinfo: ({ webhook }) => yes({ url: webhook, has_custom_certificate: false, pending_update_count: 0 }),
    getupdates: ({ webhook }) =>
      webhook ? no(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first") : yes([]),
  };
}
