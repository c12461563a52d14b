// What a Worker costs that does nothing: a constant of the size of an answer to a resolve.

const ANSWER = JSON.stringify({ text: "x".repeat(700) });

export default { fetch: () => new Response(ANSWER, { headers: { "content-type": "application/json", "cache-control": "no-store" } }) };
