// Verifies a delivery as other servers do: the digest over the body's bytes, and the signature by
// the library of Misskey or of PeerTube.
'use strict';

const crypto = require('node:crypto');
const misskey = require('@misskey-dev/node-http-message-signatures');
const peertube = require('@peertube/http-signature');

const LIBRARIES = ['misskey', 'peertube'];
const REQUIRED = ['(request-target)', 'host', 'date', 'digest'];

function checkDigest(request, body) {
  const wanted = 'SHA-256=' + crypto.createHash('sha256').update(body).digest('base64');
  if (request.headers.digest !== wanted) throw new Error('digest does not fit the body');
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

async function verifyMisskey(request, keys) {
  const parsed = misskey.parseRequestSignature(request, { requiredComponents: { draft: REQUIRED } });
  const pem = keyOf(keys, parsed.value.params.keyId);
  let reason = 'signature is wrong';
  const key = await importKey(pem);
  const good = await misskey.verifyDraftSignature(parsed.value, key, (message) => (reason = message));
  if (!good) throw new Error(String(reason));
}

function verifyPeertube(request, keys) {
  const parsed = peertube.parseRequest(request, { headers: REQUIRED, clockSkew: 300 });
  const pem = keyOf(keys, parsed.keyId);
  if (!peertube.verifySignature(parsed, pem)) throw new Error('signature is wrong');
}

// Resolves when the request is good; rejects with what is wrong.
async function verify(library, request, body, keys) {
  checkDigest(request, body);
  if (library === 'misskey') await verifyMisskey(request, keys);
  else verifyPeertube(request, keys);
}

module.exports = { LIBRARIES, verify };
