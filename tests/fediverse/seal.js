// Encrypts what Mastodon 4.7 stores in keypairs.private_key, as Active Record does it.
//
//   node seal.js < {"primary_key", "salt", "digest": "sha256" or "sha1", "texts": [text, …]}
//
// Prints a JSON array of the stored values.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const zlib = require('node:zlib');

const { primary_key: primary, salt, digest, texts } = JSON.parse(fs.readFileSync(0, 'utf8'));
const key = crypto.pbkdf2Sync(primary, salt, 2 ** 16, 32, digest);

function seal(text) {
  const iv = crypto.randomBytes(12);
  const cipher = crypto.createCipheriv('aes-256-gcm', key, iv);
  const ciphertext = Buffer.concat([cipher.update(zlib.deflateSync(text)), cipher.final()]);
  const headers = { iv: iv.toString('base64'), at: cipher.getAuthTag().toString('base64') };
  return JSON.stringify({ p: ciphertext.toString('base64'), h: { ...headers, c: true } });
}

process.stdout.write(JSON.stringify(texts.map(seal)));
