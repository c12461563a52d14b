// Owns what a person sees of steps that run side by side: one prints as it goes, the others whole when they have ended.
// Refuses to mix two steps.

/** A stepOutput that shows its text with `show`. */
export function createStepOutput(show) {
  let pages = [];
  const showNext = () => {
    while (pages.length > 0) {
      const [page] = pages;
      show(page.text);
      page.text = "";
      if (!page.ended) return;
      // What has ended is shown whole before another begins to print as it goes.
      pages = pages.slice(1).sort((a, b) => b.ended - a.ended);
    }
  };
  return {
    /** A page for a step: `write` adds to it, `close` ends it. */
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
    /** Shows what has ended behind a step that still runs; answers the names of the steps that run. */
    end() {
      for (const page of pages.filter(({ ended }) => ended)) show(page.text);
      return pages.filter(({ ended }) => !ended).map(({ name }) => name);
    },
  };
}
