// The connection to the page's server. Rule: it says at once when it is gone, comes back by itself, and rests while
// nobody looks (a browser has six connections to a server). Then it only peeks, once a minute, for its title.

const SILENT_MS = 5_000;
const AGAIN_MS = 3_000;
const HIDDEN_MS = 20_000;
const PEEK_MS = 60_000;

export function connect(on) {
  let source = null, heard = 0, hidden = 0, peeks = false, patience = SILENT_MS;

  function open() {
    close();
    heard = performance.now();
    source = new EventSource("events");
    for (const kind of ["snapshot", "changes", "alerts", "sample", "status"]) {
      source.addEventListener(kind, (event) => {
        heard = performance.now();
        patience = SILENT_MS;
        on[kind](JSON.parse(event.data));
        if (peeks && kind === "status") rest(); // it comes last
      });
    }
    source.onopen = () => on.state(peeks ? "resting" : "open");
    source.onerror = () => {
      on.state("lost");
      if (source.readyState === EventSource.CLOSED) setTimeout(open, AGAIN_MS); // refused: EventSource gives up, we do not
    };
  }

  function close() {
    source?.close();
    source = null;
  }

  function rest() {
    close();
    peeks = true;
    hidden = setTimeout(open, PEEK_MS);
    on.state("resting");
  }

  setInterval(() => {
    if (source && performance.now() - heard > patience) {
      patience *= 2; // nothing is heard of a snapshot before its end, and a slow link takes long for it
      on.state("lost");
      open();
    }
  }, 1_000);

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.hidden) {
      hidden = setTimeout(rest, HIDDEN_MS);
      return;
    }
    if (peeks) on.state("connecting");
    peeks = false;
    if (!source) open();
  });
  open();
}
