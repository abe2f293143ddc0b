// A real browser for the tests of the page, and what each page must do: no error in its console, no report of
// its content security policy, no request to another host, nothing that axe finds.
import { createRequire } from "node:module";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const WAIT_MS = 60000;

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium-headless-shell", args: FLAGS });
}

/* A tab with a memory of its own. `expected`: the statuses whose answers are part of the test. */
export async function open(browser, url, options = {}) {
  const { expected = [], ...told } = options;
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    locale: "en-GB",
    timezoneId: "UTC",
    ...told,
  });
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  const wrong = [];
  page.on("pageerror", error => wrong.push(`error: ${error.stack}`));
  page.on("console", message => {
    const text = message.text();
    const foreseen = expected.some(
      status => text.includes(`status of ${status} `) || (status === "gone" && /net::ERR_|ERR_CONNECTION/.test(text)),
    );
    if (["error", "warning"].includes(message.type()) && !foreseen) wrong.push(`${message.type()}: ${text}`);
  });
  page.on("request", request => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:"))
      wrong.push(`asked elsewhere: ${request.url()}`);
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", event =>
      window.violations.push(`${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  page.close_well = async () => {
    const reported = await page.evaluate(() => window.violations);
    await context.close();
    assert.deepEqual([...wrong, ...reported], []);
  };
  return page;
}

/* What axe finds in the page as it is now, one line each. */
async function violations(page) {
  if (!(await page.evaluate("typeof axe !== 'undefined'"))) await page.evaluate(AXE);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"], preload: false }));
  return found.violations.flatMap(one =>
    one.nodes.map(node => `${one.id}: ${node.target.join(" ")} ${node.any[0]?.message ?? one.help}`),
  );
}

export async function assertAccessible(page, name) {
  assert.deepEqual(await violations(page), [], name);
}

/* The first true value of `look`. */
export async function until(look, what) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${WAIT_MS / 1000} s: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}
