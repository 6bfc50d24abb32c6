// Asks for data, with a token where one is needed.

const KEY = "infermeter-token";

export async function ask(path) {
  for (;;) {
    const headers = { accept: "application/json" };
    const token = sessionStorage.getItem(KEY);
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (answer.ok) return answer.json();
    if (answer.status !== 401) throw new Error(`${answer.status}: ${await answer.text()}`);
    // NB: another one may have been given meanwhile.
    if (sessionStorage.getItem(KEY) === token) await newToken(token !== null);
  }
}

// Says what is going on, in the line at the top.
export function tell(text, isTrouble) {
  const line = document.getElementById("state");
  line.classList.toggle("trouble", isTrouble);
  if (line.textContent !== text) line.textContent = text;
}

let waiting = null;

// NB: one form, however many ask.
function newToken(wasWrong) {
  waiting ??= new Promise((resolve) => {
    const form = document.createElement("form");
    form.className = "token";
    const label = document.createElement("label");
    label.textContent = wasWrong ? "That is not the token. Token of this page: " : "Token of this page: ";
    const input = document.createElement("input");
    input.type = "password";
    input.required = true;
    // What a token can be, which is all that a header takes.
    input.pattern = "\\s*[!-~]+\\s*";
    input.title = "visible characters of ASCII, without spaces";
    const button = document.createElement("button");
    button.textContent = "Show";
    label.append(input);
    form.append(label, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, input.value.trim());
      form.remove();
      waiting = null;
      resolve();
    });
    document.querySelector("main").prepend(form);
    input.focus();
  });
  return waiting;
}
