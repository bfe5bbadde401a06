// Keeps a job's progress fresh while its page is open. Without it the page shows the state at the time of loading.
"use strict";
(() => {
  const box = document.getElementById("job-progress");
  if (!box) return;
  const EVERY = 2000; // milliseconds
  const done = () => box.querySelector("[data-done]")?.dataset.done === "yes";

  async function refresh() {
    if (!document.hidden) {
      try {
        const answer = await fetch(box.dataset.url, { credentials: "same-origin", redirect: "error" });
        const html = answer.ok ? await answer.text() : "";
        if (html && html.trim() !== box.innerHTML.trim()) box.innerHTML = html;
      } catch {
        // The server is away for a moment; the next look may find it.
      }
    }
    if (!done()) setTimeout(refresh, EVERY);
  }

  if (!done()) setTimeout(refresh, EVERY);
})();
