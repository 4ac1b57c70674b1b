/**
 * Starts the page.
 */

import { App, type MakeView } from "./app";
import { listenToKeys } from "./keys";
import type { ViewName } from "./router";
import { drawShell } from "./shell";
import { followView } from "./views/follow";
import { lagView } from "./views/lag";
import { lettersView } from "./views/letters";
import { signIn, takeFragmentToken } from "./views/login";
import { logsView } from "./views/logs";
import { messagesView } from "./views/messages";
import { overviewView } from "./views/overview";
import { pipelinesView } from "./views/pipelines";
import { resourceView } from "./views/resource";
import { runsView } from "./views/runs";
import { signalsView } from "./views/signals";
import { tablesView } from "./views/tables";
import type { Page, View } from "./app";
import type { Live } from "./net/live";

const PIPELINE_VIEWS: Record<ViewName, (page: Page, live: Live) => View> = {
  overview: overviewView,
  lag: lagView,
  signals: signalsView,
  messages: messagesView,
  runs: runsView,
  logs: logsView,
  tables: tablesView,
  letters: lettersView,
  follow: followView,
  resource: resourceView,
};

/** Draws nothing; the shell says that there is no such page. */
const NOWHERE: View = { draw: () => undefined };

const makeView: MakeView = (page, live) => {
  const { place } = page.route;
  if (place.kind === "pipelines") return pipelinesView(page);
  if (place.kind === "pipeline" && live !== undefined) return PIPELINE_VIEWS[place.view](page, live);
  return NOWHERE;
};

const token = takeFragmentToken();
const root = document.querySelector("#page");
if (root !== null) {
  root.replaceChildren();
  const app = new App(root, makeView, drawShell);
  listenToKeys(app);
  if (token === undefined) void app.start();
  else void signIn(app, token);
}
