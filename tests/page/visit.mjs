// A browser at a real fedpush, led line by line: {"step": NAME, ...} comes in, {"ok": ...} or {"problem": ...} goes out.
// Used by tests/integration/test_page.py and test_numbers.py.
import assert from "node:assert/strict";
import readline from "node:readline";
import { assertAccessible, launch, open, until } from "./browser.mjs";

const browser = await launch();
let page;
let url;

const delivered = async () => Number((await page.locator(".tile .note").first().textContent()).replace(/\D/g, ""));
const status = wanted =>
  until(async () => (await page.locator(".connection").getAttribute("data-status")) === wanted, wanted);
const badge = wanted => page.locator(`.title-row [data-state="${wanted}"]`).waitFor();
const action = name => page.getByRole("button", { name });

async function view(hash) {
  await page.goto(url + hash);
  await page.locator("main h1").waitFor();
  await until(() => page.evaluate(() => !document.querySelector("main [aria-busy]")), `${hash} is loaded`);
}

async function shoot(name) {
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/${name}.png`, fullPage: true });
}

// What the view is called, unless that is a host, is in the page's language.
async function assertSpeaks(language, hash) {
  const title = await page.locator("main h1").textContent();
  assert.equal(await page.evaluate(() => document.documentElement.lang), language);
  if (!title.includes(".")) assert.equal(/[\u3040-\u30ff\u4e00-\u9fff]/.test(title), language === "ja", hash);
}

// Nobody scrolls sideways: what sticks out of the window, unless it scrolls in a place of its own.
const tooWide = () =>
  page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    return document.documentElement.scrollWidth <= width
      ? []
      : [...document.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right > width + 1)
          .map(one => `${one.tagName}.${one.className}`)
          .slice(0, 9);
  });

const steps = {
  async sign_in({ at, password }) {
    url = at;
    page = await open(browser, url, { expected: [401, 422, 503, "gone"] });
    await page.goto(url);
    await page.getByLabel("Password").fill(password);
    await page.keyboard.press("Enter");
    await until(async () => (await page.locator("h1").textContent()) === "Overview", "signed in");
    await status("live");
  },

  // What the overview says was delivered in the last minute, twice.
  async numbers_move() {
    await view("#/");
    const first = await until(delivered, "a delivery");
    return [first, await until(async () => (await delivered()) !== first && delivered(), "another number")];
  },

  async sort_and_filter({ search, count }) {
    await view("#/domains");
    const hosts = () => page.locator("table.domains tbody a").allTextContents();
    await until(async () => (await hosts()).length === count, `${count} domains`);
    await page.getByRole("button", { name: "Domain", exact: true }).click();
    const sorted = await until(async () => {
      const found = await hosts();
      return found.length > 1 && found.every((host, at) => at === 0 || found[at - 1] < host) && found;
    }, "sorted by name");
    await page.getByRole("radio", { name: "healthy" }).check();
    await page.getByRole("searchbox").fill(search);
    const found = await until(async () => {
      const left = await hosts();
      return left.length > 0 && left.every(host => host.includes(search)) && left;
    }, `only ${search} is left`);
    return { sorted, found };
  },

  async open_found() {
    await page.locator("table.domains tbody a").first().click();
    await badge("healthy");
    return page.locator("h1").textContent();
  },

  async pause() {
    await action("Pause …").click();
    await page.getByRole("dialog").getByLabel("For how long").selectOption("3600");
    await page.getByRole("dialog").getByRole("button", { name: "Pause" }).click();
    await badge("paused");
    await until(async () => /paused/.test(await page.locator(".why").textContent()), "the scheduler says so");
    await until(
      async () => (await page.getByRole("cell", { name: "domain pause", exact: true }).count()) > 0,
      "the audit has it",
    );
  },

  async shown_delivered({ count }) {
    const shown = () => page.locator(".tiles.four .value").first().textContent();
    await until(async () => (await shown()) === count.toLocaleString("en-GB"), `${count} delivered are shown`);
  },

  // [domain, delivered, not delivered] of each row of the table.
  async table() {
    await view("#/domains");
    return page.locator("table.domains tbody tr:not(.spacer)").evaluateAll(rows =>
      rows.map(row => ["a", ".col-delivered", ".col-failed"].map(part => row.querySelector(part)?.textContent ?? "")),
    );
  },

  // What stands in the tiles of a domain's view: [value, note] of each.
  async tiles({ hash }) {
    await view(hash);
    await page.locator(".tiles.four .value").first().waitFor();
    return page
      .locator(".tiles.four .tile")
      .evaluateAll(tiles =>
        tiles.map(tile => [".value", ".note"].map(part => tile.querySelector(part)?.textContent ?? "")),
      );
  },

  // The overview's facts, by name.
  async facts() {
    await view("#/");
    await page.locator(".facts dd").first().waitFor();
    return page
      .locator(".facts > div")
      .evaluateAll(facts =>
        Object.fromEntries(facts.map(fact => ["dt", "dd"].map(part => fact.querySelector(part).textContent))),
      );
  },

  // While the host is paused: why nothing is sent, what was ordered, and why it can't be tried.
  async in_japanese({ host }) {
    await action("日本語").click();
    await until(async () => (await page.locator(".why").textContent()).includes("管理者が一時停止しています"), "why");
    await page.getByRole("cell", { name: "ドメインの一時停止", exact: true }).first().waitFor();
    await action("今すぐ試す").click();
    await page.getByText(`${host} は一時停止中です。先に再開してください。`).waitFor();
    await view("#/domains");
    await page.getByText("一時停止中（残り").first().waitFor();
    await action("English").click();
    await page.goBack();
    await badge("paused");
  },

  async resume() {
    await action("Resume").click();
    await until(async () => (await page.locator('.title-row [data-state="paused"]').count()) === 0, "it isn't paused");
  },

  async watch_connection() {
    await page.evaluate(() => {
      window.statuses = [];
      const shown = document.querySelector(".connection");
      new MutationObserver(() => window.statuses.push(shown.dataset.status)).observe(shown, {
        attributeFilter: ["data-status"],
      });
    });
  },

  async reconnected() {
    await until(
      () => page.evaluate(() => window.statuses.includes("lost") && window.statuses.at(-1) === "live"),
      "lost, then live",
    );
  },

  async pause_everything() {
    await view("#/");
    await action("Pause everything").click();
    await page.getByRole("dialog").getByRole("button", { name: "Pause everything" }).click();
    await page.getByText("Everything is paused.").first().waitFor();
  },

  async resume_everything() {
    await action("Resume everything").click();
    await until(
      async () => (await page.getByRole("region", { name: "Everything is paused." }).count()) === 0,
      "it goes on",
    );
  },

  // On a phone, in Japanese, or both: `width`, `language`.
  async views({ theme, hashes, width = 1280, language = "en" }) {
    await page.emulateMedia({ colorScheme: theme });
    await page.setViewportSize({ width, height: 900 });
    if ((await page.evaluate(() => document.documentElement.lang)) !== language)
      await action(language === "ja" ? "日本語" : "English").click();
    for (const hash of hashes) {
      await view(hash);
      await assertSpeaks(language, hash);
      assert.deepEqual(await tooWide(), [], `${width} ${hash}`);
      await assertAccessible(page, `${theme} ${width} ${language} ${hash}`);
      await shoot(`real-${theme}-${width}-${language}-${hash.replace(/\W+/g, "-")}`);
    }
  },

  async sign_out() {
    await view("#/settings");
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.getByLabel("Password").waitFor();
    await page.close_well();
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  try {
    assert.ok(told.step in steps, told.step);
    console.log(JSON.stringify({ ok: (await steps[told.step](told)) ?? null }));
  } catch (problem) {
    const seen = await page
      ?.locator("body")
      .innerText()
      .catch(() => "");
    console.log(JSON.stringify({ problem: `${problem.stack}\n\n${seen}` }));
  }
}
await browser.close();
