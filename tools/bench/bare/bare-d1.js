// What D1 costs: one batch of two look-ups by primary key, and an answer of the size of one to a resolve.

export default {
  async fetch(request, { DB }) {
    const { key, connection } = await request.json();
    const [keys, connections] = await DB.batch([
      DB.prepare("SELECT * FROM api_keys WHERE id = ?1").bind(key),
      DB.prepare("SELECT * FROM connections WHERE id = ?1").bind(connection),
    ]);
    const { id, sealed_credential } = connections.results[0];
    const text = JSON.stringify({ key: keys.results[0].id, id, sealed_credential });
    return new Response(text, { headers: { "content-type": "application/json", "cache-control": "no-store" } });
  },
};
