// Owns the output of parallel steps: one step prints at once, the others are printed whole when they have ended. Never
// mixes two steps.

/** Shows the output of steps with `show`. */
export function createStepOutput(show) {
  let pages = [];
  const showNext = () => {
    while (pages.length > 0) {
      const [page] = pages;
      show(page.text);
      page.text = "";
      if (!page.ended) return;
      // Ended steps are shown first, before another step begins to print at once.
      pages = pages.slice(1).sort((a, b) => b.ended - a.ended);
    }
  };
  return {
    /** The output of a step: `write` adds to it, `close` ends it. */
    open(name) {
      const page = { name, text: `\n── ${name}\n`, ended: false };
      pages.push(page);
      showNext();
      return {
        write(text) {
          page.text += text;
          showNext();
        },
        close() {
          page.ended = true;
          showNext();
        },
      };
    },
    /** Shows the ended steps, and returns the names of those that still run. */
    end() {
      for (const page of pages.filter(({ ended }) => ended)) show(page.text);
      return pages.filter(({ ended }) => !ended).map(({ name }) => name);
    },
  };
}
