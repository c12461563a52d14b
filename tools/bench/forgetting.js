// The built Worker with a clock that goes back by a second at each call. Its isolate never takes what it remembers of KV
// for fresh, so each call reads KV.

import Worker from "./index.js";

const now = Date.now;
let calls = 0;
Date.now = () => now() - calls * 1000;

export { Refresher } from "./index.js";

export default {
  fetch(request, env, context) {
    calls += 1;
    return new Worker(context, env).fetch(request);
  },
};
