// Owns what `npm run bench` shows: the tables, and the plot of docs/performance.svg. Never measures.

import { median } from "./measure.mjs";

const milliseconds = (microseconds) => (microseconds === undefined ? "–" : `${(microseconds / 1000).toFixed(2)} ms`);
const kib = (bytes) => `${Math.round(bytes / 1024).toLocaleString("en")} KiB`;
const quantile = (numbers, share) => [...numbers].sort((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))];

const table = (head, rows) => {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), `|---${"|---:".repeat(head.length - 1)}|`, ...rows.map(line)].join("\n");
};

/**
 * The medians of all rounds: `{ name, beside, ratios, perSecond, p50, p99, cpu }` for each case of calls. A ratio compares
 * with the bare Worker of the same round.
 */
export function compareRounds(cases, results) {
  return cases
    .filter(({ kind }) => kind === "load")
    .map((one) => {
      const own = results.get(one);
      const middle = (figure) => median(own.map((round) => round[figure]));
      const other = one.beside && results.get(one.beside);
      const ratio = (figure) => other && median(own.map((round, index) => round[figure] / other[index][figure]));
      const figures = ["perSecond", "p50", "p99", "cpu"];
      const take = (read) => Object.fromEntries(figures.map((figure) => [figure, read(figure)]));
      return { name: one.name, beside: one.beside?.name, bare: one.worker.startsWith("bare-"), ...take(middle), ratios: other && take(ratio) };
    });
}

/** All tables as Markdown, without those that have no rows. */
export function formatReport({ callers, cases, results, counts, sizes, start, settings }) {
  const of = (...kinds) => cases.filter(({ kind }) => kinds.includes(kind));
  const sections = [
    {
      title: settings.against ? "This build beside the other" : "Calls beside bare Workers",
      text: `A ratio is the median of ${settings.rounds} rounds. The figure in brackets is the median itself.`,
      head: ["call", "compared with", `calls per second, ${callers} callers`, "p50, 1 caller", "p99, 1 caller", "CPU per call, 1 caller"],
      rows: compareRounds(cases, results).map((row) => [
        row.name,
        row.beside?.replace("bare: ", "") ?? "–",
        withRatio(row, "perSecond", Math.round),
        withRatio(row, "p50", milliseconds),
        withRatio(row, "p99", milliseconds),
        withRatio(row, "cpu", milliseconds),
      ]),
    },
    {
      title: "Calls that involve an app, and scheduled runs",
      head: ["call", "p50", "p99", "samples"],
      rows: of("single", "scheduled").map((one) => {
        const times = results.get(one).flat();
        return [one.name, milliseconds(quantile(times, 0.5)), milliseconds(quantile(times, 0.99)), times.length];
      }),
    },
    {
      title: "When an access token expires",
      text: `All callers ask at once. The app takes ${settings.appTime} ms; that time is not included. A hot burst is the same number of callers while the token is valid.`,
      head: ["Workers", "callers", "p50", "p99", "max", "p50 of a hot burst", "requests at the app per round", "answered 503"],
      rows: of("burst").map((one) => {
        const rounds = results.get(one);
        const middle = (figure) => milliseconds(median(rounds.map((round) => round[figure])));
        const requests = [...new Set(rounds.map((round) => round.requests))].sort((a, b) => a - b).join(" to ");
        const told = rounds.reduce((sum, round) => sum + round.toldToWait, 0);
        return [one.name, one.callers, middle("p50"), middle("p99"), middle("max"), middle("hot"), requests, told];
      }),
    },
    {
      title: "What one call asks for",
      text: "For a figure like `1 + 2`, the second number is asked for after the answer.",
      head: ["call", "D1 round trips", "statements", "rows read", "rows written", "KV reads", "KV writes", "Durable Object", "requests to apps", "rate limit"],
      rows: [...counts].map(([one, { before, all }]) => [one.name, ...COUNTS.map((count) => formatCount(one, before[count], all[count]))]),
    },
    {
      title: "Size and start",
      head: ["file", "size", "gzip"],
      rows: sizes.map(({ name, raw, gzip }) => [name, kib(raw), kib(gzip)]),
    },
  ];
  const shown = sections.filter(({ rows }) => rows.length > 0).flatMap(({ title, text, head, rows }) => [`### ${title}`, text, table(head, rows)]);
  const started = start === undefined ? "unknown on this system" : `${Math.round(start / 1000)} ms`;
  return [
    ...shown,
    `CPU time until the first answer, beyond that of a Worker that answers a constant: ${started}.`,
    `Measured with workerd ${settings.workerd} on ${settings.processors}: ${settings.rounds} rounds, ${settings.seconds} s for each case and number of callers.`,
  ]
    .filter(Boolean)
    .join("\n\n");
}

const COUNTS = ["d1", "statements", "rowsRead", "rowsWritten", "kvReads", "kvWrites", "objects", "apps", "limits"];

/** A scheduled run has no answer that anybody waits for. */
const formatCount = ({ kind }, before, all) => (all > before && kind !== "scheduled" ? `${before} + ${all - before}` : `${all}`);

function withRatio(row, figure, format) {
  const ratio = row.ratios?.[figure];
  return ratio === undefined ? format(row[figure]) : `${ratio.toFixed(2)} (${format(row[figure])})`;
}

/** Two panels of bars: throughput and time of one call, both relative to the bare Worker of the same round. */
export function formatPlot(cases, results) {
  const rows = compareRounds(cases, results).filter(({ bare }) => !bare);
  const panels = [
    { title: "Calls per second, 64 callers (longer is better)", figure: "perSecond" },
    { title: "Time of one call, p50 (shorter is better)", figure: "p50" },
  ];
  const [label, width, gap, line] = [330, 330, 50, 26];
  const height = 70 + rows.length * line + 30;
  const most = (figure) => Math.max(1, ...rows.map(({ ratios }) => ratios[figure]));
  const bars = panels.flatMap(({ title, figure }, panel) => {
    const left = label + panel * (width + gap);
    const scale = (width - 50) / most(figure);
    const one = left + scale;
    return [
      `<text x="${left}" y="24" class="title">${title}</text>`,
      ...rows.map(({ ratios }, index) => {
        const top = 44 + index * line;
        const value = ratios[figure];
        return `<rect x="${left}" y="${top}" width="${(value * scale).toFixed(1)}" height="16" class="bar"/><text x="${(left + value * scale + 6).toFixed(1)}" y="${top + 13}">${value.toFixed(2)}</text>`;
      }),
      `<line x1="${one.toFixed(1)}" x2="${one.toFixed(1)}" y1="36" y2="${44 + rows.length * line}" class="one"/>`,
      `<text x="${one.toFixed(1)}" y="${60 + rows.length * line}" class="note" text-anchor="middle">bare Worker</text>`,
    ];
  });
  const labels = rows.map(({ name }, index) => `<text x="${label - 10}" y="${57 + index * line}" text-anchor="end">${escape(name.replaceAll("`", ""))}</text>`);
  const total = label + panels.length * width + gap;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${total} ${height}" width="${total}" height="${height}" role="img" aria-label="Calls of this Worker relative to bare Workers">
<style>text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-weight: 600 } .note { fill: #777; font-size: 11px } .bar { fill: #4a7ebb } .one { stroke: #999; stroke-dasharray: 3 3 } @media (prefers-color-scheme: dark) { text { fill: #ddd } .note { fill: #999 } }</style>
${[...labels, ...bars].join("\n")}
</svg>
`;
}

const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
