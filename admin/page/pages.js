// A list of which only what is looked at is asked for, a page at a time.
import { getList } from "./api.js";

export const PAGE = 200;
const PAGES_KEPT = 30;

export class Pages {
  /* path(offset, limit) of the API. onpage(answer) and onproblem(problem) are told what came; nothing after close(). */
  constructor({ path, onpage, onproblem }) {
    Object.assign(this, { path, onpage, onproblem });
    this.forget();
  }

  // What is on its way for an older question isn't wanted any more.
  forget() {
    this.asked = Symbol("question");
    this.pages = new Map(); // number -> items, or null while it is being asked for
  }

  item(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  async load(page, poll = false) {
    const asked = this.asked;
    if (!this.pages.has(page)) this.pages.set(page, null);
    try {
      const answer = await getList(this.path(page * PAGE, PAGE), { poll });
      if (asked !== this.asked) return;
      this.pages.delete(page);
      this.pages.set(page, answer.items);
      while (this.pages.size > PAGES_KEPT) this.pages.delete(this.pages.keys().next().value);
      this.onpage(answer);
    } catch (problem) {
      if (asked !== this.asked) return;
      if (this.pages.get(page) === null) this.pages.delete(page);
      this.onproblem(problem);
    }
  }

  #of([first, last]) {
    return [...new Set([Math.floor(first / PAGE), Math.floor(Math.max(first, last - 1) / PAGE)])];
  }

  // Asks for those pages of the range that were never asked for.
  want(range) {
    for (const page of this.#of(range)) if (!this.pages.has(page)) this.load(page);
  }

  // Asks for the pages of the range again.
  refresh(range, poll) {
    return Promise.all(this.#of(range).map(page => this.load(page, poll)));
  }

  close() {
    this.forget();
  }
}
