// Who was sent what, how often: what tests count deliveries and duplicates with.
'use strict';

const KEPT_REQUESTS = 200;
const KEPT_VISITS = 20000;

class Ledger {
  constructor() {
    this.reset();
  }

  reset() {
    this.posts = 0;
    this.verified = {}; // library -> count
    this.failures = []; // what was wrong with a signature or digest
    this.inboxes = new Map(); // "host/path" -> count
    this.activities = new Map(); // activity id -> Map of inbox -> count
    this.order = new Map(); // inbox -> activity ids as they came
    this.busy = new Map(); // host -> { now, most } requests at once
    this.requests = []; // the last few heads
    this.visits = []; // the first requests: { host, url, agent, began_ms, left_ms }, in Unix time
    this.kept = KEPT_REQUESTS;
  }

  began(host, request) {
    const agent = request.headers['user-agent'] ?? null;
    const visit = { host, url: request.url, agent, began_ms: Date.now(), left_ms: null };
    if (this.visits.length < KEPT_VISITS) this.visits.push(visit);
    const busy = this.busy.get(host) ?? { now: 0, most: 0 };
    busy.now += 1;
    busy.most = Math.max(busy.most, busy.now);
    this.busy.set(host, busy);
    return () => {
      busy.now -= 1;
      visit.left_ms = Date.now();
    };
  }

  // `activity` is the id in the body, or null. Returns what is noted of the request.
  arrived(request, inbox, activity, bodyBytes) {
    this.posts += 1;
    this.inboxes.set(inbox, (this.inboxes.get(inbox) ?? 0) + 1);
    if (activity !== null) {
      const inboxes = this.activities.get(activity) ?? new Map();
      inboxes.set(inbox, (inboxes.get(inbox) ?? 0) + 1);
      this.activities.set(activity, inboxes);
      const order = this.order.get(inbox) ?? [];
      order.push(activity);
      this.order.set(inbox, order);
    }
    const noted = {
      method: request.method, url: request.url, version: request.httpVersion,
      headers: request.rawHeaders, inbox, body_bytes: bodyBytes,
    };
    this.requests.push(noted);
    if (this.requests.length > this.kept) this.requests.shift();
    return noted;
  }

  checked(noted, library, failure) {
    noted.verified = failure === null;
    if (failure === null) this.verified[library] = (this.verified[library] ?? 0) + 1;
    else if (this.failures.length < KEPT_REQUESTS) this.failures.push(failure);
  }

  summary() {
    return { posts: this.posts, verified: this.verified, failures: this.failures };
  }

  all() {
    const inner = (map) => Object.fromEntries([...map].map(([k, v]) => [k, Object.fromEntries(v)]));
    return {
      ...this.summary(),
      inboxes: Object.fromEntries(this.inboxes),
      activities: inner(this.activities),
      order: Object.fromEntries(this.order),
      busy: Object.fromEntries([...this.busy].map(([host, busy]) => [host, busy.most])),
      now: Object.fromEntries([...this.busy].map(([host, busy]) => [host, busy.now])),
      requests: this.requests,
    };
  }
}

module.exports = { Ledger };
