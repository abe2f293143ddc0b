// What a host of the simulated fediverse does with a delivery that it has read. A name is a word
// and a number: "slow300" answers after 300 ms, "status503" with 503, "late503" so but slowly,
// "later60" with 429 and Retry-After, "redirect307" to another path; "rfc" and "draft" know one
// signature scheme and answer 401 to the other.
'use strict';

const DRIP_MS = 500;
const LATE_MS = 1500;
const BIG_BODY_BYTES = 10 * 1024 * 1024;

function answer(response, status, headers = {}) {
  response.writeHead(status, { 'Content-Length': 0, ...headers });
  response.end();
}

// Repeats until the other side is gone.
function until(socket, ms, act) {
  const timer = setInterval(act, ms);
  socket.once('close', () => clearInterval(timer));
}

const behaviours = {
  rfc: (request, response) => answer(response, 202),
  draft: (request, response) => answer(response, 202),
  ok: (request, response) => answer(response, 202),
  slow: (request, response, ms) => setTimeout(() => answer(response, 202), ms),
  status: (request, response, status) => answer(response, status),
  late: (request, response, status) => setTimeout(() => answer(response, status), LATE_MS),
  later: (request, response, seconds) => answer(response, 429, { 'Retry-After': String(seconds) }),
  redirect: (request, response, status) =>
    request.url.endsWith('/moved')
      ? answer(response, 202)
      : answer(response, status, { Location: `${request.url}/moved` }),
  elsewhere: (request, response, status) =>
    answer(response, status, { Location: 'http://elsewhere.fedi.test/inbox' }),
  loop: (request, response, status) => answer(response, status, { Location: request.url }),
  silent: () => {},
  close: (request) => request.socket.end(),
  reset: (request) => request.socket.resetAndDestroy(),
  garbage: (request) => request.socket.end('\x00\xff\x16 not HTTP\r\n\r\n\x00'),
  // What may be meant for the terminal or the log of whoever reads it.
  hostile: (request) =>
    request.socket.end('HTTP/1.1 500 \x1b[31m\u202eno\x07\r\nX-\x1b]0;x\x07: =1+1\r\nContent-Length: 0\r\n\r\n'),
  bigbody(request, response) {
    response.writeHead(202, { 'Content-Length': BIG_BODY_BYTES });
    response.end(Buffer.alloc(BIG_BODY_BYTES, 'x'));
  },
  headers(request) {
    const { socket } = request;
    const lines = 'X-Endless: ' + 'y'.repeat(1000) + '\r\n';
    socket.write('HTTP/1.1 202 Accepted\r\n');
    until(socket, 1, () => socket.writableLength < 1e6 && socket.write(lines.repeat(20)));
  },
  drip(request) {
    const { socket } = request;
    socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\n');
    until(socket, DRIP_MS, () => socket.write('z'));
  },
};

const only = { rfc: 'rfc9421', draft: 'cavage' };

// Splits "slow300" into its function and 300; null when there is no such behaviour.
function find(name) {
  const parts = /^([a-z]+)(\d*)$/.exec(name);
  if (parts === null || !Object.hasOwn(behaviours, parts[1])) return null;
  return { act: behaviours[parts[1]], number: Number(parts[2] || 0), only: only[parts[1]] };
}

module.exports = { find };
