// The page in a real browser, against a mock of the API: what it shows, how it is used, and what it survives.
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { assertAccessible, launch, open, until } from "./browser.mjs";
import { Mock } from "./mock.mjs";

const VIEWS = ["#/", "#/domains", "#/domains/mastodon.example", "#/machines", "#/jobs", "#/audit", "#/settings"];
// Some at once: most of a test's time is waiting.
const AT_ONCE = 2;
const cases = [];
let browser;

/* A test with a mock of its own, which is gone afterwards. `run` gets { mock, url, at }. */
function shown(name, options, run) {
  cases.push([
    name,
    async () => {
      const mock = new Mock(options);
      const url = await mock.listen();
      const at = async (page, hash) => {
        await page.goto(url + hash);
        await page.locator("main h1").waitFor();
      };
      try {
        await run({ mock, url, at });
      } finally {
        await mock.close();
      }
    },
  ]);
}

const value = (page, tile) => page.locator(".tile .value").nth(tile).textContent();
const settled = page =>
  until(() => page.evaluate(() => !document.querySelector("main [aria-busy]")), "nothing is loading");
const status = (page, wanted) =>
  until(async () => (await page.locator(".connection").getAttribute("data-status")) === wanted, wanted);

shown("the overview shows numbers, and they move by themselves", {}, async ({ url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/");
  const first = await until(async () => (await value(page, 0)) !== "–" && value(page, 0), "a number");
  await until(
    async () =>
      (await value(page, 2)) !== first && (await page.locator(".connection").getAttribute("data-status")) === "live",
    "live numbers",
  );
  const flight = await value(page, 2);
  await until(async () => (await value(page, 2)) !== flight, "another number in flight");
  assert.match(await page.locator(".tile").nth(3).textContent(), /99\.\d%.*18 not delivered/);
  assert.match(await page.locator("table caption").first().textContent(), /Machines/);
  assert.equal(await page.title(), "Overview · fedpush · example.social");
  await page.close_well();
});

shown("plots have words and a table", {}, async ({ url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/");
  const canvas = page.locator(".plot .canvas").first();
  await page.locator(".plot canvas").first().waitFor();
  assert.match(
    await canvas.getAttribute("aria-label"),
    /^Deliveries a second, the last hour\. delivered: last \d+, least \d+, most \d+\.$/,
  );
  await page.locator(".plot summary").first().click();
  const rows = page.locator(".plot").first().locator("tbody tr");
  await until(async () => (await rows.count()) === 60, "a row a minute");
  await page.getByRole("radio", { name: "7 d" }).check();
  await until(async () => (await canvas.getAttribute("aria-label")).includes("the last 7 days"), "seven days");
  await until(async () => (await page.locator(".plot canvas").count()) === 8, "eight plots");
  const said = await page.locator(".plot .canvas").evaluateAll(all => all.map(one => one.getAttribute("aria-label")));
  for (const [at, words] of [
    [2, /^Success, the last 7 days\. success: last [\d.]+%, least [\d.]+%, most [\d.]+%\.$/],
    [4, /^Waiting in the queue, at most, .* jobs: last \d+, least \d+, most \d+\.$/],
    [6, /^In flight, at most, .* in flight: last \d+, least \d+, most \d+\.$/],
    [7, /^Open circuits, at most, .* open circuits: last \d+, least \d+, most \d+\.$/],
  ])
    assert.match(said[at], words);
  await at(page, "#/domains/mastodon.example");
  await until(async () => (await page.locator(".plot canvas").count()) === 4, "four plots of a host");
  await page.close_well();
});

shown("ten thousand domains: few rows in the document, the last one a jump away", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/domains");
  const table = page.locator("table.domains");
  await page.locator("table.domains tbody a").first().waitFor();
  assert.equal(await table.getAttribute("aria-rowcount"), "10001");
  assert.equal(await page.locator(".count").textContent(), "10,000 of 10,000 domains, the last 24 hours");
  assert.ok((await page.locator("table.domains tbody tr").count()) < 60);
  await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await page.locator('tr[aria-rowindex="10001"] a').waitFor();
  assert.ok((await page.locator("table.domains tbody tr").count()) < 60);
  assert.equal(await page.evaluate(() => document.querySelector('tr[aria-rowindex="10001"]').offsetHeight), 52);
  const asked = mock.requests;
  for (let n = 0; n < 40; n++) {
    await page.mouse.wheel(0, -20000);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
  await page.locator('tr[aria-rowindex="2"] a').waitFor();
  assert.ok(mock.requests - asked < 80, "pages are asked for once");
  await page.close_well();
});

shown("domains are sorted by mouse and keyboard, searched and filtered", {}, async ({ url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/domains");
  const first = page.locator("table.domains tbody a").first();
  await first.waitFor();
  assert.equal(await page.locator("th[aria-sort]").textContent(), "Delivered");
  await page.getByRole("button", { name: "Domain", exact: true }).click();
  await until(async () => /^art/.test(await first.textContent()), "sorted by host");
  assert.equal(await page.locator("th.col-host").first().getAttribute("aria-sort"), "ascending");
  await page.keyboard.press("Enter");
  await until(async () => /^toot/.test(await first.textContent()), "the other way by keyboard");
  assert.equal(await page.locator("th.col-host").first().getAttribute("aria-sort"), "descending");
  await page.getByRole("radio", { name: "circuit open" }).check();
  await until(
    async () => (await page.locator("tbody .state").first().getAttribute("data-state")) === "open",
    "only open circuits",
  );
  assert.deepEqual([...new Set(await page.locator("tbody .state").allTextContents())], ["circuit open"]);
  await page.getByRole("searchbox").fill("misskey");
  await until(async () => (await first.textContent()).startsWith("misskey"), "found");
  assert.match(page.url(), /#\/domains\?search=misskey&state=open&sort=host&order=desc$/);
  await page.reload();
  await until(async () => (await first.textContent()).startsWith("misskey"), "found again after a reload");
  await page.getByRole("searchbox").fill("no such host");
  await page.getByText("No domain is like that.").waitFor();
  await page.getByRole("button", { name: "Show all domains" }).click();
  await until(async () => (await page.locator(".count").textContent()) === "10,000 of 10,000 domains, the last 24 hours", "all again");
  await page.close_well();
});

shown("back from a domain, the list stands where it was", {}, async ({ url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/domains");
  await page.locator("table.domains tbody a").first().waitFor();
  await page.evaluate(() => scrollTo(0, 52 * 3000));
  const row = page.locator('tr[aria-rowindex="3005"] a');
  await row.waitFor();
  const host = await row.textContent();
  await row.click();
  await until(async () => (await page.locator("h1").textContent()) === host, "the domain");
  await page.goBack();
  await page.locator('tr[aria-rowindex="3005"] a').waitFor();
  await page.close_well();
});

shown("what strangers wrote is text", {}, async ({ url, at }) => {
  const page = await open(browser, url, { expected: [400] });
  await at(page, "#/domains/mastodon.example");
  await page.getByText("<script>document.title='owned'</script>").first().waitFor();
  assert.doesNotMatch(await page.title(), /owned/);
  await at(page, `#/domains/${encodeURIComponent("<img src=x onerror=alert(1)>")}`);
  await page.getByText("Nothing is known of <img src=x").waitFor();
  assert.equal(await page.locator("main img").count(), 0);
  await at(page, "#/domains/misspelt.example");
  await page.getByText("Nothing is known of misspelt.example").waitFor();
  await page.getByRole("button", { name: "Pause …" }).waitFor(); // ahead of its first delivery
  await page.close_well();
});

shown("a domain is paused for a time, and resumed", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/domains/mastodon.example");
  const pause = page.getByRole("button", { name: "Pause …" });
  await pause.click();
  const dialog = page.getByRole("dialog");
  assert.equal(await dialog.getByRole("heading").textContent(), "Pause deliveries to mastodon.example?");
  await page.keyboard.press("Escape");
  await until(async () => (await page.getByRole("dialog").count()) === 0, "Escape closes it");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Pause …");
  await page.keyboard.press("Enter");
  await dialog.getByLabel("For how long").selectOption("3600");
  await assertAccessible(page, "the dialog");
  await dialog.getByRole("button", { name: "Pause" }).click();
  await page.locator('.title-row [data-state="paused"]').waitFor();
  assert.deepEqual(mock.asked, ['POST domains/mastodon.example/pause {"for_s":3600,"now":false}']);
  await page.locator(".toast").getByText("Deliveries to mastodon.example are paused.").waitFor();
  await page.locator(".toast .under").getByText("done").waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.locator('.title-row [data-state="healthy"]').waitFor();
  await page.close_well();
});

shown("a host that is paused for another domain goes on with that one", {}, async ({ mock, url, at }) => {
  mock.policies.set("mastodon.example", { paused: true, paused_for: ["handle.example"] });
  const page = await open(browser, url);
  await at(page, "#/domains/mastodon.example");
  mock.done = { text: "resumed", says: [{ text: "", code: "give.resumed", params: { host: "mastodon.example" } }] };
  await page.getByRole("button", { name: "Resume" }).click();
  await page.locator('.title-row [data-state="healthy"]').waitFor();
  assert.deepEqual(mock.asked, ["POST domains/handle.example/resume {}"]);
  await page.locator(".toast").getByText("resumed: mastodon.example").waitFor();
  await page.close_well();
});

shown("limits are given, and a refusal is said in the dialog", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url, { expected: [422] });
  await at(page, "#/domains/mastodon.example");
  await page.getByRole("button", { name: "Limit …" }).click();
  const dialog = page.getByRole("dialog");
  const confirm = dialog.getByRole("button", { name: "Limit" });
  assert.ok(await confirm.isDisabled());
  await dialog.getByLabel("Rate").fill("a lot");
  assert.ok(await confirm.isDisabled());
  await dialog.getByLabel("Rate").fill("30/m");
  mock.failing.set("domains/mastodon.example/limit", {
    status: 422,
    title: "Not possible",
    detail: "the rate is below one a day",
  });
  await confirm.click();
  await dialog.getByText("the rate is below one a day").waitFor();
  mock.failing.clear();
  await confirm.click();
  await page.locator('.title-row [data-state="limited"]').waitFor();
  assert.deepEqual(mock.asked, ['POST domains/mastodon.example/limit {"rate":"30/m","for_s":null}']);
  await page.getByText("mastodon.example: 30 a minute").waitFor();
  await page.getByRole("button", { name: "Limit …" }).click();
  assert.equal(await dialog.getByLabel("Rate").inputValue(), "30/m");
  await dialog.getByLabel("Rate").fill("");
  await confirm.click();
  await until(() => mock.asked.length === 2, "the rate is taken back");
  assert.equal(mock.asked[1], 'POST domains/mastodon.example/limit {"rate":"0","for_s":null}');
  await page.close_well();
});

shown("a domain is shown before the machines have answered", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  mock.asking = true;
  await at(page, "#/domains/mastodon.example");
  await page.getByText("Asking the machines …").waitFor();
  mock.asking = false;
  await page.getByText("2 in flight, window 4 of 32, nothing waits").waitFor();
  await page.close_well();
});

shown("what is not answered in time is said, and asked again", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url, { expected: ["gone"] });
  await page.clock.install();
  mock.silent = "audit";
  await at(page, "#/audit");
  await until(() => mock.gets.includes("audit"), "the audit trail is asked for");
  await page.clock.fastForward(31000);
  await page.getByText("No answer has come in time").waitFor();
  mock.silent = null;
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator("main table tbody tr").first().waitFor();
  await page.close_well();
});

shown("what the page asks by itself is no use of the session", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await page.clock.install();
  const again = async (hash, path) => {
    mock.gets.length = 0;
    await at(page, hash);
    await until(() => mock.gets.includes(path), `${path} is asked`);
    await settled(page);
    await page.clock.fastForward(31000);
    await until(() => mock.gets.includes(`${path} by itself`), `${path} is asked again`);
    assert.equal(mock.gets.filter(got => got === path).length, 1);
  };
  await again("#/", "series");
  await again("#/domains", "domains");
  await again("#/domains/mastodon.example", "domains/mastodon.example");
  await page.close_well();
});

shown("dropping wants the domain's name typed, and says what waits", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/domains/mastodon.example");
  await page.getByRole("button", { name: "Drop what waits …" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("41 jobs wait.").waitFor();
  assert.deepEqual(await dialog.getByRole("listitem").allTextContents(), [
    "mastodon.example",
    "all hosts below mastodon.example",
    "inbox.of-mastodon.example",
  ]);
  await assertAccessible(page, "drop");
  assert.equal(await dialog.getByText("are left out").count(), 0);
  await dialog.getByRole("button", { name: "Cancel" }).click();
  mock.left_out = [{ text: "hosts … are left out: away", code: "give.left_out", params: { reason: [{ text: "away" }] } }];
  await page.getByRole("button", { name: "Drop what waits …" }).click();
  await dialog.getByText("hosts that only Mastodon's table knows are left out: away").waitFor();
  const confirm = dialog.getByRole("button", { name: "Drop for good" });
  await dialog.getByRole("textbox").fill("mastodon.exampl");
  assert.ok(await confirm.isDisabled());
  await dialog.getByRole("textbox").fill("mastodon.example");
  await confirm.click();
  await until(() => mock.asked.length > 0, "it was ordered");
  assert.deepEqual(mock.asked, ['POST domains/mastodon.example/drop {"confirm":"mastodon.example"}']);
  await page.close_well();
});

shown("everything is paused after one question, and goes on from the banner", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/");
  await page.getByRole("button", { name: "Pause everything" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Pause everything" }).click();
  const banner = page.getByRole("region", { name: "Everything is paused." });
  await banner.waitFor();
  assert.deepEqual(mock.asked, ['POST pause {"machine":null,"for_s":null}']);
  await assertAccessible(page, "paused");
  await page.goto(`${url}#/machines`);
  await banner.getByRole("button", { name: "Resume everything" }).click();
  await until(async () => (await banner.count()) === 0, "the banner is gone");
  await page.close_well();
});

shown("a machine is paused and drained", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/machines");
  const button = await page.getByRole("button", { name: "Drain …: mx2" }).elementHandle();
  const numbers = () => page.locator(".gauge .figure").allTextContents();
  const before = String(await numbers());
  await until(async () => String(await numbers()) !== before, "the numbers move");
  await button.click(); // the same as before: a click isn't lost because numbers moved
  await page.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
  await until(() => mock.asked.length === 1, "drained");
  await page.getByRole("button", { name: "Pause …: mx1" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Pause" }).click();
  await until(() => mock.asked.length === 2, "paused");
  assert.match(mock.asked[0], /^POST machines\/mx2%3A4211%3A\w+\/drain \{"confirm":"mx2:4211:\w+"\}$/);
  assert.match(mock.asked[1], /^POST pause \{"machine":"mx1:4210:\w+","for_s":null\}$/);
  await page.close_well();
});

shown(
  "who isn't signed in signs in",
  { me: { who: null, right: null, login: "password", csrf: null } },
  async ({ url, at }) => {
    const page = await open(browser, url, { expected: [401] });
    await at(page, "#/domains");
    assert.equal(await page.locator("nav").isVisible(), false);
    await assertAccessible(page, "login");
    await page.getByLabel("Password").fill("guess");
    await page.keyboard.press("Enter");
    await page.getByText("The password is wrong.").waitFor();
    await page.getByLabel("Password").fill("correct horse");
    await page.keyboard.press("Enter");
    await page.locator("table.domains tbody a").first().waitFor();
    await page.goto(`${url}#/settings`);
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.getByLabel("Password").waitFor();
    await page.close_well();
  },
);

shown(
  "a session that ends shows the way in again",
  { me: { who: null, right: null, login: "password oauth", csrf: null }, prefix: "/fed/push/" },
  async ({ mock, url, at }) => {
    const page = await open(browser, url, { expected: [401, "gone"] });
    await at(page, "?login=denied#/");
    await page.getByText("Your account needs a role that may see Sidekiq's Web UI").waitFor();
    assert.equal(page.url(), `${url}#/`);
    assert.equal(
      await page.getByRole("link", { name: "Sign in with your Mastodon account" }).getAttribute("href"),
      "/fed/push/api/v1/login/mastodon",
    );
    await page.getByLabel("Password").fill("correct horse");
    await page.keyboard.press("Enter");
    await until(async () => (await value(page, 0)) !== "–", "numbers under a prefix");
    mock.me = { ...mock.me, who: null, right: null };
    for (const stream of mock.streams) stream.destroy();
    await page.getByLabel("Password").waitFor();
    await page.close_well();
  },
);

shown(
  "who may only read sees no action, and why",
  { me: { who: "anonymous", right: "read", login: "none", csrf: null } },
  async ({ url, at }) => {
    const page = await open(browser, url);
    for (const hash of ["#/", "#/machines", "#/domains/mastodon.example", "#/settings"]) {
      await at(page, hash);
      await page.getByText("FEDPUSH_ADMIN_PASSWORD_HASH").first().waitFor();
      assert.equal(await page.locator("button.danger-line, button.stop").count(), 0, hash);
    }
    await page.close_well();
  },
);

shown("a restart of the server is survived, and said", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url, { expected: ["gone"] });
  await at(page, "#/");
  await status(page, "live");
  const port = mock.port;
  await mock.close();
  await status(page, "lost");
  await page.getByText(/Connection lost, trying again\. What is shown is .*\d.* old\./).waitFor();
  await until(async () => /Connection lost/.test(await page.locator("#spoken").textContent()), "it is spoken");
  const again = new Mock();
  try {
    await again.listen(port);
    await status(page, "live");
    const flight = await value(page, 2);
    await until(async () => (await value(page, 2)) !== flight, "numbers move again");
    await page.close_well();
  } finally {
    await again.close();
  }
});

shown("a tab that nobody sees leaves its connection to others", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await page.clock.install();
  await at(page, "#/");
  await status(page, "live");
  const show = hidden =>
    page.evaluate(value => {
      Object.defineProperty(document, "hidden", { get: () => value, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await show(true);
  assert.equal(mock.streams.size, 1);
  await page.clock.fastForward(61000);
  await until(() => mock.streams.size === 0, "the stream is closed");
  await show(false);
  await until(() => mock.streams.size === 1, "a stream again");
  await status(page, "live");
  await page.close_well();
});

shown("where no stream comes through, the numbers are asked for", {}, async ({ mock, url, at }) => {
  mock.streaming = false;
  const page = await open(browser, url, { expected: [503] });
  await at(page, "#/");
  await page.getByText("Asking every 5 s").waitFor();
  assert.notEqual(await value(page, 0), "–");
  await page.close_well();
});

shown("problems are said with what to do, and tried again", {}, async ({ mock, url, at }) => {
  mock.failing.set("series", {
    status: 503,
    title: "PostgreSQL doesn't answer",
    detail: "start it, or look at fedpush check",
  });
  mock.failing.set("domains", {
    status: 503,
    title: "PostgreSQL doesn't answer",
    detail: "start it, or look at fedpush check",
  });
  const page = await open(browser, url, { expected: [503] });
  await at(page, "#/");
  await page.getByText("start it, or look at fedpush check").waitFor();
  await until(async () => (await value(page, 0)) !== "–", "the numbers of Redis");
  await at(page, "#/domains");
  await page.getByText("start it, or look at fedpush check").waitFor();
  await assertAccessible(page, "a problem");
  mock.failing.clear();
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator("table.domains tbody a").first().waitFor();
  await page.close_well();
});

shown("an empty fedpush says what to do", { domains: 0 }, async ({ mock, url, at }) => {
  mock.machines = [];
  const page = await open(browser, url);
  await at(page, "#/domains");
  await page.getByText("No delivery has been made yet.").waitFor();
  await at(page, "#/machines");
  await page.getByText("systemctl start fedpush").waitFor();
  await page.close_well();
});

shown("alerts and a machine's doubt are shown, and spoken when they come", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/");
  await page.getByText("Nothing needs you.").waitFor();
  mock.alerts = [{ id: "queue-age", since: Date.now() / 1000, text: "The oldest job in push has waited for 5 min." }];
  mock.suspicious = ["mx2"];
  await page.getByText("mx2 suspects itself").first().waitFor();
  await until(
    async () => /1 alert: The oldest job in push/.test(await page.locator("#spoken").textContent()),
    "spoken",
  );
  await page.locator('[data-state="suspicious"]').first().waitFor();
  await assertAccessible(page, "alerts");
  await page.close_well();
});

shown("the keyboard goes everywhere, and the focus follows the views", {}, async ({ url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/");
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "Overview");
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
  await page.getByRole("link", { name: "Domains" }).focus();
  await page.keyboard.press("Enter");
  await until(
    async () => (await page.evaluate(() => document.activeElement.tagName)) === "H1" && (await focused()) === "Domains",
    "the new heading has the focus",
  );
  assert.equal(await page.locator('nav a[aria-current="page"]').textContent(), "Domains");
  await page.close_well();
});

shown("tokens are made, shown once, and revoked", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/settings");
  await page.getByRole("button", { name: "New token …" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("cron");
  await page.getByRole("dialog").getByLabel("May act, too").check();
  await page.getByRole("button", { name: "Make it" }).click();
  await until(
    async () => (await page.getByLabel("The token, shown only now").inputValue()) === "fp_0123456789abcdef",
    "the token",
  );
  await page.getByRole("button", { name: "Revoke: grafana" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await until(async () => (await page.getByText("grafana", { exact: true }).count()) === 0, "it is gone");
  assert.deepEqual(mock.asked, ['POST tokens {"name":"cron","full":true}', "DELETE tokens/grafana"]);
  await page.close_well();
});

shown("jobs are told by class and domain, the audit page by page", {}, async ({ url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/jobs");
  await page.getByText("ActivityPub::LowPriorityDeliveryWorker").waitFor();
  await page.getByText("100,000 of 120,000 were read.").waitFor();
  await at(page, "#/audit");
  await page.getByRole("button", { name: "Show older ones" }).click();
  await until(async () => !(await page.getByRole("button", { name: "Show older ones" }).isVisible()), "no older ones");
  await until(async () => (await page.locator("tbody tr").count()) === 50, "all of them");
  await page.close_well();
});

shown("what the server says itself is said in the page's language", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url, { locale: "ja-JP", expected: [422] });
  mock.alerts = [
    {
      id: "queue-age",
      since: Date.now() / 1000,
      text: "queue push: the oldest of 1234 jobs has waited for 5 min (limit: 2 min): fedpush status",
      code: "alert.queue_age",
      params: { jobs: 1234, age_s: 300, limit_s: 120 },
    },
    { id: "new", since: Date.now() / 1000, text: "of a newer server", code: "alert.of_tomorrow", params: {} },
    { id: "other", since: Date.now() / 1000, text: "with other values", code: "alert.keys", params: { jobs: 1 } },
    { id: "old", since: Date.now() / 1000, text: "of an older machine" },
  ];
  mock.suspicious = ["mx2"];
  mock.why = {
    text: "mastodon.example: it failed 3 times in a row: the next try is due in 8 s; 5 waiting, …",
    code: "lane.words",
    params: {
      host: "mastodon.example",
      reason: [{ text: "it failed …", code: "lane.spaced", params: { failures: 3, wait_s: 8 } }],
      waiting: 5,
      in_flight: 0,
      window: 1,
      mean_ms: 120,
    },
  };
  mock.trouble = {
    postgres: "the server closed the connection",
    postgres_says: [{ text: "the server closed the connection", code: "reason.pg_closed", params: {} }],
  };
  mock.done = {
    text: "the fleet pauses within two seconds",
    says: [{ text: "the fleet pauses within two seconds", code: "give.fleet_pauses", params: {} }],
  };
  await at(page, "#/");
  await page.getByText("最も古いジョブが 5 分待機しています（上限: 2 分）").waitFor();
  await page.getByText("mx2 は自身の異常を疑っています").first().waitFor();
  for (const words of ["of a newer server", "with other values", "of an older machine"])
    assert.equal(await page.getByText(words).getAttribute("lang"), "en");
  await at(page, "#/domains/mastodon.example");
  await page
    .getByText(/mastodon\.example: 3 回連続で失敗しました。次の試行は 8 秒後です（待機中 5、.*1 件あたり 120 \S+）/)
    .waitFor();
  await page.getByText("knows nothing of it").waitFor();
  mock.failing.set("domains/mastodon.example/try", {
    status: 422,
    title: "Unprocessable Content",
    detail: "mastodon.example is paused: resume it first",
    said: { code: "order.paused", params: { name: "mastodon.example" } },
  });
  await page.getByRole("button", { name: "今すぐ試す" }).click();
  await page.getByText("mastodon.example は一時停止中です。先に再開してください。").waitFor();
  await page.getByText("この内容では実行できません").waitFor();
  await at(page, "#/audit");
  await page.getByRole("cell", { name: "ドメインの制限", exact: true }).first().waitFor();
  await page.getByRole("cell", { name: "毎分 30 件まで", exact: true }).first().waitFor();
  mock.policies.set("mastodon.example", { paused: true });
  await at(page, "#/domains");
  await page.locator(".under", { hasText: /^一時停止中$/ }).first().waitFor();
  await at(page, "#/machines");
  await page.getByText("PostgreSQL: サーバーが接続を閉じました。").first().waitFor();
  await at(page, "#/");
  await page.getByRole("button", { name: "すべて一時停止" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "すべて一時停止" }).click();
  await page.getByText("2 秒以内に全マシンが一時停止します。").waitFor();
  await page.close_well();
});

shown("the jobs of any domain are counted, its dead ones too", {}, async ({ mock, url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/jobs");
  await page.getByText("1,200 more domains have jobs here").first().waitFor();
  const host = mock.domains[40].host;
  await page.getByRole("searchbox").fill(host);
  await page.keyboard.press("Enter");
  await page.getByRole("table", { name: "Dead: jobs by domain" }).getByText(host).waitFor();
  assert.equal(await page.locator("#place-dead + .total").textContent(), "7");
  assert.equal(await page.getByText("more domains have jobs here").count(), 0);
  await assertAccessible(page, "jobs of one domain");
  await page.reload();
  await page.getByRole("table", { name: "Dead: jobs by domain" }).getByText(host).waitFor();
  await at(page, "#/domains/mastodon.example");
  await page.getByRole("button", { name: "Count now" }).click();
  await page.getByRole("link", { name: "6", exact: true }).click();
  await until(async () => (await page.getByRole("searchbox").inputValue()) === "mastodon.example", "its jobs");
  await page.close_well();
});

shown("language and theme are chosen by the browser, switched and kept", {}, async ({ url, at }) => {
  const page = await open(browser, url, { locale: "ja-JP", colorScheme: "dark" });
  await at(page, "#/");
  assert.equal(await page.locator("h1").textContent(), "概要");
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await page.getByRole("button", { name: "ライト表示" }).click();
  await page.getByRole("button", { name: "English" }).click();
  await until(async () => (await page.locator("h1").textContent()) === "Overview", "English");
  await page.reload();
  await page.locator("main h1").waitFor();
  assert.equal(await page.locator("h1").textContent(), "Overview");
  assert.equal(
    await page.evaluate(() => document.documentElement.lang + document.documentElement.dataset.theme),
    "enlight",
  );
  await page.close_well();
});

shown("times are relative with the exact one at hand, or exact", {}, async ({ url, at }) => {
  const page = await open(browser, url);
  await at(page, "#/audit");
  const time = page.locator("tbody time").first();
  assert.equal(await time.textContent(), "50 minutes ago");
  assert.match(await time.getAttribute("title"), /^\d+ \w+ 20\d\d, \d\d:\d\d:\d\d$/);
  assert.match(await time.getAttribute("datetime"), /^20\d\d-\d\d-\d\dT[\d:.]+Z$/);
  await at(page, "#/settings");
  await page.getByLabel("Times").selectOption("absolute");
  await at(page, "#/audit");
  assert.match(await time.textContent(), /^\d+ \w+ 20\d\d, \d\d:\d\d:\d\d$/);
  await page.close_well();
});

for (const [colorScheme, locale] of [
  ["light", "en-GB"],
  ["dark", "ja-JP"],
]) {
  shown(`axe finds nothing in any view, ${colorScheme}, ${locale}`, {}, async ({ url, at }) => {
    const page = await open(browser, url, { colorScheme, locale });
    for (const hash of VIEWS) {
      await at(page, hash);
      await settled(page);
      await status(page, "live");
      await assertAccessible(page, hash);
    }
    await page.close_well();
  });
}

shown("nothing is wider than a phone, nothing moves for those who don't want it", {}, async ({ url, at }) => {
  for (const locale of ["en-GB", "ja-JP"]) {
    const page = await open(browser, url, { viewport: { width: 360, height: 740 }, locale, reducedMotion: "reduce" });
    for (const hash of VIEWS) {
      await at(page, hash);
      await settled(page);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, `${locale} ${hash}`);
      assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
    }
    if (locale === "en-GB") await assertAccessible(page, "on a phone");
    await page.close_well();
  }
});

describe("the page", { concurrency: AT_ONCE, timeout: 300000 }, () => {
  before(async () => {
    browser = await launch();
  });
  after(() => browser.close());
  for (const [name, run] of cases) test(name, run);
});
