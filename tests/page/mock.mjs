// A fedpush that answers the page without one: the API's shapes, ten thousand domains, and faults on demand.
// node tests/page/mock.mjs [PORT] serves it for development.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "admin", "page");
const UPLOT = join(PAGE, "node_modules", "uplot");
const TYPES = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  json: "application/json",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
};
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const DAY_S = 86400;

// The same numbers each time.
function dice(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const now = () => Date.now() / 1000;

// What an order has done, in words that the page has no translation for.
const uncoded = text => ({ text, says: [{ text, code: "", params: {} }] });

const ERRORS = [
  "connection refused",
  "HTTP 503",
  "certificate has expired",
  "name not found",
  "timed out after 10 s",
  "HTTP 401: <script>document.title='owned'</script>",
];
const WORDS = [
  "mastodon",
  "social",
  "fosstodon",
  "mas.to",
  "pixel",
  "toot",
  "hachyderm",
  "misskey",
  "lemmy",
  "peer",
  "cat",
  "cafe",
  "art",
  "dev",
  "green",
  "nerd",
];
const ENDS = ["example", "example.org", "example.net", "social.example", "town.example", "garden.example"];

function makeDomains(count) {
  const roll = dice(7);
  const states = ["healthy", "healthy", "healthy", "healthy", "healthy", "healthy", "failing", "open", "idle", "idle"];
  return Array.from({ length: count }, (_, n) => {
    const state =
      n === 4 ? "paused" : n === 7 ? "limited" : n === 9 ? "unavailable" : states[Math.floor(roll() * states.length)];
    const failing = state === "open" || state === "failing" || state === "unavailable";
    const delivered = state === "idle" || state === "open" ? 0 : Math.floor(40000 / (n + 2)) + Math.floor(roll() * 30);
    const retried = failing ? Math.floor(roll() * 40) + 3 : Math.floor(roll() * 2);
    const rejected = roll() < 0.04 ? 1 : 0;
    const base = 40 + roll() * 300;
    const all = delivered + retried + rejected;
    return {
      host: `${WORDS[n % WORDS.length]}${n < WORDS.length ? "" : n}.${ENDS[n % ENDS.length]}`,
      state,
      delivered,
      retried,
      rejected,
      exhausted: 0,
      total_delivered: delivered * 31 + 5,
      success_rate: all === 0 ? null : delivered / all,
      p50_ms: all === 0 ? null : Math.round(base),
      p95_ms: all === 0 ? null : Math.round(base * 3.2),
      p99_ms: all === 0 ? null : Math.round(base * 7.7),
      consecutive_failures: failing ? retried : 0,
      last_success_at: failing ? now() - 7200 - roll() * DAY_S : now() - roll() * 600,
      failing_since: failing ? now() - 3600 - roll() * 3 * DAY_S : null,
      last_status: failing ? 503 : 202,
      last_error: failing ? ERRORS[n % ERRORS.length] : null,
      followers: Math.floor(3000 / (n + 1)),
      policy: state === "paused" ? "paused by admin" : state === "limited" ? "30 a minute" : null,
      policy_says: null,
    };
  });
}

function report(host, at) {
  return {
    v: 1,
    at,
    host,
    version: "0.1.0",
    mastodon: "4.5.15",
    state: "running",
    suspicious: false,
    started_at: at - 3 * DAY_S - 4000,
    workers: 2,
    in_flight: 37,
    slots: 2048,
    held: 212,
    waiting: 175,
    lookahead: 4096,
    lanes: 148,
    open_circuits: 23,
    keys_waiting: 0,
    lag_ms: 3,
    cpu: 0.42,
    rss_bytes: 71500000,
    dns_failures: 2,
    recent: { seconds: 60, delivered: 4321, retried: 14, rejected: 2, exhausted: 0 },
    totals: { delivered: 18273645, retried: 51234, rejected: 2231, exhausted: 120, handed_off: 5120, sent_bytes: 38e9 },
    latency: Array(24).fill(0),
    postgres: null,
  };
}

export class Mock {
  constructor(options = {}) {
    this.domains = makeDomains(options.domains ?? 10000);
    this.me = options.me ?? { who: "admin", right: "act", login: "password", csrf: "c5f" };
    this.prefix = options.prefix ?? "/";
    this.paused = null;
    this.policies = new Map();
    this.asked = []; // "POST domains/x/pause {...}"
    this.left_out = []; // sentences: which hosts of a domain are not known
    this.silent = null; // what begins like this is never answered
    this.asking = false; // no machine has said its words yet
    this.gets = []; // paths, and whether the page asked by itself
    this.tokens = [{ name: "grafana", right: "read", created_at: now() - 9 * DAY_S, made_by: "@alice" }];
    this.alerts = [];
    this.machines = ["mx1", "mx2"];
    this.suspicious = [];
    this.trouble = {}; // what each machine reports besides
    this.why = {}; // what the first machine says of a domain, with its code
    this.done = uncoded("done"); // what an order answers
    this.failing = new Map(); // path prefix -> problem
    this.streams = new Set();
    this.requests = 0;
    this.streaming = true;
    this.tick = 0;
    this.quiet = false;
  }

  async listen(port = 0) {
    this.server = http.createServer((request, response) =>
      this.answer(request, response).catch(error => {
        response.statusCode = 500;
        response.end(String(error.stack));
      }),
    );
    await new Promise(resolve => this.server.listen(port, "127.0.0.1", resolve));
    this.port = this.server.address().port;
    this.timer = setInterval(() => this.push(), 300);
    return `http://127.0.0.1:${this.port}${this.prefix}`;
  }

  async close() {
    clearInterval(this.timer);
    this.streams.clear();
    if (!this.server.listening) return;
    this.server.closeAllConnections();
    await new Promise(resolve => this.server.close(resolve));
  }

  push() {
    if (!this.quiet) this.tick++;
    for (const stream of this.streams) stream.write(`event: overview\ndata: ${JSON.stringify(this.overview())}\n\n`);
  }

  overview() {
    const roll = dice(this.tick);
    const at = now();
    const delivered = this.paused ? 0 : Math.round(4100 + 300 * Math.sin(this.tick / 20) + roll() * 100);
    const failed = this.paused ? 0 : 16;
    return {
      at,
      paused: this.paused,
      suspicious: this.suspicious,
      recent: {
        seconds: 60,
        delivered,
        retried: failed,
        rejected: 2,
        exhausted: 0,
        per_second: delivered / 60,
        success_rate: delivered ? delivered / (delivered + failed + 2) : null,
      },
      in_flight: this.paused ? 0 : 30 + Math.round(roll() * 20),
      held: 212,
      held_by_dead: 0,
      open_circuits: 23,
      queues: [
        {
          name: "push",
          length: this.paused ? 15000 + this.tick : Math.round(roll() * 90),
          oldest_age_s: this.paused ? 190 : 0.4,
          consumers: 2,
        },
      ],
      later: { retry: 5210, schedule: 814, dead: 96 },
      handoff: [{ queue: "default", length: 0, consumers: 2 }],
      machines: this.machines.map((host, n) => ({
        identity: `${host}:${4210 + n}:9f3ac17be2d0`,
        alive: true,
        beat_age_s: 0.8,
        held: 106,
        listed: true,
        paused: false,
        report: {
          ...report(host, at),
          in_flight: 15 + Math.round(roll() * 10),
          suspicious: this.suspicious.includes(host),
          ...this.trouble,
        },
      })),
      ledger: { claimed: 18331200, outcomes: { delivered: 18273645 }, held: 212, missing: 0 },
      redis: { address: "127.0.0.1:6379", version: "7.0.15", used_bytes: 412e6, max_bytes: 2e9, policy: "noeviction" },
      mastodon: "4.5.15",
      sidekiq: "8.0.8",
      version: "0.1.0",
      domain: "example.social",
      alerts: this.alerts,
    };
  }

  series(span, host) {
    const [count, step_s] = {
      "1h": [60, 60],
      "24h": host ? [24, 3600] : [96, 900],
      "7d": [168, 3600],
      "30d": [120, 21600],
    }[span];
    const roll = dice(span.length * 31 + (host?.length ?? 0));
    const wave = n => (1 + 0.55 * Math.sin((n / count) * 12)) * (0.85 + roll() * 0.3);
    const size = host ? 40 : 70 * step_s;
    const make = f => Array.from({ length: count }, (_, n) => f(n));
    const delivered = make(n => Math.round(size * wave(n)));
    delivered[count - 1] = Math.round(delivered[count - 1] * ((now() % step_s) / step_s));
    const bump = n => (n > count * 0.6 && n < count * 0.68 ? 12 : 1);
    return {
      span,
      step_s,
      from: Math.floor(now() / step_s) * step_s - (count - 1) * step_s,
      host: host ?? null,
      delivered,
      retried: make(n => Math.round(size * 0.004 * bump(n) * wave(n))),
      rejected: make(() => Math.round(roll() * 3)),
      exhausted: make(() => Math.round(roll())),
      sent_bytes: delivered.map(n => n * 2100),
      p50_ms: make(n => Math.round(90 * wave(n))),
      p95_ms: make(n => Math.round(420 * wave(n) * Math.sqrt(bump(n)))),
      p99_ms: make(n => Math.round(1900 * wave(n) * Math.sqrt(bump(n)))),
      queue_length: make(n => Math.round(50 * bump(n) * roll())),
      oldest_age_s: make(n => 0.4 * bump(n) * bump(n) * (0.5 + roll())),
      in_flight: make(() => Math.round(roll() * 80)),
      open_circuits: make(n => Math.round(14 + roll() * 4 * bump(n))),
    };
  }

  list(query) {
    const search = query.get("search") ?? "";
    const state = query.get("state") ?? "";
    const sort = query.get("sort") || "delivered";
    const sign = query.get("order") === "asc" ? 1 : -1;
    const key = item => (sort === "failed" ? item.retried + item.rejected + item.exhausted : item[sort]);
    const found = this.domains
      .map(item => this.seen(item))
      .filter(item => item.host.includes(search) && (state === "" || item.state === state));
    found.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === y) return a.host < b.host ? -1 : 1;
      if (x === null || y === null) return x === null ? 1 : -1;
      return x < y ? -sign : sign;
    });
    const offset = Number(query.get("offset") ?? 0);
    return {
      at: 0,
      total: this.domains.length,
      matched: found.length,
      offset,
      cut: false,
      items: found.slice(offset, offset + Number(query.get("limit") ?? 100)),
    };
  }

  seen(item) {
    const policy = this.policies.get(item.host);
    return policy === undefined
      ? item
      : {
          ...item,
          state: policy === null ? "healthy" : policy.paused ? "paused" : "limited",
          policy_says: policy?.paused ? [{ text: "paused", code: "policy.paused", params: {} }] : null,
          policy: policy === null ? null : policy.paused ? "paused by admin" : "limited by admin",
        };
  }

  // What the API says of a host that nobody knows.
  stranger(host) {
    const known = this.domain(this.domains[0].host);
    const unknown = Object.keys(known).map(key => [key, Array.isArray(known[key]) ? [] : null]);
    const counts = ["delivered", "retried", "rejected", "exhausted", "total_delivered", "consecutive_failures"];
    const none = [...counts, "inboxes_total"].map(key => [key, 0]);
    const { mastodon, fleet_paused, verdict } = known;
    return { ...Object.fromEntries([...unknown, ...none]), host, state: "idle", asking: false, mastodon, fleet_paused, verdict };
  }

  domain(host) {
    const found = this.domains.find(item => item.host === host);
    if (!found) return /^[\w.:-]+$/.test(host) ? this.stranger(host) : null;
    const item = this.seen(found);
    const failing = item.last_error !== null;
    const policy = this.policies.get(host) ?? (item.state === "paused" ? { paused: true } : null);
    return {
      ...item,
      at: now(),
      asking: this.asking,
      words: (this.asking ? [] : [
        {
          machine: "mx1:4210:9f3ac17be2d0",
          text:
            item.state === "paused"
              ? "paused; 3 jobs are put off"
              : failing
                ? "circuit open, the next try is in 4 min 10 s"
                : "2 in flight, window 4 of 32, nothing waits",
          ...this.why,
        },
        { machine: "mx2:4211:9f3ac17be2d0", text: "knows nothing of it" },
      ]),
      circuit: item.state === "open" ? { opened_at: now() - 7100, probe_at: now() + 250, backoff_s: 960 } : null,
      inboxes: Array.from({ length: 3 }, (_, n) => ({
        inbox: `https://${host}/${n === 0 ? "inbox" : `users/someone${n}/inbox`}`,
        delivered: 900 - n * 300,
        retried: n,
        rejected: 0,
        exhausted: 0,
        mean_ms: 120 + n * 31,
        last_status: 202,
        last_error: failing ? item.last_error : null,
        last_success_at: now() - 60 * n,
        failing_since: null,
      })),
      inboxes_total: 3,
      errors:
        failing || item.delivered > 5000
          ? [
              { error: ERRORS[5], status: 401, count: 12, first_at: now() - 5 * DAY_S, last_at: now() - 3000 },
              {
                error: "connection refused",
                status: null,
                count: 431,
                first_at: now() - 3 * DAY_S,
                last_at: now() - 30,
              },
            ]
          : [],
      scheme: "rfc9421",
      mastodon: { unavailable: item.state === "unavailable", failing_days: failing ? 3 : null },
      fleet_paused: false,
      verdict: { text: "as the machines say:", code: "verdict.machines", params: {} },
      policy_detail: policy
        ? {
            name: host,
            paused: !!policy.paused,
            paused_for: policy.paused_for ?? (policy.paused ? [host] : []),
            until: policy.for_s ? now() + policy.for_s : null,
            limits_until: null,
            drop_before: null,
            window: policy.window ?? 0,
            rate: policy.rate ? 30 : 0,
            proxy: null,
            http: "1.1",
            signature: "auto",
          }
        : null,
      audit: this.audit().items.slice(0, 2),
    };
  }

  audit() {
    return {
      items: Array.from({ length: 50 }, (_, n) => ({
        id: String(100 - n),
        at: now() - 3000 * (n + 1),
        who: n % 3 ? "admin" : "@alice",
        action: ["domain pause", "domain resume", "domain limit", "domain drop"][n % 4],
        domain: n % 5 === 4 ? "*" : (this.domains[n % this.domains.length]?.host ?? "gone.example"),
        detail: n % 4 === 2 ? "at most 30 a minute" : "",
        says: n % 4 === 2 ? [{ text: "at most 30 a minute", code: "policy.rate", params: { deliveries: 30 } }] : null,
      })),
      next: 50,
    };
  }

  jobs(domain) {
    const place = (total, scanned, classes) => ({
      total,
      scanned,
      classes,
      ...(domain === null ? {} : { matched: Math.min(total, 7) }),
      domains:
        total === 0
          ? []
          : this.domains
              .filter(one => domain === null || one.host === domain)
              .slice(0, 30)
              .map((one, n) => ({ host: one.host, count: Math.max(1, Math.round(total / (n + 3) / 4)) })),
      domains_total: total === 0 ? 0 : domain === null ? 1230 : 1,
    });
    return {
      at: now(),
      cut: true,
      places: {
        push: place(0, 0, {}),
        pull: place(0, 0, {}),
        retry: place(5210, 5210, {
          "ActivityPub::DeliveryWorker": 4800,
          "ActivityPub::LowPriorityDeliveryWorker": 402,
          ThreadResolveWorker: 8,
        }),
        schedule: place(814, 814, {
          "ActivityPub::DeliveryWorker": 800,
          "Scheduler::FollowRecommendationsScheduler": 14,
        }),
        held: place(212, 212, { "ActivityPub::DeliveryWorker": 212 }),
        dead: place(120000, 100000, { "ActivityPub::DeliveryWorker": 99000, LinkCrawlWorker: 1000 }),
      },
    };
  }

  async answer(request, response) {
    const url = new URL(request.url, "http://mock");
    this.requests++;
    if (!url.pathname.startsWith(this.prefix)) return this.problem(response, 404, "Not found", "there is no such page");
    const path = decodeURIComponent(url.pathname.slice(this.prefix.length));
    if (path.startsWith("api/v1/"))
      return this.api(request, response, url.pathname.slice(this.prefix.length + 7), url.searchParams);
    return this.asset(response, path || "index.html");
  }

  async asset(response, name) {
    const places = {
      "uPlot.esm.js": join(UPLOT, "dist", name),
      "uPlot.min.css": join(UPLOT, "dist", name),
      "uPlot.txt": join(UPLOT, "LICENSE"),
    };
    response.setHeader("Content-Security-Policy", CSP);
    response.setHeader("X-Content-Type-Options", "nosniff");
    try {
      if (!/^[\w.]+$/.test(name)) throw new Error("no such file");
      const bytes = await readFile(places[name] ?? join(PAGE, name));
      response.setHeader("Content-Type", TYPES[name.split(".").pop()]);
      response.end(bytes);
    } catch {
      this.problem(response, 404, "Not found", `there is no ${name}`);
    }
  }

  send(request, response, body) {
    const text = JSON.stringify(body);
    const etag = `"${createHash("sha1").update(text).digest("hex")}"`;
    response.setHeader("Content-Type", "application/json");
    response.setHeader("Cache-Control", "no-store");
    response.setHeader("ETag", etag);
    if (request.headers["if-none-match"] === etag) response.statusCode = 304;
    response.end(response.statusCode === 304 ? undefined : text);
  }

  // `said`: code and params.
  problem(response, status, title, detail, said = { code: "", params: {} }) {
    response.statusCode = status;
    response.setHeader("Content-Type", "application/problem+json");
    response.end(JSON.stringify({ type: "about:blank", title, status, detail, ...said }));
  }

  async api(request, response, path, query) {
    const parts = path.split("/").map(decodeURIComponent);
    if (request.method === "GET") this.gets.push(`${path}${request.headers["x-fedpush-poll"] === "1" ? " by itself" : ""}`);
    if (this.silent !== null && path.startsWith(this.silent)) return undefined;
    for (const [start, told] of this.failing)
      if (path.startsWith(start)) return this.problem(response, told.status, told.title, told.detail, told.said);
    if (request.method !== "GET") return this.act(request, response, path, parts);
    if (path === "me") return this.send(request, response, this.me);
    if (this.me.right === null) return this.problem(response, 401, "Unauthorized", "sign in");
    if (path === "events") return this.events(request, response);
    if (path === "overview") return this.send(request, response, this.overview());
    if (path === "machines") return this.send(request, response, { at: now(), items: this.overview().machines });
    if (path === "series") return this.send(request, response, this.series(query.get("span"), query.get("host")));
    if (path === "domains") return this.send(request, response, this.list(query));
    if (path === "jobs") return this.send(request, response, this.jobs(query.get("domain")));
    if (path === "audit")
      return this.send(request, response, query.get("before") ? { items: [], next: null } : this.audit());
    if (path === "tokens") return this.send(request, response, { items: this.tokens });
    if (parts[0] === "domains" && parts[2] === "waiting")
      return this.send(request, response, {
        at: now(),
        host: parts[1],
        hosts: [parts[1], `*.${parts[1]}`, `inbox.of-${parts[1]}`],
        hosts_problem: this.left_out,
        places: { push: 2, pull: 0, retry: 31, schedule: 4, held: 1 },
        handoff: 3,
        dead: 6,
        by_host: [{ host: parts[1], places: { push: 2, pull: 0, retry: 31, schedule: 4, held: 1 }, handoff: 3, dead: 6 }],
        holders: [{ machine: "mx1:4210:9f3ac17be2d0", jobs: 1 }],
        next_due_at: now() + 90,
        next_due_says: [{ text: "the probe of its open circuit", code: "due.probe", params: {} }],
        next_error: null,
        cut: false,
      });
    if (parts[0] === "domains" && parts.length === 2) {
      const found = this.domain(parts[1]);
      return found
        ? this.send(request, response, found)
        : this.problem(response, 400, "Bad Request", "a host is asked for, like example.org");
    }
    return this.problem(response, 404, "Not found", "there is no such resource");
  }

  events(request, response) {
    if (!this.streaming) return this.problem(response, 503, "Too many streams", "ask overview instead");
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(`retry: 2000\n\nevent: overview\ndata: ${JSON.stringify(this.overview())}\n\n`);
    this.streams.add(response);
    request.on("close", () => this.streams.delete(response));
  }

  // Only what is paused for that domain goes on.
  resume(domain) {
    if (!this.policies.get(domain)?.paused_for) this.policies.set(domain, null);
    for (const [host, policy] of this.policies) if (policy?.paused_for?.includes(domain)) this.policies.set(host, null);
  }

  async act(request, response, path, parts) {
    let text = "";
    for await (const piece of request) text += piece;
    const body = text === "" ? {} : JSON.parse(text);
    this.asked.push(`${request.method} ${path}${text ? ` ${text}` : ""}`);
    if (path === "login") {
      if (body.password !== "correct horse")
        return this.problem(response, 401, "Unauthorized", "the password is wrong");
      this.me = { ...this.me, who: "admin", right: "act", csrf: "c5f" };
      return this.send(request, response, { ok: true, ...uncoded("signed in") });
    }
    if (this.me.right !== "act" || request.headers["x-fedpush-csrf"] !== this.me.csrf)
      return this.problem(response, 403, "Forbidden", "the request lacks X-Fedpush-CSRF");
    if (path === "logout") this.me = { ...this.me, who: null, right: null };
    else if (path === "pause" && body.machine === null)
      this.paused = { until: body.for_s ? now() + body.for_s : null, by: this.me.who };
    else if (path === "resume") this.paused = null;
    else if (parts[0] === "domains" && parts[2] === "resume") this.resume(parts[1]);
    else if (parts[0] === "domains")
      this.policies.set(
        parts[1],
        parts[2] === "pause" ? { paused: true, ...body } : parts[2] === "limit" && !body.clear ? body : null,
      );
    else if (path === "tokens") {
      this.tokens.push({ name: body.name, right: body.full ? "act" : "read", created_at: now(), made_by: "admin" });
      return this.send(request, response, { ok: true, name: body.name, token: "fp_0123456789abcdef" });
    } else if (parts[0] === "tokens") this.tokens = this.tokens.filter(token => token.name !== parts[1]);
    return this.send(request, response, { ok: true, ...this.done });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  console.log(await new Mock().listen(Number(process.argv[2] ?? 4481)));
