// serve.mjs FOLDER: the OpenID Connect provider of `make up OIDC=1`. FOLDER has settings.json {issuer, port, client, accounts,
// password}, tls.crt and tls.key. What it knows of who is signed in, and its keys, end with it.
import { generateKeyPairSync, randomBytes, timingSafeEqual, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { makeProvider } from './setup.mjs';
import { HEADERS, errorPage, signInPage, signOutPage, signedOutPage } from './page.mjs';

const SIGN_IN = '/sign-in/';
// A form of two short fields.
const LONGEST_FORM = 4096;

const folder = process.argv[2];
const read = (name) => readFileSync(path.join(folder, name));
const settings = JSON.parse(read('settings.json'));

// The library brings keys for trying it out, which everybody knows.
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const jwks = { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' }] };

// The pages that the library brings fetch letters from elsewhere.
function answerWith(context, html) {
  context.set(HEADERS);
  context.body = html;
}

const provider = makeProvider(settings.issuer, settings, {
  jwks,
  cookies: { keys: [randomBytes(32).toString('hex')] },
  features: {
    devInteractions: { enabled: false },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (context, form) => answerWith(context, signOutPage(form)),
      postLogoutSuccessSource: (context) => answerWith(context, signedOutPage()),
    },
  },
  renderError: (context, out) => answerWith(context, errorPage(out)),
  interactions: { url: (_, interaction) => `${SIGN_IN}${interaction.uid}` },
});

const digest = (text) => createHash('sha256').update(text).digest();
const isPassword = (text) => timingSafeEqual(digest(text), digest(settings.password));
const accountOf = (email) => Object.keys(settings.accounts).find((id) => settings.accounts[id].email === email);

async function formOf(request) {
  let text = '';
  for await (const part of request) {
    text += part;
    if (text.length > LONGEST_FORM) throw new Error('the form is too long');
  }
  return new URLSearchParams(text);
}

function show(response, status, wrong) {
  response.writeHead(status, HEADERS);
  response.end(signInPage(Object.values(settings.accounts).map(({ email }) => email), wrong));
}

// The form of an attempt to sign in, which the library knows by a cookie.
async function signIn(request, response) {
  await provider.interactionDetails(request, response);
  if (request.method !== 'POST') return show(response, 200, false);
  const form = await formOf(request);
  const accountId = accountOf(form.get('email') ?? '');
  if (!isPassword(form.get('password') ?? '') || !accountId) return show(response, 401, true);
  return provider.interactionFinished(request, response, { login: { accountId } }, { mergeWithLastSubmission: false });
}

const answer = provider.callback();
const server = https.createServer({ cert: read('tls.crt'), key: read('tls.key') }, (request, response) => {
  if (request.url === '/healthz') return response.end('ok');
  if (!request.url.startsWith(SIGN_IN)) return answer(request, response);
  return signIn(request, response).catch((error) => {
    console.error('sign-in', error.message);
    response.writeHead(400, { 'Content-Type': 'text/plain' });
    response.end('This sign-in is over. Open the workspace again.\n');
  });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
server.listen(settings.port, () => console.error(`serving ${settings.issuer}`));
