// What KV costs: one read, and an answer of the size of one to a resolve.

export default {
  async fetch(request, { CACHE }) {
    const { entry } = await request.json();
    const text = await CACHE.get(entry, { cacheTtl: 60 });
    return new Response(JSON.stringify({ text }), { headers: { "content-type": "application/json", "cache-control": "no-store" } });
  },
};
