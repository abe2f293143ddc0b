// Verifies a delivery as other servers do: the digest over the body's bytes, and the signature by
// the library of Misskey, of PeerTube, or of Fedify (Ghost, Hollo), which alone knows RFC 9421.
'use strict';

const crypto = require('node:crypto');
const misskey = require('@misskey-dev/node-http-message-signatures');
const peertube = require('@peertube/http-signature');

const REQUIRED = ['(request-target)', 'host', 'date', 'digest'];
const CONTEXT = ['https://www.w3.org/ns/activitystreams', 'https://w3id.org/security/v1'];

// 'rfc9421' or 'cavage'; a receiver that sees Signature-Input looks at nothing else.
function schemeOf(request) {
  return request.headers['signature-input'] === undefined ? 'cavage' : 'rfc9421';
}

// Those that know this request's scheme. Fedify's draft-cavage leaves out the query.
function librariesFor(request) {
  if (schemeOf(request) === 'rfc9421') return ['fedify'];
  return request.url.includes('?') ? ['misskey', 'peertube'] : ['misskey', 'peertube', 'fedify'];
}

function checkDigest(request, body) {
  const base64 = crypto.createHash('sha256').update(body).digest('base64');
  const [name, wanted] = schemeOf(request) === 'rfc9421'
    ? ['content-digest', `sha-256=:${base64}:`] : ['digest', `SHA-256=${base64}`];
  if (request.headers[name] !== wanted) throw new Error(`${name} does not fit the body`);
}

function keyOf(keys, keyId) {
  const pem = keys[keyId];
  if (pem === undefined) throw new Error(`unknown key ${keyId}`);
  return pem;
}

// Reading a PEM anew for each delivery would make the receivers the bottleneck.
const imported = new Map(); // PEM -> promise of the key that WebCrypto works with

function importKey(pem) {
  if (!imported.has(pem)) {
    const der = crypto.createPublicKey(pem).export({ type: 'spki', format: 'der' });
    const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
    imported.set(pem, crypto.subtle.importKey('spki', der, algorithm, false, ['verify']));
  }
  return imported.get(pem);
}

async function verifyMisskey(request, body, keys) {
  const parsed = misskey.parseRequestSignature(request, { requiredComponents: { draft: REQUIRED } });
  const pem = keyOf(keys, parsed.value.params.keyId);
  let reason = 'signature is wrong';
  const key = await importKey(pem);
  const good = await misskey.verifyDraftSignature(parsed.value, key, (message) => (reason = message));
  if (!good) throw new Error(String(reason));
}

function verifyPeertube(request, body, keys) {
  const parsed = peertube.parseRequest(request, { headers: REQUIRED, clockSkew: 300 });
  const pem = keyOf(keys, parsed.keyId);
  if (!peertube.verifySignature(parsed, pem)) throw new Error('signature is wrong');
}

// The actor document that a server would fetch for a key id, or for an actor's id.
function documentOf(keys, url) {
  const keyId = url.includes('#') ? url : `${url}#main-key`;
  const owner = keyId.split('#')[0];
  return {
    '@context': CONTEXT,
    id: owner,
    type: 'Person',
    publicKey: { id: keyId, owner, publicKeyPem: keyOf(keys, keyId) },
  };
}

const fedifyKeys = new Map(); // key id -> what Fedify made of it

async function verifyFedify(request, body, keys) {
  const { verifyRequest, getDocumentLoader } = await import('@fedify/fedify');
  const scheme = request.socket.encrypted ? 'https' : 'http';
  const headers = new Headers();
  for (let i = 0; i < request.rawHeaders.length; i += 2)
    headers.append(request.rawHeaders[i], request.rawHeaders[i + 1]);
  const url = `${scheme}://${request.headers.host}${request.url}`;
  const key = await verifyRequest(new Request(url, { method: 'POST', headers, body }), {
    documentLoader: async (at) => ({ contextUrl: null, documentUrl: at, document: documentOf(keys, at) }),
    contextLoader: getDocumentLoader(), // has these contexts built in
    keyCache: {
      get: async (id) => fedifyKeys.get(id.href),
      set: async (id, value) => void fedifyKeys.set(id.href, value),
    },
    timeWindow: { minutes: 5 },
  });
  if (key === null) throw new Error('signature is wrong');
}

// Reads Fedify in, which takes seconds, so that no delivery waits for it.
async function load() {
  await import('@fedify/fedify');
}

const verifiers = { misskey: verifyMisskey, peertube: verifyPeertube, fedify: verifyFedify };

// Resolves when the request is good; rejects with what is wrong.
async function verify(library, request, body, keys) {
  checkDigest(request, body);
  await verifiers[library](request, body, keys);
}

module.exports = { librariesFor, load, schemeOf, verify };
