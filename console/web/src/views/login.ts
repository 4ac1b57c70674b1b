/**
 * Signing in: `millrace console` hands over a Kubernetes token in the address's fragment, which is never sent to a server and
 * is taken out of the address at once; or a token is pasted.
 */

import type { App } from "../app";
import { type Child, h } from "../dom";
import { openSession } from "../net/client";
import { type Problem, problemOf } from "../net/problem";
import { command } from "../parts/command";

let waiting = false;
let problem: Problem | undefined;

/** Takes the token out of the address's fragment, if there is one. */
export function takeFragmentToken(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? undefined;
  if (token !== undefined) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** Opens a session with a token. */
export async function signIn(app: App, token: string): Promise<void> {
  waiting = true;
  problem = undefined;
  app.redraw();
  try {
    app.signedIn(await openSession(token.trim()));
  } catch (cause) {
    problem = problemOf(cause);
    app.session = { kind: "out", ended: false };
  }
  waiting = false;
  app.redraw();
}

export function drawLogin(app: App, ended: boolean): Child {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const field = document.querySelector<HTMLTextAreaElement>("#token");
    if (field === null || field.value.trim() === "") return;
    const token = field.value;
    field.value = "";
    void signIn(app, token);
  };
  return h(
    "form",
    { class: "login panel", key: "login", onSubmit: submit },
    h("h1", null, "Sign in"),
    ended && h("p", { role: "status" }, "Your session has ended. After signing in, you return to this page."),
    h("p", null, "The console shows and does what your own Kubernetes account may."),
    command("millrace console", "With the account of your kubeconfig: run this, and open the address that it prints"),
    h(
      "p",
      { class: "soft" },
      "If your kubeconfig has no token, add ",
      h("code", null, "-n NAMESPACE --service-account NAME"),
      ".",
    ),
    h("h2", null, "Or paste a token"),
    h(
      "p",
      { class: "soft" },
      "The console keeps the token in memory until the session ends, and sends it only to this cluster's API server.",
    ),
    h("label", { for: "token" }, "Kubernetes token"),
    h("textarea", {
      id: "token",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
      "data-search": true,
      rows: 4,
      "aria-invalid": problem !== undefined,
      "aria-describedby": problem === undefined ? undefined : "token-problem",
      onKeydown: (event: KeyboardEvent) => {
        if (event.key === "Enter" && event.target instanceof HTMLTextAreaElement) {
          event.preventDefault();
          event.target.form?.requestSubmit();
        }
      },
    }),
    problem !== undefined &&
      h("p", { id: "token-problem", class: "field-problem", role: "alert" }, problemText(problem)),
    h(
      "p",
      null,
      h("button", { type: "submit", class: "primary", disabled: waiting }, waiting ? "Signing in …" : "Sign in"),
    ),
    command("kubectl create token NAME --namespace NAMESPACE --duration 8h", "To create a token of a ServiceAccount"),
  );
}

function problemText({ kind, message }: Problem): string {
  return kind === "signedOut" ? `The cluster does not accept this token: ${message}` : message;
}
