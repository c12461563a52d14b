// Tells the page that has opened this window what came of its link, at the origin that the link was made for.
"use strict";
(() => {
  const outcome = document.getElementById("outcome");
  if (!outcome || !window.opener) return;
  const { origin, link, status, connection, closes } = outcome.dataset;
  window.opener.postMessage({ type: "connections:link", link, status, connection: connection ?? null }, origin);
  if (closes !== undefined) window.close();
})();
