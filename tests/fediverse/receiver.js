// The simulated fediverse: many hosts at many loopback addresses, one port for HTTP, one for
// HTTPS, and one where TLS agrees on HTTP/2 with who offers it. What a host does stands in its name: "status503-7.fedi.test" answers 503 (behaviours.js).
//
//   node receiver.js SETTINGS.json
//
// SETTINGS: { addresses, port, tls_port, h2_port, tls_cert, tls_key, control_port, keys: {keyId: PEM},
//             verify: every nth delivery of a host is verified; 0: none }
// Prints "ready" when it listens. Control (http://127.0.0.1:control_port):
//   GET /counts, GET /summary            what came (ledger.js)
//   GET /visits                          and when
//   POST /reset                          forget it, and behaviours that were set
//   POST /behaviour {"host", "name"}     what that host does from now on
//   POST /keep {"requests"}              how many heads GET /counts shows
//   POST /verify {"every"}               overrides settings.verify
//   POST /keys {keyId: PEM}              what these actors' keys are from now on
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');
const { find } = require('./behaviours');
const { Ledger } = require('./ledger');
const { librariesFor, load, schemeOf, verify } = require('./verifier');

const settings = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const ledger = new Ledger();
const changed = new Map(); // host -> behaviour that was set
const seen = new Map(); // host -> deliveries
const turns = { cavage: 0, rfc9421: 0 }; // of the libraries
let every = settings.verify;
let keys = settings.keys;

function behaviourOf(host) {
  const label = host.split('.')[0].split('-')[0];
  return find(changed.get(host) ?? label) ?? find('ok');
}

function readBody(request) {
  return new Promise((resolve, reject) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => resolve(Buffer.concat(parts)));
    request.on('error', reject);
  });
}

function activityId(body) {
  // The id stands in front in what tests push; parsing a megabyte of each body would cost more
  // than the delivery.
  const found = /"id":"([^"]*)"/.exec(body.subarray(0, 1000).toString('latin1'));
  return found === null ? null : found[1];
}

async function check(request, host, body, noted) {
  const count = (seen.get(host) ?? 0) + 1;
  seen.set(host, count);
  if (every === 0 || (count - 1) % every !== 0) return true;
  const libraries = librariesFor(request);
  const library = libraries[turns[schemeOf(request)]++ % libraries.length];
  try {
    await verify(library, request, body, keys);
    ledger.checked(noted, library, null);
    return true;
  } catch (error) {
    ledger.checked(noted, library, `${library} at ${host}: ${error.message}`);
    return false;
  }
}

async function receive(request, response) {
  const authority = request.headers.host ?? '';
  const host = authority.split(':')[0];
  const left = ledger.began(host, request);
  response.once('close', left);
  const body = await readBody(request);
  const noted = ledger.arrived(request, host + request.url, activityId(body), body.length);
  const { act, number, only } = behaviourOf(host);
  const unknown = only !== undefined && only !== schemeOf(request);
  if (request.method === 'POST' && (unknown || !(await check(request, host, body, noted)))) {
    response.writeHead(401, { 'Content-Length': 0 }).end();
    return;
  }
  act(request, response, number);
}

function onRequest(request, response) {
  receive(request, response).catch(() => request.socket.destroy());
}

// HTTP/2 has its pseudo-fields in place of Host: verifiers get a request as they know it.
function onHttp2(request, response) {
  if (request.httpVersionMajor === 2) {
    const headers = { ...request.headers, host: request.headers[':authority'] };
    const raw = ['host', headers.host];
    for (let i = 0; i < request.rawHeaders.length; i += 2)
      if (!request.rawHeaders[i].startsWith(':')) raw.push(request.rawHeaders[i], request.rawHeaders[i + 1]);
    Object.defineProperties(request, { headers: { value: headers }, rawHeaders: { value: raw } });
  }
  onRequest(request, response);
}

async function control(request, response) {
  const body = await readBody(request);
  const reply = (value) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  switch (`${request.method} ${request.url}`) {
    case 'GET /counts': return reply(ledger.all());
    case 'GET /summary': return reply(ledger.summary());
    case 'GET /visits': return reply(ledger.visits);
    case 'POST /reset':
      ledger.reset();
      changed.clear();
      every = settings.verify;
      keys = settings.keys;
      return reply({});
    case 'POST /keys':
      keys = { ...keys, ...JSON.parse(body) };
      return reply({});
    case 'POST /keep':
      ledger.kept = JSON.parse(body).requests;
      return reply({});
    case 'POST /verify':
      every = JSON.parse(body).every;
      if (every > 0) await load();
      return reply({});
    case 'POST /behaviour': {
      const { host, name } = JSON.parse(body);
      if (find(name) === null) break;
      changed.set(host, name);
      return reply({});
    }
  }
  response.writeHead(404).end();
}

function listen(server, port, address) {
  server.keepAliveTimeout = 60000;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: address, backlog: 4096 }, resolve);
  });
}

async function main() {
  const tls = settings.tls_port && {
    cert: fs.readFileSync(settings.tls_cert), key: fs.readFileSync(settings.tls_key),
  };
  for (const address of settings.addresses) {
    await listen(http.createServer(onRequest), settings.port, address);
    if (tls) await listen(http2.createSecureServer({ ...tls, allowHTTP1: true }, onHttp2), settings.h2_port, address);
    if (tls) await listen(https.createServer(tls, onRequest), settings.tls_port, address);
  }
  await listen(http.createServer(control), settings.control_port, '127.0.0.1');
  process.stdout.write('ready\n');
}

main().catch((error) => {
  process.stderr.write(`receiver: ${error.message}\n`);
  process.exit(1);
});
