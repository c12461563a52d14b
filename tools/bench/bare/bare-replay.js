// What the queries of a call cost without the Worker that sends them. Each request runs the next of the batches that were
// PUT here. A list of batches in one request would keep workerd from its sockets until the last one is done: Miniflare's
// database is in the same process, so nothing waits for a network in between, as it does on Cloudflare.

let batches = [];
let next = 0;

export default {
  async fetch(request, { DB }) {
    if (request.method === "PUT") {
      batches = await request.json();
      next = 0;
      return new Response(null, { status: 204 });
    }
    const batch = batches[next];
    next = (next + 1) % batches.length;
    await DB.batch(batch.map(({ sql, values }) => DB.prepare(sql).bind(...values)));
    return new Response("done");
  },
};
